"""Temporal retention of trained networks, as records in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from art_snn.errors import ResultsError
from art_snn.evaluation.retention import LayerRetention, temporal_retention
from art_snn.evaluation.rows import Target, described
from art_snn.files import write_text
from art_snn.snn.encoders import DirectEncoder, takes_frames
from art_snn.snn.network import SpikingNetwork
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.run import load_trained

FILE = "retention.json"


@dataclass(frozen=True, kw_only=True)
class RetentionRecord(Target, LayerRetention):
    """Temporal retention of one layer of a trained network, run for ``time_steps``.

    Attributes:
        run: Name of the network's folder.
        trained_time_steps: T of the training.
        position: Place of the layer, from 1.
    """

    run: str
    trained_time_steps: int
    position: int


def retention_records(
    run: Path, x: np.ndarray, *, device_type: str = "cpu", time_steps: Sequence[int] = (2, 4, 8, 16)
) -> list[RetentionRecord]:
    """Return temporal retention of a trained network, for images also with other numbers of time-steps.

    Args:
        run: Folder of the trained network.
        x: Inputs (N, *input_shape).
        device_type: "gpu" or "cpu".
        time_steps: Numbers of time-steps for networks with direct encoding, whose weights stay as they are.
    """
    recipe, classifier = load_trained(read_checkpoint(run), device_type=device_type)
    network = cast("SpikingNetwork", classifier.model.network)
    inputs = torch.as_tensor(x, device=classifier.device)
    encoders = {recipe.time_steps: network.encoder}
    if not takes_frames(network):
        encoders = {steps: DirectEncoder(time_steps=steps) for steps in sorted({*time_steps, recipe.time_steps})}
    return [
        RetentionRecord(
            **{**vars(layer), **described(recipe), "time_steps": steps},
            run=run.name,
            trained_time_steps=recipe.time_steps,
            position=position,
        )
        for steps, encoder in encoders.items()
        for position, layer in enumerate(temporal_retention(SpikingNetwork(encoder, network.body).eval(), inputs), 1)
    ]


def write_retention(records: Sequence[RetentionRecord], folder: Path) -> Path:
    """Write records as JSON; return the file, ``retention.json``."""
    text = json.dumps([asdict(record) for record in records], indent=1)
    write_text(folder / FILE, text + "\n")
    return folder / FILE


def read_retention(folder: Path) -> list[RetentionRecord]:
    """Return the records that `write_retention` wrote.

    Raises:
        ResultsError: The file is missing, damaged or of another version.
    """
    file = folder / FILE
    if not file.is_file():
        raise ResultsError(f"no {str(file)!r}; art-snn paper writes it")
    try:
        return [RetentionRecord(**record) for record in json.loads(file.read_text(encoding="utf-8"))]
    except (TypeError, ValueError) as error:
        raise ResultsError(
            f"{file} is damaged, or of another version ({error}); run art-snn paper again, which writes it anew"
        ) from None
