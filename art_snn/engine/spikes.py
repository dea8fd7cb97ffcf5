"""Record every spike: what each spiking layer gives in each time-step."""

from __future__ import annotations

import torch
from torch import Tensor

from art_snn.engine.recording import Neurons, run_without_graph
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel


class SpikeRecorder(Neurons):
    """Neurons that keep their spikes."""

    def __init__(self, params: NeuronParams) -> None:
        super().__init__(params)
        self.spikes: list[Tensor] = []

    def __call__(self, current_seq: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps, and keep a copy, since layers may work in place."""
        spikes_seq = super().__call__(current_seq, out)
        self.spikes.append(spikes_seq.clone())
        return spikes_seq


def record_spikes(network: SequenceModel, x_seq: Tensor) -> dict[str, list[Tensor]]:
    """Run a network in evaluation mode over an encoded input (T, N, ...), without a graph.

    Returns:
        Name of each spiking layer that ran to its spikes (T, N, *F), one tensor for each call in a forward pass.
    """
    _, layers = run_without_graph(network, x_seq, SpikeRecorder)
    return {name: [torch.cat(call.spikes) for call in calls] for name, calls in layers.items() if calls}
