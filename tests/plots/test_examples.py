"""Adversarial examples as pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_snn.attacks import Found
from art_snn.plots import adversarial_examples


def pair(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random(shape).astype(np.float32)
    return x, (x + rng.uniform(-0.1, 0.1, shape)).astype(np.float32)


def panels(figure, columns):
    axes = np.array(figure.axes).reshape(3, columns)
    return axes, [[np.asarray(each.images[0].get_array()) for each in row] for row in axes]


def test_rows_hold_the_original_the_change_and_the_example():
    x, x_adv = pair((3, 1, 4, 4))
    axes, images = panels(adversarial_examples(x, torch.from_numpy(x_adv), [1, 2, 0], [1, 0, 2], [1, 2, 1]), 3)
    low, high = min(x.min(), x_adv.min()), max(x.max(), x_adv.max())
    for i in range(3):
        np.testing.assert_allclose(images[0][i], (x[i, 0] - low) / (high - low), atol=1e-6)
        np.testing.assert_allclose(images[1][i], x_adv[i, 0] - x[i, 0], atol=1e-6)
        np.testing.assert_allclose(images[2][i], (x_adv[i, 0] - low) / (high - low), atol=1e-6)
    most = np.abs(x_adv - x).max()
    np.testing.assert_allclose(axes[1, 0].images[0].get_clim(), (-most, most), rtol=1e-6)
    assert f"{most:.2g}" in axes[1, 0].get_ylabel()
    assert [each.get_title() for each in axes[0]] == ["1 → 1", "2 → 0", "0 → 2\n(true: 1)"]
    assert [each.title.get_fontweight() for each in axes[0]] == ["normal", "bold", "bold"]


def test_logits_names_and_what_a_search_found_are_taken():
    x, x_adv = pair((8, 3, 4, 4))
    rest = [np.zeros(8)] * 4
    before, after = -np.ones((8, 2)), np.eye(2)[[1, 0] * 4]
    before[:, 1] = 0
    figure = adversarial_examples(x, Found(x_adv, *rest), before, after, names=["cat", "dog"], columns=2)
    axes, images = panels(figure, 2)
    assert [each.get_title() for each in axes[0]] == ["dog → dog", "dog → cat"]
    assert images[0][0].shape == (4, 4, 3)
    np.testing.assert_allclose(images[1][1], (x_adv - x)[1].mean(0), atol=1e-6)
    assert "mean of channels" in axes[1, 0].get_ylabel()
    labelled = adversarial_examples(x, x_adv, y=[0] * 8, after=[0, 1] * 4, columns=2)
    assert [each.get_title() for each in labelled.axes[:2]] == ["0 → 0", "0 → 1"]
    assert adversarial_examples(x, x_adv, columns=1).axes[0].get_title() == ""


def test_events_are_summed_over_time_in_the_colours_of_their_polarity():
    x = np.zeros((1, 4, 2, 3, 3), dtype=np.float32)
    x[0, :, 0, 0, 0] = 1  # polarity 0
    x[0, :2, 1, 1, 1] = 1  # polarity 1, half as often
    x_adv = x.copy()
    x_adv[0, 0, 0, 0, 0], x_adv[0, 0, 0, 2, 2] = 0, 1  # one event moves away
    x_adv[0, 0, 1, 1, 1], x_adv[0, 3, 1, 1, 1] = 0, 1  # one is later
    axes, images = panels(adversarial_examples(x, x_adv), 1)
    green, orange = np.array([0, 158, 115]) / 255, np.array([230, 159, 0]) / 255
    np.testing.assert_allclose(images[0][0][0, 0], green, atol=1e-3)
    np.testing.assert_allclose(images[0][0][1, 1], (1 + orange) / 2, atol=1e-3)
    np.testing.assert_allclose(images[0][0][2, 2], [1, 1, 1])
    change = images[1][0]
    assert change[0, 0, 2] > change[0, 0, 0]  # blue: taken away
    assert change[2, 2, 0] > change[2, 2, 2]  # red: added
    assert change[1, 1].max() < 0.5  # both
    np.testing.assert_allclose(change[0, 1], [1, 1, 1])
    assert "over all steps" in axes[1, 0].get_ylabel()


def test_other_channels_of_frames_count_as_one_polarity():
    _, images = panels(adversarial_examples(*pair((2, 3, 1, 4, 4))), 2)
    assert images[0][0].shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": np.zeros((2, 4))}, r"x has shape \(2, 4\), expected images"),
        ({"x": np.zeros((0, 1, 4, 4)), "x_adv": np.zeros((0, 1, 4, 4))}, "expected images"),
        ({"x_adv": np.zeros((2, 1, 4, 5))}, r"x_adv has shape \(2, 1, 4, 5\), expected that of x"),
        ({"before": [1]}, "before has 1 labels for 2 samples"),
        ({"y": [[0.2, 0.8]]}, "y has 1 labels"),
        ({"before": [0, 3], "names": ["cat", "dog"]}, "names has 2 entries, and there is a class 3"),
        ({"columns": 0}, "columns must be a whole number >= 1, got 0"),
    ],
)
def test_bad_input_is_named(options, message):
    x = np.zeros((2, 1, 4, 4))
    with pytest.raises(ValueError, match=message):
        adversarial_examples(**{"x": x, "x_adv": x, **options})
