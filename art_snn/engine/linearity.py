"""Is what lies between the neurons linear? Read off the autograd graph of a replay.

Values cannot tell: on spikes a ReLU is the identity, yet its derivative differs from step to step. So each operation
between a neuron and the logits has to be one that is known to be linear.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

_LINEAR = {
    # shape and order
    *("Alias", "AsStrided", "Cat", "Clone", "Contiguous", "Copy", "CopyBackwards", "Detach", "Diagonal"),
    *("Expand", "Flip", "Gather", "Index", "IndexSelect", "Movedim", "Narrow", "Permute", "PixelShuffle", "Repeat"),
    *("PixelUnshuffle", "Reshape", "ReshapeAlias", "Roll", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze"),
    *("Stack", "T", "To", "ToCopy", "Transpose", "Unbind", "Unfold", "Unsqueeze", "UnsafeSplit", "UnsafeView", "View"),
    # sums and means
    *("AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "Add", "AvgPool2D", "AvgPool3D", "Mean", "Neg", "Rsub", "Sub", "Sum"),
    # padding and interpolation
    *("Col2Im", "ConstantPadNd", "Im2Col", "ReflectionPad1D", "ReflectionPad2D", "ReplicationPad1D"),
    *("ReplicationPad2D", "UpsampleBicubic2D", "UpsampleBilinear2D", "UpsampleLinear1D", "UpsampleNearest1D"),
    *("UpsampleNearest2D", "UpsampleNearest3D", "UpsampleTrilinear3D"),
    # affine layers; batch norm on its running statistics, which the check of currents makes sure of
    *("CudnnBatchNorm", "MiopenBatchNorm", "NativeBatchNorm"),
}
# Linear in each factor: fine as long as the input reaches one factor only.
_BILINEAR = {
    *("Addmm", "Addmv", "Baddbmm", "Bmm", "Convolution", "CudnnConvolution", "CudnnConvolutionTranspose", "Div", "Dot"),
    *("Linear", "Matmul", "MiopenConvolution", "MkldnnLinear", "Mm", "Mul", "Mv", "SlowConv3D", "SlowConvTranspose2D"),
}

_NAME = re.compile(r"Backward(V2)?\d*$")


def nonlinear_operations(logits: Tensor, x_mean: Tensor, recall: str, *, constant_input: bool) -> list[str]:
    """Return the names of the operations after a neuron that are not known to be linear.

    Args:
        logits: Output of the replay, with its graph.
        x_mean: Input of the replay.
        recall: Name of the graph node that a neuron leaves in the replay.
        constant_input: Whether all time-steps of the input are equal; anything may come before the first neuron then.
    """
    if logits.grad_fn is None:
        return []
    source_node = x_mean.grad_fn
    reached: dict[Any, tuple[bool, bool]] = {}  # node -> does it depend on (a neuron, the input)?
    found: dict[str, None] = {}
    stack: list[tuple[Any, bool]] = [(logits.grad_fn, False)]
    while stack:
        node, visited = stack.pop()
        if node in reached:
            continue
        if not visited:
            stack.append((node, True))
            stack += [(child, False) for child, _ in node.next_functions if child is not None and child not in reached]
            continue
        if node is source_node:
            reached[node] = (False, True)
            continue
        children = [reached.get(child, (False, False)) for child, _ in node.next_functions]
        after_neuron = any(child[0] for child in children)
        after_input = any(child[1] for child in children)
        if node.name() == recall:
            reached[node] = (True, after_input)
            continue
        reached[node] = (after_neuron, after_input)
        varying = after_neuron or (after_input and not constant_input)
        factors = sum(any(child) for child in children)
        name = _NAME.sub("", node.name().rpartition("::")[2])
        if varying and not (name in _LINEAR or (name in _BILINEAR and factors == 1)):
            found[name] = None
    return list(found)
