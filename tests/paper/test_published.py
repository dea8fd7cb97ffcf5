"""The paper's published numbers."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from art_snn.paper.published import Published, hart_iclr2024, published_number
from tests.paper.rows import row


def test_published_numbers_are_whole_and_as_printed():
    numbers = hart_iclr2024()
    assert {table: sum(one.table == table for one in numbers) for table in range(1, 6)} == {
        1: 32,
        2: 100,
        3: 100,
        4: 72,
        5: 72,
    }
    assert len({one[:10] for one in numbers}) == len(numbers)
    assert all(0 <= one.attack_success_rate <= 100 for one in numbers)

    def find(**wanted) -> float:
        (one,) = (n for n in numbers if all(getattr(n, name) == value for name, value in wanted.items()))
        return one.attack_success_rate

    assert find(table=1, dataset="CIFAR10-DVS", time_steps=10, decay=1.0, attack="pgd", rule="rate") == 89.61
    assert find(table=2, architecture="resnet17", dataset="CIFAR-100", attack="fgsm", rule="rga") == 92.06
    robust = {"table": 3, "dataset": "CIFAR-10", "robust_target": True, "attack": "pgd"}
    assert find(**robust, rule="hart") == 47.83
    assert find(table=4, decay=1.0, time_steps=16, attack="fgsm", setting="black-box", rule="stbp") == 66.89
    assert find(table=5, decay=0.5, eps_255=2, attack="pgd", setting="white-box", rule="hart") == 78.33


SOURCE = Path(__file__).parents[3] / "shared" / "paper"

ARCHITECTURES = {"VGG-11": "vgg11", "ResNet-17": "resnet17", "VGG-DVS": "vgg_dvs"}


def printed(number: int, line: dict[str, str]) -> dict:
    """What a line of a printed table is about; the tables leave out what their captions say."""
    dataset = line.get("dataset", "CIFAR-10")
    events = dataset == "CIFAR10-DVS"
    return {
        "table": number,
        "dataset": dataset,
        "architecture": ARCHITECTURES[line.get("architecture", "VGG-DVS" if events else "VGG-11")],
        "time_steps": int(line.get("time_steps", 10 if events else 8)),
        "decay": float(line["decay"]),
        "robust_target": line.get("robust_target", "no") == "yes",
        "setting": line.get("setting", "black-box" if number == 3 else "white-box"),
        "attack": line["attack"].lower(),
        "eps_255": float(line.get("epsilon", "8/255").removesuffix("/255")),
    }


@pytest.mark.skipif(not SOURCE.is_dir(), reason="the tables as printed are not beside the repository")
@pytest.mark.parametrize(
    "name", ["table1_rate_gradient", "table2_white_box", "table3_black_box", "table4_time_steps", "table5_epsilon"]
)
def test_published_numbers_are_those_of_the_printed_tables_entry_by_entry(name):
    number = int(name[5])
    rules = {"CBA": "cba", "rate_gradient": "rate", "BPTR": "bptr", "STBP": "stbp", "RGA": "rga", "HART": "hart"}
    expected = []
    with (SOURCE / f"{name}.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            clean = float(line["clean_accuracy"]) if "clean_accuracy" in line else None
            expected += [
                Published(
                    **printed(number, line),
                    rule=rule,
                    attack_success_rate=float(line[column]),
                    clean_accuracy=clean,
                )
                for column, rule in rules.items()
                if column in line
            ]
    assert Counter(one for one in hart_iclr2024() if one.table == number) == Counter(expected)


@pytest.mark.parametrize(
    ("number", "changes", "value"),
    [
        (2, {}, 97.24),
        (2, {"dataset": "cifar10"}, 97.24),
        (2, {"attack": "pgd"}, 99.98),
        (2, {"attack": "pgd", "eps_step": 2 / 255 + 1e-9}, 99.98),
        (2, {"defence": "fgsm"}, 58.70),
        (5, {"attack": "pgd", "decay": 0.5, "eps": 4 / 255}, 98.95),
        (5, {"decay": 0.5, "eps": 4 / 255}, 83.06),
        (3, {"dataset": "CIFAR10-DVS", "architecture": "vgg_dvs", "decay": 1.0, "time_steps": 10}, 69.74),
    ],
)
def test_published_number_is_of_the_same_data_network_and_steps(number, changes, value):
    published = published_number(number, row(**changes, setting="black-box" if number == 3 else "white-box"))
    assert published.attack_success_rate == value


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "vgg_small"},
        {"dataset": "CIFAR-10 (JPEG)"},
        {"dataset": "CIFAR-100 (JPEG)"},
        {"time_steps": 4},
        {"architecture": "resnet17", "decay": 0.5},
        {"decay": 0.4},
        {"eps": 7 / 255},
        {"reset": "soft"},
        {"width": 8},
        {"defence": "madry-pgd"},
        {"rule": "toy"},
        {"attack": "toy"},
        {"attack": "pgd", "eps_step": 1 / 255},
        {"attack": "pgd", "eps_step": None},
        {"attack": "pgd", "max_iter": 20},
        {"dataset": "CIFAR10-DVS", "architecture": "vgg_dvs", "width": 8, "decay": 0.5, "time_steps": 10},
    ],
)
def test_no_number_is_published_of_another_setting(changes):
    assert published_number(2, row(**changes)) is None
