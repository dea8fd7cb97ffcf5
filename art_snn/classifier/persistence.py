"""Copies and files, apart from the classifier because ART's own leave files behind and forget the device."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from art import config
from art.estimators.classification import PyTorchClassifier
from torch import Tensor

from art_snn import files


class Persistence(PyTorchClassifier):
    """Save, load, copy and pickle a classifier."""

    def save(self, filename: str, path: str | None = None) -> None:
        """Write the weights, each file whole or not at all.

        Args:
            filename: With the ending ``.safetensors``: the network's weights go to this file. Else, as in ART,
                ``filename.model`` and, with an optimizer, ``filename.optimizer`` are written.
            path: Folder; ART's data folder by default.
        """
        target = Path(config.ART_DATA_PATH if path is None else path) / filename
        if target.suffix == ".safetensors":
            files.save_weights(self.model.network, target)
            return
        states = {".model": self.model.state_dict()}
        if self._optimizer is not None:
            states[".optimizer"] = self._optimizer.state_dict()
        for ending, state in states.items():
            files.write_atomic(target.with_name(target.name + ending), partial(torch.save, state))

    def load_state(self, path: str | Path) -> None:
        """Load weights that `save` wrote, from a ``.safetensors`` file or a ``.model`` file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or belongs to another network. Nothing is changed then.
        """
        path = Path(path)
        files.load_weights(self.model.network if path.suffix == ".safetensors" else self.model, path)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickle and deepcopy, on the CPU, so that it opens on a machine without a GPU."""
        state = self.__dict__.copy()
        if self._device.type != "cpu":
            state["_model"], state["_optimizer"] = copy.deepcopy((self._model, self._optimizer))
            state["_model"].cpu()
            _move_optimizer(state["_optimizer"], torch.device("cpu"))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, on the device that it had if that is here."""
        self.__dict__.update(state)
        self._device: torch.device
        if self._device.type != "cpu":
            if not torch.cuda.is_available():
                self._device = torch.device("cpu")
            self._model.to(self._device)
            _move_optimizer(self._optimizer, self._device)


def _move_optimizer(optimizer: torch.optim.Optimizer | None, device: torch.device) -> None:
    """Move an optimizer's state to a device; its parameters move with their module."""
    for state in () if optimizer is None else optimizer.state.values():
        state.update({name: value.to(device) for name, value in state.items() if isinstance(value, Tensor)})
