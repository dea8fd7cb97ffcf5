"""The model card: what was evaluated, as it is read from the network."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from art_snn.adapters import AdaptedNetwork
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.encoders import is_random, takes_frames
from art_snn.snn.network import SpikingNetwork
from art_snn.snn.readers import spiking_layers

_DEFAULTS = NeuronParams()._asdict()


def model_card(classifier: PyTorchSNNClassifier) -> dict[str, Any]:
    """Return what a reader of a number must know of the network, as names and texts."""
    module, network = classifier.model, classifier.model.network
    own = isinstance(network, SpikingNetwork)
    encoder = network.encoder if own else None
    whole = network.model if isinstance(network, AdaptedNetwork) else network
    layers = list(spiking_layers(network))
    kinds = dict.fromkeys(f"{type(layer).__name__}({_settings(params)})" for _, layer, params in layers)
    defences = [*(classifier.preprocessing_defences or []), *(classifier.postprocessing_defences or [])]
    return {
        "network": type(whole).__name__,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "spiking layers": len(layers),
        "neurons": "; ".join(kinds),
        "encoder": "the network's own" if encoder is None else repr(encoder),
        "encoder is random": "yes" if is_random(network) else "no",
        "time-steps": _time_steps(classifier) or "the network's own",
        "readout": "mean of the logits over time" if own else "the network's own",
        "classes": classifier.nb_classes,
        "input shape": str(tuple(classifier.input_shape)),
        "clip values": "none" if classifier.clip_values is None else str(tuple(map(_number, classifier.clip_values))),
        "normalisation before the network": repr(classifier.preprocessing),
        "defences": ", ".join(type(defence).__name__ for defence in defences) or "none",
        "encodings averaged for a gradient": module.eot_samples,
    }


def _time_steps(classifier: PyTorchSNNClassifier) -> int | None:
    """Return T of a classifier's encoder, or of the frames that it takes; None where only the network knows."""
    network = classifier.model.network
    if takes_frames(network):
        return int(classifier.input_shape[0])
    return getattr(network.encoder, "time_steps", None) if isinstance(network, SpikingNetwork) else None


def _settings(params: NeuronParams) -> str:
    """Return what is not by default, and always the decay, threshold and reset."""
    shown = {name: value for name, value in params._asdict().items() if name in ("decay", "threshold", "reset")}
    shown |= {n: v for n, v in params._asdict().items() if isinstance(v, Tensor) or v != _DEFAULTS.get(n)}
    return ", ".join(f"{name}={_value(value)}" for name, value in shown.items())


def _value(value: Any) -> str:
    if isinstance(value, Tensor):
        return _value(value.item()) if value.numel() == 1 else f"{value.min().item():.3g}..{value.max().item():.3g}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> float | str:
    return float(value) if getattr(value, "ndim", 0) == 0 else "array"
