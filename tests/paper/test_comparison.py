"""The published number that a row is compared with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from art_snn.paper.tables import long_table, wide_table
from tests.paper.rows import row


def test_difference_is_given_where_the_setting_is_the_papers():
    table = long_table(2, [row(), row(rule="stbp", hits=100)])
    assert table["published"].tolist() == [97.24, 89.91]
    np.testing.assert_allclose(table["difference"], [75 - 97.24, 50 - 89.91])
    assert table["nearest"].isna().all()
    header, lines = wide_table(2, [row(), row(rule="stbp", hits=100)])
    assert header[-2:] == ["STBP", "HART"]
    assert lines[0][:8] == ["CIFAR-10", "VGG-11", "8", "0.9", "white-box", "FGSM", "8/255", "80.0"]
    assert lines[0][-1] == "75.0 [68.6, 80.5]"
    assert lines[1][7:] == ["93.03", "published", "89.91 (-39.9)", "97.24 (-22.2)"]
    assert set(table["published_clean_accuracy"]) == {93.03}


@pytest.mark.parametrize(
    ("changes", "setting", "value"),
    [
        ({"architecture": "vgg_small"}, "CIFAR-10, VGG-11, T=8", 97.24),
        ({"dataset": "CIFAR-10 (JPEG)"}, "CIFAR-10, VGG-11, T=8", 97.24),
        ({"time_steps": 4}, "CIFAR-10, VGG-11, T=8", 97.24),
        ({"dataset": "CIFAR-10 (JPEG)", "architecture": "resnet17"}, "CIFAR-10, ResNet-17, T=8", 94.80),
        ({"dataset": "cifar100 (JPEG)"}, "CIFAR-100, VGG-11, T=8", 96.06),
        ({"dataset": "CIFAR-100 (JPEG)", "architecture": "vgg_small"}, "CIFAR-100, VGG-11, T=8", 96.06),
        ({"architecture": "resnet17", "decay": 0.5}, "CIFAR-10, ResNet-17, T=8, lambda 0.9", 94.80),
        ({"decay": 0.4}, "CIFAR-10, VGG-11, T=8, lambda 0.5", 96.28),
        ({"reset": "soft"}, "CIFAR-10, VGG-11, T=8, hard reset", 97.24),
        ({"defence": "madry-pgd"}, "CIFAR-10, VGG-11, T=8, target trained on FGSM", 58.70),
        (
            {"attack": "pgd", "eps_step": 1 / 255, "max_iter": 7},
            "CIFAR-10, VGG-11, T=8, 7 steps of 2/255",
            99.98,
        ),
        (
            {"attack": "pgd", "eps_step": 2 / 255, "max_iter": 20},
            "CIFAR-10, VGG-11, T=8, 7 steps of 2/255",
            99.98,
        ),
        ({"defence": "fgsm", "time_steps": 4}, "CIFAR-10, VGG-11, T=8", 58.70),
        ({"architecture": "vgg_dvs", "width": 8, "decay": 0.5, "time_steps": 10}, "CIFAR10-DVS, VGG-DVS, T=10", 61.05),
    ],
)
def test_nearest_setting_is_named_and_gets_no_difference(changes, setting, value):
    (line,) = long_table(2, [row(**changes)]).to_dict("records")
    assert (line["nearest"], line["nearest_setting"]) == (value, setting)
    assert pd.isna(line["published"])
    assert pd.isna(line["difference"])
    _, lines = wide_table(2, [row(**changes)])
    assert lines[1][8:] == [f"paper: {setting}", f"{value:.2f}"]


@pytest.mark.parametrize(
    ("number", "changes", "value"),
    [
        (2, {"dataset": "cifar10"}, 97.24),
        (2, {"attack": "pgd"}, 99.98),
        (2, {"attack": "pgd", "eps_step": 2 / 255, "max_iter": 7}, 99.98),
        (5, {"attack": "pgd", "decay": 0.5, "eps": 4 / 255, "eps_step": 2 / 255, "max_iter": 7}, 98.95),
        (5, {"decay": 0.5, "eps": 4 / 255, "eps_step": None, "max_iter": None}, 83.06),
        (3, {"dataset": "CIFAR10-DVS", "architecture": "vgg_dvs", "decay": 1.0, "time_steps": 10}, 69.74),
    ],
)
def test_published_number_is_of_the_same_data_network_and_steps(number, changes, value):
    setting = "black-box" if number == 3 else "white-box"
    (line,) = long_table(number, [row(**changes, setting=setting)]).to_dict("records")
    assert line["published"] == value
    assert line["nearest"] is None


def test_published_pgd_is_no_match_for_smaller_steps():
    old = row(attack="pgd", decay=0.5, eps=4 / 255)  # made with eps / 4, which was not written down then
    (line,) = long_table(5, [old]).to_dict("records")
    assert line["published"] is None
    assert (line["nearest"], line["nearest_setting"]) == (98.95, "CIFAR-10, VGG-11, T=8, 7 steps of 2/255")
    np.testing.assert_allclose(line["eps_step"], 1 / 255, atol=1e-8)
