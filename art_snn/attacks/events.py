"""What attacks on event frames share: whom they attack, through which rule, and how they are called."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from art_snn.attacks.found import Found
from art_snn.attacks.generating import Generating
from art_snn.attacks.samples import checked_seeds
from art_snn.checks import check_count
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array, check_input, to_numpy
from art_snn.errors import UnsupportedInputError, UnsupportedRuleError
from art_snn.labels import Labels, class_indices
from art_snn.ranges import range_text
from art_snn.rules import STBP, get_rule
from art_snn.rules.base import GradientRule, TemporalRule
from art_snn.snn.encoders import takes_frames
from art_snn.snn.network import is_native

logger = logging.getLogger(__name__)

DEFAULT_RULE = STBP(detach_reset=True)


class EventAttack(Generating):
    """Base of the attacks whose budget is in events. Untargeted, on event frames (N, T, ...).

    Their gradient has to tell frames apart, so that they take rules through time only. A success is misclassified by
    the network's own prediction, and a sample's result does not depend on the others. Inputs that are misclassified
    stay as they are.
    """

    rule: str | GradientRule | None

    def search(
        self,
        x: Array,
        y: Labels,
        *,
        seeds: np.ndarray | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> Found:
        """Return what was found for each sample.

        Args:
            x: Event frames (N, T, ...), N >= 0.
            y: Labels, in any form of `art_snn.labels`; the class of a row counts.
            seeds: Whole numbers >= 0, one a sample (N,), which with the attack's ``seed`` make its noise; None counts
                the samples. Give them where a part of the samples is to be treated as in the whole.
            progress: Called with the number of samples that were finished since the last call.

        Raises:
            UnsupportedInputError: The frames are not of the kind that the attack changes.
            UnsupportedRuleError: The rule does not go through time.
            TypeError, ValueError: An argument is none of these. Nothing has run then.
        """
        if self.targeted:
            raise ValueError(f"{type(self).__name__} is untargeted; leave targeted False")
        name, classifier = type(self).__name__, self.estimator
        check_event_network(name, classifier)
        rule = temporal_rule(name, classifier, self.rule)
        shape = None if classifier.preprocessing_defences else classifier.input_shape
        frames = to_numpy(check_input(x, shape, frames=True))
        if frames.ndim < 3:
            raise ValueError(f"x must hold event frames (N, T, ...), got shape {frames.shape}")
        labels = class_indices(y, len(frames), classifier.nb_classes)
        own_seeds = checked_seeds(seeds, len(frames))
        self.check_frames(frames)
        return self._found(rule, frames, labels, own_seeds, progress or (lambda _: None))

    def check_frames(self, frames: np.ndarray) -> None:
        """Raise UnsupportedInputError unless frames (N, T, ...) are of the kind that the attack changes."""
        self._check_clip_values(self._check_frames(frames))

    @abstractmethod
    def _check_frames(self, frames: np.ndarray) -> float:
        """Return the largest entry that the attack may make; raise UnsupportedInputError where it cannot attack."""

    def _check_clip_values(self, most: float) -> None:
        if self.estimator.clip_values is not None:
            low, high = (np.asarray(end) for end in self.estimator.clip_values)
            if low.max() > 0 or high.min() < most:
                raise UnsupportedInputError(
                    f"{type(self).__name__} makes entries from 0 to {most:g}, and clip_values are "
                    f"{range_text(low, high)}; give the classifier clip_values that hold these"
                )

    def _refuse(self, frames: np.ndarray, allowed: np.ndarray, reason: str) -> None:
        """Raise UnsupportedInputError unless all entries (N, T, ...) are allowed; ``{}`` is a sample and its value."""
        if not allowed.all():
            place = tuple(np.argwhere(~allowed)[0])
            text = f"{type(self).__name__} {reason}"
            raise UnsupportedInputError(text.format(f"sample {place[0]} holds {frames[place]:g}"))

    @abstractmethod
    def _found(
        self,
        rule: GradientRule,
        frames: np.ndarray,
        labels: np.ndarray,
        seeds: np.ndarray,
        progress: Callable[[int], Any],
    ) -> Found:
        """Return what was found for frames (N, T, ...) that were checked."""

    def _check_params(self) -> None:
        check_count("batch_size", self.batch_size)
        name = type(self).__name__
        check_event_network(name, self.estimator)
        temporal_rule(name, self.estimator, self.rule)


def temporal_rule(name: str, classifier: PyTorchSNNClassifier, rule: str | GradientRule | None) -> TemporalRule:
    """Return the rule of an attack: the one that was asked for, else the classifier's if it goes through time.

    Raises:
        UnsupportedRuleError: The one that was asked for does not.
    """
    wanted = classifier.gradient_rule if rule is None else get_rule(rule)
    if isinstance(wanted, TemporalRule):
        return wanted
    if rule is not None:
        raise UnsupportedRuleError(
            f"{name} cannot follow {wanted!r}, whose gradient is the same in every frame; take a rule through time, "
            f"such as {DEFAULT_RULE!r}"
        )
    logger.info("%s follows %r, since the classifier's %r has one gradient for all frames", name, DEFAULT_RULE, wanted)
    return DEFAULT_RULE


def check_event_network(name: str, classifier: PyTorchSNNClassifier) -> None:
    """Raise UnsupportedInputError unless a classifier takes event frames."""
    network = classifier.model.network
    if takes_frames(network):
        return
    if is_native(network):
        found = (
            "the network is adapted for inputs without a time axis; if it takes frames, say so: "
            "art_snn.adapt(model, lambda model, x: model(x), frames=True)"
        )
    else:
        encoder = type(getattr(network, "encoder", network)).__name__
        found = (
            f"{encoder} takes inputs without a time axis; attack a network with EventFrameEncoder, or one of "
            "adapt(..., frames=True)"
        )
    raise UnsupportedInputError(
        f"{name} changes event frames (N, T, ...), and {found}, or take an attack in L-infinity"
    )
