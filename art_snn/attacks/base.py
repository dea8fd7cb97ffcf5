"""What an attack is here: a value that makes an attack object of ART."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from art.attacks import EvasionAttack
from art.estimators import BaseEstimator


class Attack(ABC):
    """An attack with its settings, not yet bound to a classifier; attacks are frozen dataclasses that derive from this.

    Attributes:
        name: What a user writes, in lower case.
        title: What tables and figures call the attack; the name in capitals, unless it says otherwise.
        eps: Largest change of an entry (L-infinity), in units of the input, >= 0.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    eps: float

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "title" not in vars(cls):
            cls.title = cls.name.upper()

    @abstractmethod
    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        """Return ART's attack on a classifier.

        Args:
            classifier: What is attacked, through its own gradient rule.
            batch_size: Samples to attack at the same time, >= 1.
        """
