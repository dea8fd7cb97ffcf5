"""What a training starts from, as its recipe says: network, optimizer and classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data import source
from art_snn.training.recipe import OPTIMIZERS, SURROGATES, Recipe


def make_classifier(
    recipe: Recipe,
    input_shape: tuple[int, ...],
    nb_classes: int,
    device_type: str,
    clip_values: tuple[float, float] = (0.0, 1.0),
) -> PyTorchSNNClassifier:
    """Return an untrained classifier, whose weights the global torch generator decides on, with its optimizer.

    Raises TrainingError if the architecture does not take inputs (C, H, W) or (T, C, H, W) of that shape.
    """
    recipe.check_inputs(input_shape)
    *_, channels, _, side = input_shape
    options: dict[str, Any] = {"time_steps": recipe.time_steps, "in_channels": channels, "image_size": side}
    options |= source(recipe.data).statistics
    if channels != 3:
        options |= {"mean": [0.5] * channels, "std": [0.25] * channels}  # as vgg_small
    if recipe.width is not None:
        options["width"] = recipe.width
    network = recipe.network.build(
        nb_classes=nb_classes,
        decay=recipe.decay,
        reset=recipe.reset,
        surrogate=SURROGATES[recipe.surrogate](),
        **{name: value for name, value in options.items() if name in recipe.network.options},
    )
    # Convolutions, norms and pools are faster with the channels last. It is not so in the builders, since some of ART's
    # classes look at activations inside a network in ways that need the ordinary layout.
    network.to(memory_format=torch.channels_last)
    return PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        input_shape,
        nb_classes,
        optimizer=OPTIMIZERS[recipe.optimizer](network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay),
        clip_values=clip_values,
        device_type=device_type,
        gradient_rule=recipe.gradient_rule,
    )


def has_fast_bfloat16(device_type: str) -> bool:
    """Say whether "gpu" (falls back to the CPU) or "cpu" computes in bfloat16 itself, so that it saves time there."""
    if device_type == "gpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public name for it
    return supported is not None and bool(supported())
