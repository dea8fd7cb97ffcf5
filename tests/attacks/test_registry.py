"""Attacks by name, and others that are registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from art_snn.attacks import (
    FGSM,
    PGD,
    APGDSpec,
    Attack,
    ClipOnly,
    RetimingSpec,
    SAPGDSpec,
    SDASpec,
    attack_names,
    make_attack,
    register_attack,
)

NAMES = ("fgsm", "pgd", "clip-only", "sa-pgd", "apgd", "sda", "retiming")


@dataclass(frozen=True, kw_only=True)
class Nothing(Attack):
    name: ClassVar[str] = "nothing"
    eps: float = 0.1

    def make(self, classifier: Any, *, batch_size: int = 128) -> Any:
        raise NotImplementedError


def test_names_are_those_of_the_built_in_attacks():
    assert attack_names() == NAMES
    specs = [FGSM(), PGD(), ClipOnly(), SAPGDSpec(), APGDSpec(), SDASpec(), RetimingSpec()]
    assert [make_attack(name) for name in attack_names()] == specs


def test_settings_that_an_attack_does_not_have_are_left_out():
    assert make_attack("PGD", eps=0.1, eps_step=0.02, steps=3) == PGD(eps=0.1, eps_step=0.02, steps=3)
    assert make_attack("fgsm", eps=0.1, eps_step=0.02) == FGSM(eps=0.1)
    assert make_attack("clip-only", eps=0.1) == ClipOnly()


def test_unknown_names_and_bad_settings_are_refused():
    with pytest.raises(
        ValueError, match="attack must be 'fgsm', 'pgd', 'clip-only', 'sa-pgd', 'apgd', 'sda' or 'retiming', got 'cw'"
    ):
        make_attack("cw")
    with pytest.raises(ValueError, match="eps must be a finite number > 0, got 0"):
        make_attack("pgd", eps=0)


def test_only_named_attacks_are_registered():
    with pytest.raises(TypeError, match="an attack must be a frozen dataclass derived from Attack, got"):
        register_attack(Nothing())
    with pytest.raises(TypeError, match="an attack must be a frozen dataclass derived from Attack"):
        register_attack(dataclass(type("Other", (), {})))
    with pytest.raises(TypeError, match="must be a frozen dataclass"):  # others have no hash, and grids need one
        register_attack(dataclass(type("Thawed", (Attack,), {"name": "thawed"})))
    for name, message in (("", "non-empty name in lower case"), ("Nothing", "in lower case"), ("pgd", "taken by PGD")):
        kind = dataclass(frozen=True)(type("Named", (Nothing,), {"name": name}))
        with pytest.raises(ValueError, match=message):
            register_attack(kind)
    assert attack_names() == NAMES
