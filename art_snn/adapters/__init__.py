"""Networks of other libraries and of users' own code, as they are."""

from art_snn.adapters.network import AdaptedNetwork, adapt
from art_snn.adapters.registered import register_neuron, unregister_neuron
from art_snn.snn.layouts import BatchFirst, Layout, LongSequences, Merged, Sequences, Squeezed, Steps
from art_snn.snn.readers import Reading, neuron_params, register_reader

__all__ = [
    "AdaptedNetwork",
    "BatchFirst",
    "Layout",
    "LongSequences",
    "Merged",
    "Reading",
    "Sequences",
    "Squeezed",
    "Steps",
    "adapt",
    "neuron_params",
    "register_neuron",
    "register_reader",
    "unregister_neuron",
]
