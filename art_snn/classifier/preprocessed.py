"""The joints between ART's estimator and a spiking model: arrays and labels in, gradients out, copies and files."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art import config
from art.estimators.classification import PyTorchClassifier
from art.preprocessing.standardisation_mean_std.pytorch import StandardisationMeanStdPyTorch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from art_snn import files as storage
from art_snn.classifier import guard
from art_snn.classifier.event_frames import check_pair, on_event_frames
from art_snn.classifier.guard import takes_event_frames
from art_snn.classifier.inputs import Array, check_input, one_hot, to_numpy
from art_snn.classifier.layers import layer_names
from art_snn.classifier.model_checks import check_dtype, check_model, probe_input
from art_snn.engine.module import GradientRuleModule
from art_snn.errors import GradientWarning
from art_snn.rules.base import GradientRule

logger = logging.getLogger(__name__)


class SNNEstimator(PyTorchClassifier):
    """What ART's methods on a spiking model stand on; `art_snn.PyTorchSNNClassifier` has the methods."""

    _model: _Outputs
    _optimizer: torch.optim.Optimizer | None
    _warns = True

    @property
    def model(self) -> GradientRuleModule:
        """The model with its gradient rule, which ART's attacks may take and wrap."""
        return self._model._model

    @model.setter
    def model(self, model: GradientRuleModule) -> None:
        """Take another model, with its own rule; an optimizer is made anew for it, with the same settings."""
        if not isinstance(model, GradientRuleModule):
            name = type(model).__name__
            raise TypeError(f"model must be a GradientRuleModule, got {name}; make a new classifier instead")
        model.to(self._device)
        check_model(model.network, self.nb_classes, self._probe())
        self._model = self._make_model_wrapper(model).eval()
        if self._optimizer is not None:
            bound = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
            if not any(id(p) in bound for p in model.parameters()):
                self._optimizer = type(self._optimizer)(model.parameters(), **self._optimizer.defaults)

    @property
    def gradient_rule(self) -> GradientRule:
        """The gradient rule; set it to a name or a rule."""
        return self.model.rule

    @gradient_rule.setter
    def gradient_rule(self, rule: str | GradientRule) -> None:
        self.model.rule = rule

    @property
    def eot_samples(self) -> int:
        """Number of encodings that gradients and losses are averaged over; settable."""
        return self.model.eot_samples

    @eot_samples.setter
    def eot_samples(self, count: int) -> None:
        self.model.eot_samples = count

    def common_random_numbers(self) -> AbstractContextManager[None]:
        """Let predictions and gradients inside a ``with`` block draw the same noise in every call.

        For networks with a random encoder: two calls then differ by their inputs alone, which attacks that compare
        losses, and comparisons of rules, want. Evaluate with fresh noise, outside the block.
        """
        return self.model.common_random_numbers()

    def save(self, filename: str, path: str | None = None) -> None:
        """Write the weights, each file whole or not at all.

        Args:
            filename: With the ending ``.safetensors``: the network's weights go to this file. Else, as in ART,
                ``filename.model`` and, with an optimizer, ``filename.optimizer`` are written.
            path: Folder; ART's data folder by default.
        """
        target = Path(config.ART_DATA_PATH if path is None else path) / filename
        if target.suffix == ".safetensors":
            storage.save_weights(self.model.network, target)
            return
        states = {".model": self.model.state_dict()}
        if self._optimizer is not None:
            states[".optimizer"] = self._optimizer.state_dict()
        for ending, state in states.items():
            storage.write_atomic(target.with_name(target.name + ending), partial(torch.save, state))

    def load_state(self, path: str | Path) -> None:
        """Load weights that `save` wrote: a ``.safetensors`` file or a ``.model`` file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged, or belongs to another network. Nothing is changed then.
        """
        path = Path(path)
        storage.load_weights(self.model.network if path.suffix == ".safetensors" else self.model, path)

    def set_params(self, **kwargs: Any) -> None:
        """Set parameters by their names; preprocessing that would misread event frames is refused first."""
        check_pair(kwargs.get("preprocessing"))
        if takes_event_frames(self.model):
            kwargs["preprocessing"], kwargs["preprocessing_defences"] = on_event_frames(
                kwargs.get("preprocessing", self.preprocessing),
                kwargs.get("preprocessing_defences", self.preprocessing_defences),
                tuple(kwargs.get("input_shape") or self.input_shape),
            )
        if isinstance(kwargs.get("preprocessing"), tuple):  # ART would take it out of the graph
            mean, std = kwargs["preprocessing"]
            kwargs["preprocessing"] = StandardisationMeanStdPyTorch(mean, std, device_type=self.device_type)
        super().set_params(**kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickle and deepcopy, on the CPU, so that it opens on a machine without a GPU."""
        state = self.__dict__.copy()
        if self._device.type != "cpu":
            state["_model"], state["_optimizer"] = copy.deepcopy((self._model, self._optimizer))
            state["_model"].cpu()
            storage.move_optimizer(state["_optimizer"], torch.device("cpu"))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, on the device that it had if that is here."""
        self.__dict__.update(state)
        if takes_event_frames(self.model):
            guard.install()
        self._device: torch.device
        if self._device.type != "cpu":
            if not torch.cuda.is_available():
                self._device = torch.device("cpu")
            self._model.to(self._device)
            storage.move_optimizer(self._optimizer, self._device)

    def _make_model_wrapper(self, model: GradientRuleModule) -> _Outputs:
        return _Outputs(model)

    def _check_input(self, x: Array) -> Array:
        check_dtype(self.model.network)
        shape = None if self.preprocessing_defences else self.input_shape
        checked = check_input(x, shape, getattr(self.model.network, "encoder", None))
        return checked.to(self._device) if isinstance(checked, Tensor) else checked

    def _preprocessed(self, x: np.ndarray) -> Tensor:
        """Return what the preprocessing defences make of ``x``, as a tensor on the CPU."""
        inputs, _ = self._apply_preprocessing(x, y=None, fit=False)
        return torch.tensor(inputs, dtype=torch.float32)  # a copy: a layer may work in place

    def _framework_inputs(self, x: Tensor, y: Array | None) -> tuple[Tensor, Tensor | None]:
        """Return what the preprocessing defences make of a tensor, with its graph, and of labels.

        Defences on arrays have no graph. They get one whose backward is the estimate that each gives of its gradient
        (BPDA: Athalye et al. 2018), so that autograd through here has the values of `loss_gradient`.
        """
        if self.all_framework_preprocessing:
            return self._apply_preprocessing(x, y=y, fit=False, no_grad=False)
        rows = None if y is None else to_numpy(y)
        values, labels = self._apply_preprocessing(to_numpy(x), y=rows, fit=False, no_grad=True)
        labels = None if labels is None else torch.as_tensor(labels, device=self._device)
        return _Estimated.apply(x, values, self._to_input), labels

    def _apply_preprocessing_gradient(self, x: np.ndarray, gradients: np.ndarray, fit: bool = False) -> np.ndarray:
        with torch.enable_grad():  # a PyTorch defence among others differentiates itself, whoever calls
            return super()._apply_preprocessing_gradient(x, gradients, fit=fit)

    def _leaf(self, x: Array, y: Array | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the tensor to differentiate by, what the model gets for it, and the labels as the loss wants them."""
        checked = self._check_input(x)
        rows = None if y is None else one_hot(y, len(x), self.nb_classes)
        with torch.enable_grad():
            if self.all_framework_preprocessing:
                x_grad = torch.as_tensor(checked).detach().to(self._device, copy=True).requires_grad_()
                rows_t = None if rows is None else torch.as_tensor(rows, device=self._device)
                inputs, labels = self._apply_preprocessing(x_grad, y=rows_t, fit=False, no_grad=False)
            else:
                inputs, labels = self._apply_preprocessing(to_numpy(checked), y=rows, fit=False, no_grad=True)
                x_grad = inputs = torch.tensor(inputs, dtype=torch.float32, device=self._device, requires_grad=True)
        if labels is not None:
            labels = torch.as_tensor(self.reduce_labels(labels), device=self._device)
        return x_grad, inputs, labels

    def _to_input(self, x: Array, grad: Tensor) -> Array:
        """Return a gradient as array or tensor like ``x``, carried back through defences that are not in the graph."""
        if not self.all_framework_preprocessing:
            back = self._apply_preprocessing_gradient(to_numpy(x), grad.cpu().numpy())
            return torch.as_tensor(back, device=self._device) if isinstance(x, Tensor) else back
        return grad if isinstance(x, Tensor) else grad.cpu().numpy()

    def _checked_gradient(self, grad: Tensor) -> Tensor:
        """Return the gradient without NaN and inf; warn of these and of samples that no gradient reaches."""
        size = grad.flatten(1).abs().amax(1) if grad.numel() else grad.new_ones(1)
        if not torch.isfinite(size).all():
            warnings.warn(
                f"the gradient under {self.gradient_rule!r} is NaN or inf for some samples; its entries are taken as 0",
                GradientWarning,
                stacklevel=3,
            )
            grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
        if self._warns and (size == 0).any():
            warnings.warn(
                f"the gradient under {self.gradient_rule!r} is all zero for some samples: attacks cannot move them, "
                "which is no robustness. Try another rule, or a larger gamma where the rule has one",
                GradientWarning,
                stacklevel=3,
            )
        return grad

    def _layer_name(self, layer: int | str | None) -> str:
        names: list[str] = self.layer_names
        if isinstance(layer, str) and layer in names:
            return layer
        if isinstance(layer, (int, np.integer)) and not isinstance(layer, bool) and -len(names) <= layer < len(names):
            return names[layer]
        raise ValueError(f"layer must be an index below {len(names)} or one of {', '.join(names)}; got {layer!r}")

    def _probe(self) -> Tensor | None:
        """Return a small batch to try the model on; None where a defence cannot take one."""
        low, high = (
            (0.0, 1.0) if self.clip_values is None else (np.min(self.clip_values[0]), np.max(self.clip_values[1]))
        )
        try:
            x, _ = self._apply_preprocessing(probe_input(self.input_shape, low, high), y=None, fit=False)
        except Exception as error:  # a defence may want more than random inputs
            logger.info("the model is not tried out, since a preprocessing defence fails on random inputs: %s", error)
            return None
        return torch.from_numpy(np.asarray(x, dtype=np.float32)).to(self._device)


class _Estimated(torch.autograd.Function):
    """Take what defences on arrays made of a tensor for a function of it; the gradient is their own estimate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: np.ndarray, back: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.back = back
        return torch.tensor(values, dtype=torch.float32, device=x.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return ctx.back(x, grads[0]).to(x.dtype), None, None


class _Outputs(nn.Module):
    """The list of outputs that ART's own code takes the last of, and the names of the layers."""

    _model: GradientRuleModule

    def __init__(self, model: GradientRuleModule) -> None:
        super().__init__()
        self._model = model

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self._model(x)]

    @property
    def get_layers(self) -> list[str]:
        return layer_names(self._model)
