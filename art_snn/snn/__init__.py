"""What a spiking network is: neurons, encoders, containers, builders. Knows torch only."""

from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.encoders import DirectEncoder, EventFrameEncoder, PoissonEncoder
from art_snn.snn.network import Normalize, Residual, SequenceModel, SpikingNetwork, SpikingSequential
from art_snn.snn.neurons import IF, LIF
from art_snn.snn.surrogates import ATan, Sigmoid, Triangle

__all__ = [
    "IF",
    "LIF",
    "ATan",
    "DirectEncoder",
    "EventFrameEncoder",
    "NeuronParams",
    "Normalize",
    "PoissonEncoder",
    "Residual",
    "SequenceModel",
    "Sigmoid",
    "SpikingNetwork",
    "SpikingSequential",
    "Triangle",
]
