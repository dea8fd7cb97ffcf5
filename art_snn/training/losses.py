"""Training losses that make a network robust, on one batch.

Adversarial examples come from ART's attacks on the classifier in evaluation mode, so through its gradient rule; the
loss is taken in training mode, through the neurons' surrogate slopes. ART's own trainers cannot stop and go on: they
have no hook at the end of an epoch, and its FBF trains in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from torch import Tensor, nn

from art_snn.classifier.pytorch import PyTorchSNNClassifier


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the attacks of a training may do, and how exactly its losses are computed.

    Attributes:
        eps: Largest change of a pixel (L-infinity), in units of the input, > 0.
        eps_step: Step of PGD, > 0.
        max_iter: Steps of PGD, >= 1.
        beta: Weight of TRADES' second term, > 0.
        mixed_precision: Take the loss's passes in bfloat16 where that is safe; the attacks stay in float32.
    """

    eps: float
    eps_step: float
    max_iter: int = 3
    beta: float = 6.0
    mixed_precision: bool = False

    def __post_init__(self) -> None:
        for name in ("eps", "eps_step", "beta"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a finite number > 0, got {value!r}")
        if isinstance(self.max_iter, bool) or not isinstance(self.max_iter, int) or self.max_iter < 1:
            raise ValueError(f"max_iter must be a whole number >= 1, got {self.max_iter!r}")


Defence = Callable[[PyTorchSNNClassifier, np.ndarray, np.ndarray, Budget], tuple[Tensor, Tensor]]


def none(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, budget: Budget) -> tuple[Tensor, Tensor]:
    """Return loss and logits of the clean inputs: no defence."""
    return _cross_entropy(classifier, x, y, budget)


def fgsm(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, budget: Budget) -> tuple[Tensor, Tensor]:
    """Return loss and logits of FGSM's examples alone (Goodfellow et al., ICLR 2015)."""
    return _cross_entropy(classifier, FastGradientMethod(classifier, eps=budget.eps).generate(x, y), y, budget)


def madry_pgd(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, budget: Budget) -> tuple[Tensor, Tensor]:
    """Return loss and logits of PGD's examples alone, from one random start (Madry et al., ICLR 2018)."""
    return _cross_entropy(classifier, _pgd(classifier, x, y, budget), y, budget)


def trades(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, budget: Budget) -> tuple[Tensor, Tensor]:
    """Return TRADES' loss and the logits of PGD's examples (Zhang et al., ICML 2019).

    The loss is ``CE(clean) + beta * KL(clean || adversarial)``. The examples are PGD's on the cross-entropy, as in
    ART's trainer.
    """
    examples = _pgd(classifier, x, y, budget)
    loss, clean = _cross_entropy(classifier, x, y, budget)
    logits = _logits(classifier, examples, budget)
    divergence = nn.functional.kl_div(
        logits.log_softmax(1), clean.log_softmax(1), reduction="batchmean", log_target=True
    )
    return loss + budget.beta * divergence, logits


def fbf(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, budget: Budget) -> tuple[Tensor, Tensor]:
    """Return loss and logits of "Fast is better than free" examples (Wong et al., ICLR 2020).

    One step of 1.25 eps from a random point of the eps-ball, clipped to the ball.
    """
    delta = np.random.uniform(-budget.eps, budget.eps, x.shape).astype(np.float32)  # noqa: NPY002  (as ART draws)
    gradient = classifier.loss_gradient(_clip(classifier, x + delta), y)
    delta = np.clip(delta + 1.25 * budget.eps * np.sign(gradient), -budget.eps, budget.eps).astype(np.float32)
    return _cross_entropy(classifier, _clip(classifier, x + delta), y, budget)


DEFENCES: dict[str, Defence] = {"none": none, "fgsm": fgsm, "madry-pgd": madry_pgd, "trades": trades, "fbf": fbf}


def _pgd(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, budget: Budget) -> np.ndarray:
    attack = ProjectedGradientDescent(
        classifier,
        eps=budget.eps,
        eps_step=budget.eps_step,
        max_iter=budget.max_iter,
        num_random_init=1,
        batch_size=len(x),
        verbose=False,
    )
    return attack.generate(x, y)


def _clip(classifier: PyTorchSNNClassifier, x: np.ndarray) -> np.ndarray:
    return x if classifier.clip_values is None else np.clip(x, *classifier.clip_values)


def _cross_entropy(
    classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, budget: Budget
) -> tuple[Tensor, Tensor]:
    logits = _logits(classifier, x, budget)
    return nn.functional.cross_entropy(logits, torch.from_numpy(y).to(logits.device)), logits


def _logits(classifier: PyTorchSNNClassifier, x: np.ndarray, budget: Budget) -> Tensor:
    inputs = torch.from_numpy(x).to(classifier.device)
    with torch.autocast(classifier.device.type, torch.bfloat16, enabled=budget.mixed_precision):
        logits = classifier.model.train()(inputs)
    return logits.float()
