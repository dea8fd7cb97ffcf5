"""What a training starts from, as its recipe says: network, optimizer and classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from art_snn.adapters import adapt
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data import Split, source
from art_snn.errors import TrainingError
from art_snn.training.recipe import OPTIMIZERS, SURROGATES, Recipe

MakeNetwork = Callable[[], nn.Module]


def make_classifier(
    recipe: Recipe,
    input_shape: tuple[int, ...],
    nb_classes: int,
    device_type: str,
    clip_values: tuple[float, float] = (0.0, 1.0),
    make_network: MakeNetwork | None = None,
) -> PyTorchSNNClassifier:
    """Return an untrained classifier, whose weights the global torch generator decides on, with its optimizer.

    Args:
        recipe: What the network is, and how it is trained.
        input_shape: (C, H, W) or (T, C, H, W).
        nb_classes: Number of classes.
        device_type: "gpu" or "cpu".
        clip_values: Range of the inputs.
        make_network: The function that the recipe's ``model`` names. A name alone, read from a file, runs no code.

    Raises:
        TrainingError: The network does not take inputs of that shape, or the function is missing.
        UnsupportedModelError: A ``model`` cannot be attacked.
    """
    recipe.check_inputs(input_shape)
    if recipe.model is None:
        network: nn.Module = _registered(recipe, input_shape, nb_classes)
    else:
        network = _own(recipe, make_network)
    weights = list(network.parameters())
    options = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    return PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        input_shape,
        nb_classes,
        optimizer=OPTIMIZERS[recipe.optimizer](weights, **options) if weights else None,
        clip_values=clip_values,
        device_type=device_type,
        gradient_rule=recipe.gradient_rule,
    )


def inputs_of(recipe: Recipe, data: Split) -> tuple[tuple[int, ...], int, tuple[float, float]]:
    """Return shape of the inputs, number of classes and clip values for the recipe's data, with class indices."""
    # Images are in [0, 1]; counts of events have no such limit, and clipping them below what they are is an attack.
    most = max(float(x.max()) for x in (data.x_train, data.x_test)) if recipe.events else 1.0
    return data.x_train.shape[1:], int(np.concatenate([data.y_train, data.y_test]).max()) + 1, (0.0, most)


def _own(recipe: Recipe, make_network: MakeNetwork | None) -> nn.Module:
    """Return a user's network, adapted where it takes time-steps or event frames and is not yet."""
    if make_network is None:
        raise TrainingError(f"the recipe is of {recipe.model}; give that function as make_network")
    network = make_network()
    if recipe.events:
        has_encoder = any(callable(getattr(network, part, None)) for part in ("encode", "body", "readout"))
        return network if has_encoder else adapt(network, frames=True)
    return network if recipe.time_steps is None else adapt(network, time_steps=recipe.time_steps)


def _registered(recipe: Recipe, input_shape: tuple[int, ...], nb_classes: int) -> nn.Module:
    """Return a registered architecture for inputs of a shape."""
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
    return network.to(memory_format=torch.channels_last)


def has_fast_bfloat16(device_type: str) -> bool:
    """Say whether "gpu" (falls back to the CPU) or "cpu" computes in bfloat16 itself, so that it saves time there."""
    if device_type == "gpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public name for it
    return supported is not None and bool(supported())
