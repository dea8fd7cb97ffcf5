"""Other libraries' spiking layers: register a reader, and the engine runs them."""

from art_snn.snn.readers import neuron_params, register_reader

__all__ = ["neuron_params", "register_reader"]
