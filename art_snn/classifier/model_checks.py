"""Is this a model that can be attacked? Checked before any work is done."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from art_snn.engine.probing import (
    NOT_FINITE,
    PROBABILITIES,
    forward_reasons,
    layer_reasons,
    not_logits,
    sum_to_one,
)
from art_snn.engine.whole import whole_reasons
from art_snn.errors import UnsupportedModelError
from art_snn.snn.modes import evaluating
from art_snn.snn.network import SequenceModel, is_native, one_step_hint, sequence_hint
from art_snn.snn.readers import is_spiking, neuron_params
from art_snn.snn.strangers import INLINE, PORTING


def check_model(network: SequenceModel, nb_classes: int, probe: Tensor | None) -> None:
    """Raise UnsupportedModelError with every reason why a network cannot be attacked; leave the network as it is.

    Its outputs (N, nb_classes) are looked at for ``probe``, a small batch of inputs (N, ...), if there is one.
    """
    reasons = []
    if not is_spiking(network):
        cure = (
            "put art_snn.LIF or art_snn.IF between its layers. If it has neurons of another kind, "
            f"{PORTING}; {INLINE}; a network without any is one for ART's PyTorchClassifier"
        )
        reasons.append(f"it has no spiking layer that art_snn knows; {cure}")
    reasons += _dtype_reasons(network)
    if not reasons and probe is not None:
        with torch.autocast(probe.device.type, enabled=False):  # as it predicts, whoever builds the classifier
            reasons = (whole_reasons if is_native(network) else _parts_reasons)(network, probe, nb_classes)
    if reasons:
        raise UnsupportedModelError(reasons)


def _parts_reasons(network: SequenceModel, probe: Tensor, nb_classes: int) -> list[str]:
    """Say why a network in parts cannot be attacked, seen on a small batch (N, ...)."""
    reasons = _output_reasons(network, nb_classes, probe)
    if reasons:
        return reasons
    try:
        return [*forward_reasons(network, probe), *layer_reasons(network, probe)]
    except UnsupportedModelError:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return [f"it fails on other spikes, or on a batch of another size than {len(probe)}: {text}"]


def check_dtype(network: nn.Module) -> None:
    """Raise UnsupportedModelError unless all weights are float32, which is what ART's arrays are."""
    if reasons := _dtype_reasons(network):
        raise UnsupportedModelError(reasons)


def _dtype_reasons(network: nn.Module) -> list[str]:
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_inference():
            return [f"{name} is an inference tensor, which has no gradient; make it outside torch.inference_mode()"]
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            return [f"{name} is {str(tensor.dtype).removeprefix('torch.')}, ART works in float32; call model.float()"]
    return []


def _output_reasons(network: SequenceModel, nb_classes: int, probe: Tensor) -> list[str]:
    order: list[nn.Module] = []  # in which forwards end
    handles = [module.register_forward_hook(lambda module, *_: order.append(module)) for module in network.modules()]
    try:
        with evaluating(network), torch.no_grad():
            values = {"encode": network.encode(probe)}
            values["body"] = network.body(values["encode"])
            if not isinstance(values["body"], Tensor):
                return [not_logits("body", values["body"])]
            values["readout"] = network.readout(values["body"])
            order.clear()
            logits = values["forward"] = network(probe)
        for part, value in values.items():
            if not isinstance(value, Tensor):
                return [not_logits(part, value)]
    except UnsupportedModelError as error:
        return list(error.reasons)
    except Exception as error:  # whatever a user's forward raises is a reason
        return [
            f"it fails on inputs of shape {tuple(probe.shape)}: {type(error).__name__}: {error}.{one_step_hint(error)}"
        ]
    finally:
        for handle in handles:
            handle.remove()
    if logits.ndim != 2 or logits.shape[1] != nb_classes:
        shape = f"it gives outputs of shape {tuple(logits.shape)}, expected (N, nb_classes) = (N, {nb_classes})"
        return [f"{shape}.{sequence_hint(network.body)}" if logits.ndim != 2 else shape]
    if not torch.isfinite(logits).all():
        return [NOT_FINITE]
    reasons = [PROBABILITIES] if (logits >= 0).all() and sum_to_one(logits) else []
    for module in reversed(order):  # the last one that spikes or has weights
        if neuron_params(module) is not None:
            cure = "end it with a layer that does not spike (a Linear), so that it gives logits"
            reasons.append(f"it returns firing rates; {cure}")
            break
        if list(module.parameters(recurse=False)):
            break
    return reasons
