"""What a gradient costs, counted in forward passes of all time-steps without a graph."""

from __future__ import annotations

from torch import Tensor, nn

from art_snn.adapters.forwards import StandardForward
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.snn.encoders import takes_frames
from art_snn.snn.network import is_native


def gradient_cost(classifier: PyTorchSNNClassifier, x: Tensor) -> float:
    """Return what a gradient such as the last one costs, a sample: a backward pass counts as a forward pass.

    A rate rule's is a pass over T steps and one back over one step, and a forward pass of one step more where it is a
    replay. A conversion rule's is a step there and back, or T of a network that has the time in its own forward, and a
    pass for the network's own logits. Anything else goes there and back over all steps, with ``time_chunk`` once more
    there.

    Args:
        classifier: The classifier, after a gradient.
        x: Inputs (N, *S), whose second axis is time if they are event frames.
    """
    network = classifier.model.network
    steps = _time_steps(network, x)
    converted = 3.0 if is_native(network) else 1 + 2 / steps
    costs = {"one pass": 1 + 1 / steps, "tied": 1 + 1 / steps, "replay": 1 + 2 / steps, "converted": converted}
    through_time = 2.0 if classifier.time_chunk is None else 3.0
    return classifier.eot_samples * costs.get(str(classifier.gradient_path), through_time)


def _time_steps(network: nn.Module, x: Tensor) -> int:
    """Return T; 1 where it is not known, and no path of one step is taken."""
    if (forward := StandardForward.in_steps(network)) is not None:
        return forward.steps(x)
    return x.shape[1] if takes_frames(network) else getattr(getattr(network, "encoder", None), "time_steps", 1)
