"""Spikes of layers, their raster and their rates."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import IF, LIF, DirectEncoder, PyTorchSNNClassifier, SpikingNetwork, adapt
from art_snn.plots import firing_rates, layer_spikes, spike_raster
from art_snn.snn.dynamics import integrate
from tests.adapters.nodes import Loop
from tests.classifier.classifiers import small_classifier
from tests.conftest import TIME_STEPS, make_network


def spikes_by_hand(network, x):
    """Outputs of all spiking layers (T, N, *F), caught by hooks."""
    caught = {}

    def catch(name):
        def hook(_module, _inputs, output):
            caught[f"network.{name}"] = output.numpy()

        return hook

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, LIF)]
    hooks = [layer.register_forward_hook(catch(name)) for name, layer in layers]
    with torch.no_grad():
        network.body(network.encode(torch.from_numpy(x)))
    for hook in hooks:
        hook.remove()
    return caught


def test_spikes_are_those_that_the_layers_give(small):
    classifier, x = small
    expected = spikes_by_hand(classifier.model.network, x)
    found = layer_spikes(classifier, x, batch_size=3)
    assert list(found) == list(expected) == [name for name in classifier.layer_names if name in expected]
    for name, spikes in found.items():
        assert 0 < spikes.mean() < 1
        np.testing.assert_array_equal(spikes, expected[name])


def test_a_layer_that_is_called_twice_has_two_entries():
    torch.manual_seed(0)
    fire, first, second = IF(), nn.Linear(16, 6), nn.Linear(6, 6)
    network = SpikingNetwork(
        DirectEncoder(time_steps=4), nn.Sequential(nn.Flatten(), first, fire, second, fire, nn.Linear(6, 3))
    )
    classifier = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (1, 4, 4), 3, device_type="cpu")
    x = torch.rand(2, 1, 4, 4)
    found = layer_spikes(classifier, x)
    assert [name.rpartition(", ")[2] for name in found] == ["call 1", "call 2"]

    def fired(distance):
        return (distance >= 0).to(distance.dtype)

    with torch.no_grad():
        one = integrate(first(x.flatten(1)).expand(4, 2, 6), fire.params, fired)
        two = integrate(second(one), fire.params, fired)
    for spikes, expected in zip(found.values(), (one, two), strict=True):
        np.testing.assert_array_equal(spikes, expected.numpy())


@pytest.mark.usefixtures("known")
def test_networks_that_loop_over_time_themselves_have_spikes_too():
    torch.manual_seed(0)
    net = Loop(time_steps=6)
    classifier = PyTorchSNNClassifier(adapt(net), nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu")
    x = torch.rand(2, 1, 2, 2)
    caught: list[list[np.ndarray]] = [[], []]
    hooks = [
        node.register_forward_hook(lambda _m, _i, out, steps=steps: steps.append(out[0].detach().numpy()))
        for node, steps in zip(net.nodes, caught, strict=True)
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    found = layer_spikes(classifier, x.numpy())
    assert list(found) == ["network.model.nodes.0", "network.model.nodes.1"]
    for spikes, expected in zip(found.values(), caught, strict=True):
        assert 0 < spikes.mean() < 1
        np.testing.assert_array_equal(spikes, np.stack(expected))
    assert spike_raster(classifier, x[:1], layer="nodes.1").axes[0].get_ylabel().startswith("nodes.1\n")
    bars = firing_rates(classifier, x).axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([spikes.mean() for spikes in found.values()])


def test_a_raster_marks_what_stays_comes_and_goes(small):
    classifier, x = small
    figure = spike_raster(classifier, x[:1], x[1:2], layer=0, neurons=400)
    before, after = (
        next(iter(layer_spikes(classifier, each).values()))[:, 0].reshape(TIME_STEPS, -1) for each in (x[:1], x[1:2])
    )
    fires = before.any(0) | after.any(0)
    left, right = figure.axes
    drawn = {line.get_label(): set(zip(*line.get_data(), strict=True)) for line in (*left.lines, *right.lines)}

    def marks(spikes):
        steps, rows = np.nonzero(spikes[:, fires])
        return set(zip(steps + 1, rows, strict=True))

    assert drawn["fires"] == marks(before)
    assert drawn["fires as before"] == marks((before > 0) & (after > 0))
    assert drawn["fires only now"] == marks((after > 0) & (before == 0))
    assert drawn["fires no more"] == marks((before > 0) & (after == 0))
    assert all(drawn.values())
    assert f"{fires.sum()} of {fires.sum()} that fire,\nof 384 neurons" in left.get_ylabel()


def test_a_raster_has_a_row_for_each_layer_and_few_neurons(small):
    classifier, x = small
    figure = spike_raster(classifier, x[:1], neurons=4)
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes] == ["body.2", "body.6", "body.10"]
    rows = figure.axes[0].lines[0].get_ydata()
    assert set(rows) == {0, 1, 2, 3}
    figure.savefig(io.BytesIO(), format="png")  # the layout finds room


def test_rates_are_means_over_samples_neurons_and_steps(small):
    classifier, x = small
    axes = firing_rates(classifier, x, 0.2 * x, batch_size=3).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    expected = [spikes.mean() for each in (x, 0.2 * x) for spikes in layer_spikes(classifier, each).values()]
    np.testing.assert_allclose(heights, expected, rtol=1e-6)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["body.2", "body.6", "body.10"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["before", "after"]
    assert "spikes" in axes.get_ylabel()


def test_random_encoders_draw_the_same_noise_before_and_after():
    network, x = make_network("poisson")
    classifier = small_classifier(network)
    heights = [bar.get_height() for bar in firing_rates(classifier, x.numpy(), x.numpy()).axes[0].patches]
    assert heights[: len(heights) // 2] == heights[len(heights) // 2 :]


def test_bad_input_is_named(small):
    classifier, x = small
    with pytest.raises(TypeError, match="classifier must be a PyTorchSNNClassifier, got Linear"):
        layer_spikes(nn.Linear(2, 2), x)
    with pytest.raises(TypeError, match="classifier must be a PyTorchSNNClassifier, got str"):
        firing_rates("net", x, x)
    with pytest.raises(ValueError, match="x is empty"):
        layer_spikes(classifier, x[:0])
    with pytest.raises(ValueError, match="x has 4 samples and x_adv 2"):
        firing_rates(classifier, x, x[:2])
    with pytest.raises(ValueError, match=r"x_adv has 4 samples, and one is drawn; give x_adv\[:1\]"):
        spike_raster(classifier, x[:1], x)
    with pytest.raises(ValueError, match=r"layer must be an index below 3 or one of network.body.2"):
        spike_raster(classifier, x[:1], layer="conv")
    with pytest.raises(ValueError, match="neurons must be"):
        spike_raster(classifier, x[:1], neurons=0)
