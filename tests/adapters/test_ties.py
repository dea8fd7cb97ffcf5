"""Networks that end in spikes: a warning comes where the largest logits tie, and only there."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import GradientWarning, PyTorchSNNClassifier, adapt
from art_snn.classifier.output_checks import LEAST_SAMPLES, MOST_TIED, tied_largest, warn_of_ties
from art_snn.ranges import Once

X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)


def logits_with_ties(count: int, samples: int = 100) -> np.ndarray:
    logits = np.tile(np.array([0.0, 3.0, 1.0], dtype=np.float32), (samples, 1))
    logits[:count, 0] = 3
    return logits


def test_ties_are_of_the_largest_alone():
    logits = np.array([[1, 1, 2], [2, 1, 2], [0, 0, 0], [np.nan, 1, 2]], dtype=np.float32)
    assert tied_largest(logits).tolist() == [False, True, True, False]


@pytest.mark.parametrize("count", [6, 50, 100])
def test_many_ties_are_warned_of_once(count):
    once = Once()
    with pytest.warns(GradientWarning, match=rf"share the largest logit in {count}% of 100 samples.*more time-steps"):
        warn_of_ties(logits_with_ties(count), once)
    warn_of_ties(logits_with_ties(count), once)


def test_few_ties_few_samples_and_one_class_are_not_warned_of():
    warn_of_ties(logits_with_ties(int(100 * MOST_TIED)), Once())
    warn_of_ties(logits_with_ties(LEAST_SAMPLES - 1, LEAST_SAMPLES - 1), Once())
    warn_of_ties(np.zeros((100, 1), dtype=np.float32), Once())


def test_what_is_silent_or_full_is_told_apart():
    logits = logits_with_ties(0)
    logits[:10], logits[10:30] = 0, 8
    with pytest.warns(GradientWarning, match=r"In 10% no class has a spike, and in 20% all have the same"):
        warn_of_ties(logits, Once())


def classify(network: nn.Module) -> PyTorchSNNClassifier:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=2 / module.in_features**0.5)
            nn.init.zeros_(module.bias)
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


def assert_warns_of_ties(classifier: PyTorchSNNClassifier) -> None:
    share = tied_largest(classifier.predict(X[: LEAST_SAMPLES - 1])).mean()
    assert share > MOST_TIED
    with pytest.warns(GradientWarning, match="share the largest logit"):
        classifier.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.with_rule("stbp").predict(X)  # once a classifier


def assert_silent(classifier: PyTorchSNNClassifier) -> None:
    assert tied_largest(classifier.predict(X)).mean() <= MOST_TIED


def test_spike_counts_of_snntorch_tie_and_its_potentials_do_not():
    pytest.importorskip("snntorch")
    from tests.adapters.snntorch_networks import FullyConnected, population, potential_sum, spike_sum

    def net(outputs: int = 10, time_steps: int = 5) -> nn.Module:
        return FullyConnected(60, outputs, beta=0.9, time_steps=time_steps)

    assert_warns_of_ties(classify(adapt(net(), spike_sum)))
    assert_warns_of_ties(classify(adapt(net(outputs=20, time_steps=2), population)))
    assert_silent(classify(adapt(net(), potential_sum)))
    assert_silent(classify(adapt(net(outputs=500, time_steps=25), population)))


def test_rates_of_spikingjelly_tie_and_a_readout_without_spikes_does_not():
    pytest.importorskip("spikingjelly")
    from tests.adapters.jelly import make_neuron

    def csnn(*end: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 60), make_neuron("LIFNode", "single"), nn.Linear(60, 10), *end)

    assert_warns_of_ties(classify(adapt(csnn(make_neuron("LIFNode", "single")), time_steps=4)))
    assert_silent(classify(adapt(csnn(), time_steps=4)))
