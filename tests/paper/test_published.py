"""The paper's published numbers."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from art_snn.paper.published import Published, hart_iclr2024


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
