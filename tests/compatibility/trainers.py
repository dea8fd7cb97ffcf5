"""Trainers."""

from __future__ import annotations

from typing import Any

from art.attacks import evasion
from art.defences import trainer
from art.defences.preprocessor import Cutout, Mixup

from art_snn import for_event_frames
from tests.benchmarks.robust_trainers import oaat as run_oaat
from tests.compatibility.table import LOSS, MODEL, QUIET, Case, Table, moved

TABLE = Table()
FAMILY = "Trainers"


def pgd(case: Case, **options: Any) -> Any:
    options = {"eps": 0.3, "eps_step": 0.1, "max_iter": 2, **QUIET, **options}
    return evasion.ProjectedGradientDescent(case.classifier, **options)


def _trainer(name: str, make: Any, gradient: Any = (LOSS,), **options: Any) -> None:
    @TABLE.row(name, FAMILY, *options.pop("covers", (name,)), gradient=gradient, **options)
    def train(case: Case) -> None:
        moved(case, lambda: make(case).fit(case.x_train[:64], case.y_train[:64], nb_epochs=1, batch_size=32))


def second(case: Case) -> Any:
    """A classifier with the same weights."""
    other = case.classifier.clone_for_refitting()
    other.model.load_state_dict(case.classifier.model.state_dict())
    return other


def _auto_pgd(case: Case) -> Any:
    return evasion.AutoProjectedGradientDescent(
        case.classifier, eps=0.2, eps_step=0.1, max_iter=2, nb_random_init=1, loss_type="cross_entropy", **QUIET
    )


def _awp(mode: str) -> Any:
    options = {"mode": mode, "gamma": 0.01, "beta": 6.0, "warmup": 0}
    return lambda case: trainer.AdversarialTrainerAWPPyTorch(case.classifier, second(case), pgd(case), **options)


_trainer("AdversarialTrainer", lambda case: trainer.AdversarialTrainer(case.classifier, pgd(case), ratio=0.5))
_trainer(
    "AdversarialTrainer, attack that builds a classifier",
    lambda case: trainer.AdversarialTrainer(case.classifier, _auto_pgd(case), ratio=0.5),
    [MODEL],
    covers=("AdversarialTrainer",),
    note="ART computes the examples once, before training",
)
_trainer(
    "AdversarialTrainerMadryPGD",
    lambda case: trainer.AdversarialTrainerMadryPGD(case.classifier, eps=0.2, eps_step=0.1, max_iter=2),
)
_trainer(
    "AdversarialTrainerTRADES",
    lambda case: trainer.AdversarialTrainerTRADESPyTorch(case.classifier, pgd(case), beta=6.0),
    covers=("AdversarialTrainerTRADESPyTorch", "AdversarialTrainerTRADES"),
    note="refuses the schedulers of torch >= 2",
)
for _mode in ("PGD", "TRADES"):
    _trainer(
        f"AdversarialTrainerAWP, mode={_mode}",
        _awp(_mode),
        covers=("AdversarialTrainerAWPPyTorch", "AdversarialTrainerAWP"),
    )
_trainer(
    "AdversarialTrainerFBF",
    lambda case: trainer.AdversarialTrainerFBFPyTorch(case.classifier, eps=0.2),
    covers=("AdversarialTrainerFBFPyTorch", "AdversarialTrainerFBF"),
    note="trains in evaluation mode; its learning rates are made for SGD",
)


@TABLE.row(
    "AdversarialTrainerOAAT",
    FAMILY,
    "AdversarialTrainerOAAT",
    "AdversarialTrainerOAATPyTorch",
    gradient=[LOSS, MODEL],
    slow=True,
)
def oaat(case: Case) -> None:
    moved(case, lambda: run_oaat(case.classifier, case.x_train, case.y_train))


@TABLE.row("DPInstaHideTrainer", FAMILY)
def insta_hide(case: Case) -> None:
    cutout: Any = Cutout(length=2, channels_first=True)
    for augmentation in (Mixup(num_classes=10), for_event_frames(cutout) if case.events else cutout):
        found = trainer.DPInstaHideTrainer(case.classifier, augmentation, noise="laplacian", scale=0.03)
        moved(case, lambda found=found: found.fit(case.x_train[:64], case.y_train[:64], nb_epochs=1, batch_size=32))
