"""What an attack is here: a value that makes an attack object of ART."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from art.attacks import EvasionAttack
from art.estimators import BaseEstimator


class Attack(ABC):
    """An attack with its settings, not yet bound to a classifier; frozen dataclasses derive from this."""

    name: ClassVar[str] = ""  #: What a user writes, in lower case.
    title: ClassVar[str] = ""  #: What tables and figures call the attack; by default the name in capitals.
    eps: float  #: Largest change of an entry (L-infinity), in units of the input, >= 0.

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "title" not in vars(cls):
            cls.title = cls.name.upper()

    @abstractmethod
    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        """Return ART's attack on a classifier, through its own gradient rule, ``batch_size`` samples at a time."""
