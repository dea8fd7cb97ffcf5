"""A search for adversarial examples, sample by sample: batches stay full, and no sample knows of the others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator
from torch import Tensor

from art_snn.attacks.base import Attack
from art_snn.attacks.found import Found
from art_snn.attacks.generating import Generating
from art_snn.attacks.losses import LOSSES
from art_snn.attacks.samples import checked_samples
from art_snn.attacks.slots import Slots, Watch
from art_snn.attacks.walks import Walks
from art_snn.checks import check_choice, check_count, check_positive, check_seed
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array
from art_snn.labels import Labels


class Search(Generating):
    """Base of the attacks that keep their iterates. L-infinity, untargeted, on inputs of any shape.

    Every iterate is looked at, and the first one that the network misclassifies ends a sample's search: a prediction
    without a gradient has to confirm it. With a random encoder three quarters of 20 draws have to be wrong for that; a
    search that ends without takes the iterate with the most wrong draws, if more than half of 20 others are wrong, too.

    Noise comes from the sample's own seed and batches have a constant size, so that what is found for a sample does not
    depend on the others. Rounding may depend on the row of a batch where ``batch_size`` is no multiple of 16. Inputs
    that are misclassified stay as they are.
    """

    attack_params: list[str] = ["eps", "steps", "loss", "first_step", "seed", "batch_size", "verbose"]  # noqa: RUF012

    def __init__(
        self,
        estimator: PyTorchSNNClassifier,
        *,
        eps: float = 8 / 255,
        steps: int = 100,
        loss: str = "cross-entropy",
        first_step: float | None = None,
        seed: int = 0,
        batch_size: int = 32,
        verbose: bool = False,
    ) -> None:
        super().__init__(estimator=estimator)
        self.eps, self.steps, self.loss, self.first_step = eps, steps, loss, first_step
        self.seed, self.batch_size, self.verbose = seed, batch_size, verbose
        self._check_params()

    def search(
        self,
        x: Array,
        y: Labels,
        *,
        start: Array | None = None,
        seeds: np.ndarray | None = None,
        progress: Callable[[int], Any] | None = None,
        watch: Watch | None = None,
    ) -> Found:
        """Return what was found for each sample.

        Args:
            x: Inputs (N, *S), N >= 0.
            y: Labels, in any form of `art_snn.labels`; the class of a row counts.
            start: Where the search starts (N, *S), such as another's `Found.x_adv`; it is brought into the ball. None
                starts at random.
            seeds: Whole numbers >= 0, one a sample (N,), which with the attack's ``seed`` make its noise; None counts
                the samples. Give them where a part of the samples is to be treated as in the whole.
            progress: Called with the number of samples that were finished since the last call.
            watch: Called after each gradient with the samples in the batch (B,), how many steps each has made (B,), and
                its loss (B,).

        Raises:
            TypeError, ValueError: An argument is none of these. Nothing has run then.
        """
        if self.targeted:
            raise ValueError(f"{type(self).__name__} is untargeted; leave targeted False")
        samples = checked_samples(self.estimator, x, y, start, seeds, eps=self.eps, seed=self.seed)
        slots = Slots(self.estimator, samples, LOSSES[self.loss], self.batch_size, self._walks)
        return slots.run(self.steps, progress, watch)

    @abstractmethod
    def _walks(self, x: Tensor) -> Walks:
        """Return walks that start at iterates (B, *S)."""

    def _check_params(self) -> None:
        check_search(self)
        check_count("batch_size", self.batch_size)


def check_search(settings: Any) -> None:
    """Raise ValueError unless the settings of a search are in their ranges."""
    check_positive("eps", settings.eps)
    check_count("steps", settings.steps)
    check_choice("loss", settings.loss, LOSSES)
    if settings.first_step is not None:
        check_positive("first_step", settings.first_step)
    check_seed(settings.seed)


@dataclass(frozen=True, kw_only=True)
class SearchSpec(Attack):
    """The settings of a `Search`, not yet bound to a classifier. Base of one for each."""

    search: ClassVar[type[Search]]  #: What `make` makes.
    eps: float = 8 / 255
    steps: int = 100  #: Number of steps, >= 1.
    loss: str = "cross-entropy"  #: "cross-entropy" or "margin".
    first_step: float | None = None  #: Change of an entry in the first step, > 0; None for the attack's own.
    seed: int = 0  #: Seed of random starts, >= 0.

    def __post_init__(self) -> None:
        check_search(self)

    def make(self, classifier: BaseEstimator, *, batch_size: int = 32) -> EvasionAttack:
        """Return the attack on a `PyTorchSNNClassifier`."""
        return self.search(classifier, **vars(self), batch_size=batch_size)
