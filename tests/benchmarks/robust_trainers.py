"""ART's trainers on the digits network: what robust accuracy do they gain?

``python -m tests.benchmarks.robust_trainers`` prints the table of the documentation: three seeds, under HART-PGD and
STBP-PGD.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable

import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescent
from art.defences.preprocessor import Cutout
from art.defences.trainer import (
    AdversarialTrainer,
    AdversarialTrainerAWPPyTorch,
    AdversarialTrainerFBFPyTorch,
    AdversarialTrainerMadryPGD,
    AdversarialTrainerOAATPyTorch,
    AdversarialTrainerTRADESPyTorch,
    DPInstaHideTrainer,
)
from torch import nn

from art_snn import PyTorchSNNClassifier
from art_snn.data import Split, load_digits
from art_snn.snn.models import digits_net

EPS = 0.15
TIME_STEPS = 4
FIRST = 4  # epochs of ordinary training that all networks share
EPOCHS = 6  # epochs of each trainer, and of more ordinary training beside it
BATCH = 64

Classifier = PyTorchSNNClassifier
Trainer = Callable[[Classifier, np.ndarray, np.ndarray], None]


def seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)


def new_classifier(optimizer: str = "adam") -> Classifier:
    network = digits_net(time_steps=TIME_STEPS)
    return Classifier(
        network,
        nn.CrossEntropyLoss(),
        (1, 8, 8),
        10,
        optimizer=torch.optim.Adam(network.parameters(), lr=2e-3)
        if optimizer == "adam"
        else torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def twin(classifier: Classifier, optimizer: str = "adam") -> Classifier:
    other = new_classifier(optimizer)
    other.model.load_state_dict(classifier.model.state_dict())
    return other


def copy(classifier: Classifier) -> Classifier:
    """Return a classifier of the same kind with the same weights."""
    other = classifier.clone_for_refitting()
    other.model.load_state_dict(classifier.model.state_dict())
    return other


def pgd(classifier: Classifier, steps: int = 3) -> ProjectedGradientDescent:
    return ProjectedGradientDescent(
        classifier, eps=EPS, eps_step=EPS / 2, max_iter=steps, num_random_init=1, batch_size=BATCH, verbose=False
    )


def ordinary(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
    classifier.fit(x, y, batch_size=BATCH, nb_epochs=EPOCHS)


def adversarial(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
    AdversarialTrainer(classifier, pgd(classifier), ratio=0.5).fit(x, y, batch_size=BATCH, nb_epochs=EPOCHS)


def madry(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
    trainer = AdversarialTrainerMadryPGD(classifier, eps=EPS, eps_step=EPS / 2, max_iter=3)
    trainer.fit(x, y, batch_size=BATCH, nb_epochs=EPOCHS)


def trades(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
    AdversarialTrainerTRADESPyTorch(classifier, pgd(classifier), beta=6.0).fit(x, y, batch_size=BATCH, nb_epochs=EPOCHS)


def awp(mode: str) -> Trainer:
    def run(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
        trainer = AdversarialTrainerAWPPyTorch(
            classifier, twin(classifier), pgd(classifier), mode=mode, gamma=0.005, beta=6.0, warmup=0
        )
        trainer.fit(x, y, batch_size=BATCH, nb_epochs=EPOCHS)

    return run


def fbf(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
    # ART drives the learning rate from 0 to 0.21 and back, which is made for SGD.
    other = twin(classifier, "sgd")
    AdversarialTrainerFBFPyTorch(other, eps=EPS).fit(x, y, batch_size=BATCH, nb_epochs=EPOCHS)
    classifier.model.load_state_dict(other.model.state_dict())


def oaat(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "awp_gamma": 0.005,
            "lr": 0.02,
            "weight_decay": 5e-4,
            "momentum": 0.9,
            "nb_epochs": EPOCHS,
            "oaat_warmup": 0,
            "eps": EPS,
            "epsilon": EPS,
            "i_epsilon": EPS / 4,
            "epsilon_final": EPS,
            "attack_name": "pgd",
            "beta": 1.5,
            "beta_final": 3.0,
            "alternate_iter_eps": EPS / 2,
            "max_iter": 3,
            "mixup_epsilon": EPS,
            "mixup_alpha": 0.2,
            "alpha": 1.0,
            "i_lpips_weight": 0.1,
            "lpips_weight": 0.1,
            "list_swa_tau": [0.995],
            "list_swa_epoch": [0],
            "load_swa_model_tau": 0.995,
            "layer_names_activation": [classifier.layer_names[0]],
            "awp_warmup": 0,
            "lr_schedule": "cosine",
            "swa_save_epoch": 0,
            "norm": np.inf,
            "models_path": folder,
        }
        others = copy(classifier), copy(classifier), [copy(classifier)]
        trainer = AdversarialTrainerOAATPyTorch(classifier, *others, pgd(classifier), options)
        trainer.fit(x, y, batch_size=BATCH, nb_epochs=EPOCHS, validation_data=(x[:50], y[:50]))


def insta_hide(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
    trainer = DPInstaHideTrainer(classifier, Cutout(length=2, channels_first=True), noise="laplacian", scale=0.2)
    trainer.fit(x, y, batch_size=BATCH, nb_epochs=EPOCHS)


TRAINERS: dict[str, Trainer] = {
    "none (more of the ordinary)": ordinary,
    "AdversarialTrainer, PGD, ratio 0.5": adversarial,
    "AdversarialTrainerMadryPGD": madry,
    "AdversarialTrainerTRADESPyTorch": trades,
    "AdversarialTrainerAWPPyTorch, PGD": awp("PGD"),
    "AdversarialTrainerAWPPyTorch, TRADES": awp("TRADES"),
    "AdversarialTrainerFBFPyTorch": fbf,
    "AdversarialTrainerOAATPyTorch": oaat,
    "DPInstaHideTrainer, Cutout": insta_hide,
}


def first_training(seed: int, data: Split) -> Classifier:
    """Train ordinarily; all trainers go on from there."""
    seed_all(seed)
    classifier = new_classifier()
    classifier.fit(data.x_train, data.y_train, batch_size=BATCH, nb_epochs=FIRST)
    return classifier


def trained(name: str, start: Classifier, seed: int, data: Split) -> Classifier:
    """Let a trainer go on from a classifier's weights, on a copy."""
    seed_all(seed + 100)
    classifier = twin(start)
    labels = np.eye(10, dtype=np.float32)[data.y_train]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ART's
        TRAINERS[name](classifier, data.x_train, labels)
    return classifier


def robust_accuracy(classifier: Classifier, rule: str, x: np.ndarray, y: np.ndarray) -> float:
    """Return the accuracy under PGD with 10 steps through a rule."""
    classifier.gradient_rule = rule
    attack = ProjectedGradientDescent(classifier, eps=EPS, eps_step=EPS / 4, max_iter=10, batch_size=128, verbose=False)
    return accuracy(classifier, attack.generate(x, y), y)


def accuracy(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> float:
    return float((classifier.predict(x).argmax(1) == y).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    count = parser.parse_args().seeds
    data = load_digits()
    table: dict[str, list[list[float]]] = {name: [] for name in TRAINERS}
    for seed in range(count):
        start = first_training(seed, data)
        for name in TRAINERS:
            classifier = trained(name, start, seed, data)
            scores = [accuracy(classifier, data.x_test, data.y_test)]
            scores += [robust_accuracy(classifier, rule, data.x_test, data.y_test) for rule in ("hart", "stbp")]
            table[name].append([100 * score for score in scores])
            print(seed, name, [f"{100 * score:.1f}" for score in scores], flush=True)
    print("| trainer | clean | HART-PGD | STBP-PGD |\n|---|---|---|---|")
    for name, runs in table.items():
        means, spreads = np.mean(runs, axis=0), np.std(runs, axis=0)
        cells = [f"{mean:.1f} ± {spread:.1f}" for mean, spread in zip(means, spreads, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
