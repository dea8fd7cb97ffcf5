"""Attacks by name, and the place to register another."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from art_snn.attacks.base import Attack
from art_snn.checks import check_choice, check_entry

_ATTACKS: dict[str, type[Attack]] = {}
_Attack = TypeVar("_Attack", bound=type[Attack])


def register_attack(attack: _Attack) -> _Attack:
    """Make an attack, a frozen dataclass derived from `Attack`, available by its ``name``; usable as a class decorator.

    Raises:
        TypeError: The class is no such attack.
        ValueError: The name is missing, not in lower case, or another attack's.
    """
    check_entry("an attack", attack, (Attack,), _ATTACKS)
    _ATTACKS[attack.name] = attack
    return attack


def attack_names() -> tuple[str, ...]:
    """Return the names of all registered attacks, in the order of registration."""
    return tuple(_ATTACKS)


def make_attack(name: str, **settings: Any) -> Attack:
    """Return an attack by its name, upper or lower case; settings that it does not have are left out.

    Raises:
        ValueError: No attack has this name, or a setting is out of its range.

    Example:
        >>> make_attack("fgsm", eps=0.1, eps_step=0.025)
        FGSM(eps=0.1)
    """
    check_choice("attack", name.lower(), _ATTACKS)
    attack = _ATTACKS[name.lower()]
    names = {field.name for field in fields(attack)}  # type: ignore[arg-type]
    return attack(**{key: value for key, value in settings.items() if key in names})
