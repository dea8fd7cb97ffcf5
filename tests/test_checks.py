"""Bad values are refused in the same words everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from art_snn import checks
from art_snn.rules import RateRule, register_rule


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None, np.float32(2)])
def test_counts_are_whole_numbers(value):
    with pytest.raises(ValueError, match=r"^epochs must be a whole number >= 1, got "):
        checks.check_count("epochs", value)


def test_counts_of_numpy_are_taken():
    assert checks.check_count("epochs", np.int64(3)) == 3
    assert checks.check_count("restarts", 0, least=0) == 0


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_positive_numbers_are_finite_and_above_zero(value):
    with pytest.raises(ValueError, match=r"^eps must be a finite number > 0, got "):
        checks.check_positive("eps", value)


def test_ranges_are_named():
    for check, value, message in (
        (checks.check_not_negative, -1.0, "x must be a finite number >= 0, got -1.0"),
        (checks.check_share, 1.0, r"x must be in \(0, 1\), got 1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            check("x", value)
    for seed in (-1, 2**32, 0.5, True):
        with pytest.raises(ValueError, match="seed must be a whole number in 0 to 4294967295, got"):
            checks.check_seed(seed)
    with pytest.raises(ValueError, match=r"decay \(membrane retention lambda\) must be in \(0, 1\], got 0"):
        checks.check_decay(0)


def test_choices_are_listed():
    with pytest.raises(ValueError, match=r"^size must be 'small', 'large' or 'full', got 'tiny'$"):
        checks.check_choice("size", "tiny", ("small", "large", "full"))
    with pytest.raises(ValueError, match=r"^size must be 'small', got 3$"):
        checks.check_choice("size", 3, ["small"])


def test_rules_that_can_change_are_not_registered():
    @dataclass
    class Thawed(RateRule):
        name = "thawed"

        def gain(self, record):
            return record.rate

    with pytest.raises(TypeError, match="a rule must be a frozen dataclass derived from RateRule or TemporalRule or"):
        register_rule(Thawed)
