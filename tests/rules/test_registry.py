"""Rules by name, and rules from outside the package."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from art_snn import (
    GradientRuleModule,
)
from art_snn.rules import HART, STBP, get_rule, register_rule, registry
from art_snn.rules.base import GradientRule, LayerRecord, RateRule, TemporalRule
from tests.rules.networks import (
    RULE_CLASSES,
    TOLERANCE,
    assert_matches_reference,
    direct_case,
    error,
    gradient_of,
)


@pytest.fixture
def _registry() -> Iterator[None]:
    """Take away what a test registers."""
    before = dict(registry._RULES)
    yield
    registry._RULES.clear()
    registry._RULES.update(before)


class TestRegistry:
    """Rules by name, and rules of the user's own."""

    @pytest.mark.parametrize(("name", "rule"), list(RULE_CLASSES.items()))
    def test_rules_by_name(self, name: str, rule: Callable[..., GradientRule]) -> None:
        assert get_rule(name) == rule()
        assert type(get_rule(name)) is rule

    def test_an_instance_is_handed_through(self) -> None:
        rule = HART(gamma=0.4)
        assert get_rule(rule) is rule

    def test_unknown_name_suggests_a_known_one(self) -> None:
        with pytest.raises(ValueError, match="hart"):
            get_rule("hrat")

    @pytest.mark.parametrize("wrong", [3, None, HART], ids=["number", "none", "class"])
    def test_what_is_no_rule_is_refused(self, wrong: Any) -> None:
        with pytest.raises(TypeError):
            get_rule(wrong)

    @pytest.mark.usefixtures("_registry")
    def test_own_rate_rule(self) -> None:
        @register_rule
        @dataclass(frozen=True, kw_only=True)
        class OwnRateRule(RateRule):
            name = "own_rate"
            least: float = 0.0

            def gain(self, record: LayerRecord) -> Tensor:
                return (record.rate > self.least).to(record.rate.dtype)

        assert get_rule("own_rate") == OwnRateRule()
        network, x = direct_case(0.5, "hard", 4)
        module = GradientRuleModule(copy.deepcopy(network).double(), get_rule("own_rate")).eval()
        expected = assert_matches_reference(network, x, "bptr")
        assert error(gradient_of(module, x.double())[1], expected) <= TOLERANCE[torch.float64]

    @pytest.mark.usefixtures("_registry")
    def test_own_rate_rule_with_a_slope_equals_hart(self) -> None:
        @register_rule
        @dataclass(frozen=True, kw_only=True)
        class OwnSlope(RateRule):
            name = "own_slope"
            width: float = 0.7

            def slope(self, distance: Tensor) -> Tensor:
                return (self.width - distance.abs()).clamp(min=0) / self.width**2

        network, x = direct_case(0.5, "hard", 4)
        module = GradientRuleModule(copy.deepcopy(network).double(), "own_slope").eval()
        expected = assert_matches_reference(network, x, "hart", gamma=0.7)
        assert error(gradient_of(module, x.double())[1], expected) <= TOLERANCE[torch.float64]

    def test_a_rate_rule_has_a_slope_or_a_gain(self) -> None:
        with pytest.raises(TypeError, match="Both defines a slope and a gain"):

            class Both(HART):
                def gain(self, record: LayerRecord) -> Tensor:
                    return record.rate

        class Neither(RateRule):
            pass

        network, x = direct_case(0.5, "hard", 4)
        with pytest.raises(TypeError, match="Neither has neither a slope nor a gain"):
            GradientRuleModule(network, Neither()).eval()(x.clone().requires_grad_())

    @pytest.mark.parametrize("rule", [HART(gamma=0.4), STBP(gamma=0.4)], ids=["hart", "stbp"])
    def test_slopes_leave_their_argument_alone(self, rule: HART | STBP) -> None:
        distance = torch.linspace(-1, 1, 21, dtype=torch.float64)
        before = distance.clone()
        rule.slope(distance)
        assert torch.equal(distance, before)

    @pytest.mark.usefixtures("_registry")
    def test_own_temporal_rule(self) -> None:
        @register_rule
        @dataclass(frozen=True, kw_only=True)
        class OwnTemporalRule(TemporalRule):
            name = "own_temporal"
            width: float = 0.7

            def slope(self, distance: Tensor) -> Tensor:
                return (self.width - distance.abs()).clamp(min=0) / self.width**2

        network, x = direct_case(0.5, "hard", 4)
        module = GradientRuleModule(copy.deepcopy(network).double(), get_rule("own_temporal")).eval()
        expected = assert_matches_reference(network, x, "stbp", gamma=0.7)
        assert error(gradient_of(module, x.double())[1], expected) <= TOLERANCE[torch.float64]

    @pytest.mark.usefixtures("_registry")
    def test_a_name_is_given_once(self) -> None:
        @dataclass(frozen=True, kw_only=True)
        class Impostor(RateRule):
            name = "hart"

            def gain(self, record: LayerRecord) -> Tensor:
                return record.rate

        with pytest.raises(ValueError, match="hart"):
            register_rule(Impostor)
        assert type(get_rule("hart")) is HART

    @pytest.mark.usefixtures("_registry")
    def test_what_is_no_rule_is_not_registered(self) -> None:
        class NoRule:
            name = "no_rule"

        with pytest.raises(TypeError):
            register_rule(NoRule)
        with pytest.raises(ValueError, match="no_rule"):
            get_rule("no_rule")

    def test_tests_leave_nothing_registered(self) -> None:
        assert set(registry._RULES) == {*RULE_CLASSES, "assg", "hart-assg", "pdsg"}
