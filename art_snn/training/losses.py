"""Training losses that make a network robust, on one batch.

Adversarial examples come from ART's attacks on the classifier in evaluation mode, so through its gradient rule; the
loss is taken in training mode, through the neurons' surrogate slopes. ART's own trainers cannot be resumed: they
have no hook at the end of an epoch, and its FBF trains in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import numpy as np
import torch
from torch import Tensor, nn

from art_snn.attacks import FGSM, PGD
from art_snn.checks import check_count, check_positive
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.labels import Labels, class_indices


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What the attacks of a training may do, and how exactly its losses are computed, as `Recipe` says."""

    eps: float
    eps_step: float | None = None
    max_iter: int = 3
    beta: float = 6.0
    mixed_precision: bool = False

    def __post_init__(self) -> None:
        check_positive("eps", self.eps)
        if self.eps_step is None:
            object.__setattr__(self, "eps_step", self.eps / 2)
        check_positive("eps_step", self.eps_step)  # type: ignore[arg-type]
        check_positive("beta", self.beta)
        check_count("max_iter", self.max_iter)


Loss = tuple[Tensor, Tensor]  # with the logits that it is of
Defence = Callable[[PyTorchSNNClassifier, np.ndarray, Labels, LossSettings], Loss]


def _of_classes(defence: Callable[[PyTorchSNNClassifier, np.ndarray, np.ndarray, LossSettings], Loss]) -> Defence:
    """Let a loss that takes class indices take labels in any form; the class of a row counts."""

    @wraps(defence)
    def taking_labels(classifier: PyTorchSNNClassifier, x: np.ndarray, y: Labels, settings: LossSettings) -> Loss:
        return defence(classifier, x, class_indices(y, len(x), classifier.nb_classes), settings)

    return taking_labels


@_of_classes
def plain(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, settings: LossSettings) -> Loss:
    """Return loss and logits of inputs as they are: of clean ones, no defence."""
    logits = _logits(classifier, x, settings)
    return nn.functional.cross_entropy(logits, torch.from_numpy(y).to(logits.device)), logits


@_of_classes
def fgsm(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, settings: LossSettings) -> Loss:
    """Return loss and logits of FGSM's examples alone (Goodfellow et al., ICLR 2015)."""
    examples = FGSM(eps=settings.eps).make(classifier, batch_size=32).generate(x, y)
    return plain(classifier, examples, y, settings)


@_of_classes
def madry_pgd(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, settings: LossSettings) -> Loss:
    """Return loss and logits of PGD's examples alone, from one random start (Madry et al., ICLR 2018)."""
    return plain(classifier, _pgd(classifier, x, y, settings), y, settings)


@_of_classes
def trades(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, settings: LossSettings) -> Loss:
    """Return TRADES' loss, ``CE(clean) + beta * KL(clean || PGD's)``, and PGD's logits (Zhang et al., ICML 2019)."""
    examples = _pgd(classifier, x, y, settings)
    loss, clean_logits = plain(classifier, x, y, settings)
    logits = _logits(classifier, examples, settings)
    predicted, target = logits.log_softmax(1), clean_logits.log_softmax(1)
    divergence = nn.functional.kl_div(predicted, target, reduction="batchmean", log_target=True)
    return loss + settings.beta * divergence, logits


@_of_classes
def fbf(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, settings: LossSettings) -> Loss:
    """Return loss and logits of "Fast is better than free" examples (Wong et al., ICLR 2020).

    One step of 1.25 eps from a random point of the eps-ball, clipped to the ball.
    """
    delta = np.random.uniform(-settings.eps, settings.eps, x.shape).astype(np.float32)  # noqa: NPY002  (as ART draws)
    gradient = classifier.loss_gradient(_clip(classifier, x + delta), y)
    delta = np.clip(delta + 1.25 * settings.eps * np.sign(gradient), -settings.eps, settings.eps).astype(np.float32)
    return plain(classifier, _clip(classifier, x + delta), y, settings)


DEFENCES: dict[str, Defence] = {"none": plain, "fgsm": fgsm, "madry-pgd": madry_pgd, "trades": trades, "fbf": fbf}
STEPPED = ("madry-pgd", "trades")  # those that train on PGD's examples


def _pgd(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, settings: LossSettings) -> np.ndarray:
    """Return PGD's examples on the cross-entropy, as in ART's trainers."""
    attack = PGD(eps=settings.eps, eps_step=settings.eps_step, steps=settings.max_iter, restarts=1)
    return attack.make(classifier, batch_size=len(x)).generate(x, y)


def _clip(classifier: PyTorchSNNClassifier, x: np.ndarray) -> np.ndarray:
    return x if classifier.clip_values is None else np.clip(x, *classifier.clip_values)


def _logits(classifier: PyTorchSNNClassifier, x: np.ndarray, settings: LossSettings) -> Tensor:
    inputs = torch.from_numpy(x).to(classifier.device)
    with torch.autocast(classifier.device.type, torch.bfloat16, enabled=settings.mixed_precision):
        logits = classifier.model.train()(inputs)
    return logits.float()
