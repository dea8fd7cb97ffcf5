"""What a gradient costs, counted in forward passes of all time-steps without a graph."""

from __future__ import annotations

from torch import Tensor

from art_snn.classifier import PyTorchSNNClassifier
from art_snn.snn.encoders import takes_frames


def gradient_cost(classifier: PyTorchSNNClassifier, x: Tensor) -> float:
    """Return what a gradient such as the last one costs, a sample: a backward pass counts as a forward pass.

    A rate rule's is a pass over T steps and one back over one step, and a forward pass of one step more where it is a
    replay. A conversion rule's is a step there and back, and a pass for the network's own logits. Anything else goes
    there and back over all steps, with ``time_chunk`` once more there. Where T is not known, it counts as 1.

    Args:
        classifier: The classifier, after a gradient.
        x: Inputs (N, *S), whose second axis is time if they are event frames.
    """
    network = classifier.model.network
    steps = x.shape[1] if takes_frames(network) else getattr(getattr(network, "encoder", None), "time_steps", 1)
    costs = {"one pass": 1 + 1 / steps, "tied": 1 + 1 / steps, "replay": 1 + 2 / steps, "converted": 1 + 2 / steps}
    through_time = 2.0 if classifier.time_chunk is None else 3.0
    return classifier.eot_samples * costs.get(str(classifier.gradient_path), through_time)
