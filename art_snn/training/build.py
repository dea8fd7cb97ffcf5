"""What a training starts from, as its recipe says: network, optimizer and classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data import source
from art_snn.snn.network import SpikingNetwork
from art_snn.training.recipe import MOMENTUM, SURROGATES, Recipe


def build_network(recipe: Recipe, input_shape: tuple[int, ...], nb_classes: int) -> SpikingNetwork:
    """Return an untrained network; the global torch generator decides on its weights.

    Args:
        recipe: The recipe.
        input_shape: (C, H, W) or (T, C, H, W).
        nb_classes: K, >= 2.

    Raises:
        TrainingError: The architecture does not take such inputs.
        ValueError: It cannot be built for them.
    """
    recipe.check_inputs(input_shape)
    channels = input_shape[-3]
    options: dict[str, Any] = {
        "time_steps": recipe.time_steps,
        "in_channels": channels,
        "image_size": input_shape[-1],
        **source(recipe.data).statistics,
    }
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
    return network.to(memory_format=torch.channels_last)


def make_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a network's parameters."""
    settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), momentum=MOMENTUM, **settings)
    return torch.optim.Adam(network.parameters(), **settings)


def make_classifier(
    recipe: Recipe,
    input_shape: tuple[int, ...],
    nb_classes: int,
    device_type: str,
    clip_values: tuple[float, float] = (0.0, 1.0),
) -> PyTorchSNNClassifier:
    """Return an untrained classifier, with `build_network`'s network and an optimizer.

    Args:
        recipe: The recipe.
        input_shape: (C, H, W) or (T, C, H, W).
        nb_classes: K, >= 2.
        device_type: "gpu" or "cpu".
        clip_values: Range of the inputs.

    Raises:
        TrainingError: The architecture does not take such inputs.
        ValueError: It cannot be built for them.
    """
    network = build_network(recipe, input_shape, nb_classes)
    return PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        input_shape,
        nb_classes,
        optimizer=make_optimizer(recipe, network),
        clip_values=clip_values,
        device_type=device_type,
        gradient_rule=recipe.gradient_rule,
    )


def has_fast_bfloat16(device_type: str) -> bool:
    """Say whether a device computes in bfloat16 itself, so that mixed precision saves time there.

    Args:
        device_type: "gpu" (falls back to the CPU) or "cpu".
    """
    if device_type == "gpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public name for it
    return supported is not None and bool(supported())
