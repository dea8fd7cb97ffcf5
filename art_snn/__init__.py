"""Spiking neural networks for the Adversarial Robustness Toolbox.

`PyTorchSNNClassifier` is an ART estimator whose gradients follow a rule from the SNN attack literature: HART, unless
another one is chosen.
"""

from art_snn.adapters import AdaptedNetwork, adapt
from art_snn.classifier.event_frames import for_event_frames
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.engine.module import GradientRuleModule
from art_snn.errors import (
    ArtSnnError,
    ExampleWarning,
    GradientWarning,
    InexactReplayWarning,
    InputRangeWarning,
    RandomnessWarning,
    UnsupportedInputError,
    UnsupportedModelError,
)
from art_snn.evaluation.robustness import Robustness, robustness
from art_snn.rules import (
    ASSG,
    BPTR,
    CBA,
    HART,
    HARTASSG,
    PDSG,
    RGA,
    STBP,
    RateGradient,
    get_rule,
    register_rule,
    rule_names,
)
from art_snn.snn.encoders import DirectEncoder, EventFrameEncoder, PoissonEncoder
from art_snn.snn.network import Normalize, Residual, SpikingNetwork, SpikingSequential
from art_snn.snn.neurons import IF, LIF

__version__ = "0.2.0"

__all__ = [
    "ASSG",
    "BPTR",
    "CBA",
    "HART",
    "HARTASSG",
    "IF",
    "LIF",
    "PDSG",
    "RGA",
    "STBP",
    "AdaptedNetwork",
    "ArtSnnError",
    "DirectEncoder",
    "EventFrameEncoder",
    "ExampleWarning",
    "GradientRuleModule",
    "GradientWarning",
    "InexactReplayWarning",
    "InputRangeWarning",
    "Normalize",
    "PoissonEncoder",
    "PyTorchSNNClassifier",
    "RandomnessWarning",
    "RateGradient",
    "Residual",
    "Robustness",
    "SpikingNetwork",
    "SpikingSequential",
    "UnsupportedInputError",
    "UnsupportedModelError",
    "adapt",
    "for_event_frames",
    "get_rule",
    "register_rule",
    "robustness",
    "rule_names",
]
