"""Arrays in, gradients out, apart from the classifier because every method crosses ART's preprocessing defences here.

Defences on tensors are part of the graph. Defences on arrays estimate their gradient themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor
from torch.autograd.function import once_differentiable

from art_snn.classifier.gradient_checks import warn_of_zero_entries, warn_of_zeros, without_nan
from art_snn.classifier.inputs import Array, check_input, to_numpy, watch_clip_values
from art_snn.classifier.model_checks import check_dtype
from art_snn.labels import Labels, one_hot
from art_snn.ranges import Once, RangeWatch
from art_snn.snn.encoders import takes_frames
from art_snn.snn.modes import mode, range_watches

logger = logging.getLogger(__name__)


class Preprocessed(PyTorchClassifier):
    """Take inputs and labels through the preprocessing defences, and gradients back."""

    _warns = True
    _on_gradient: Callable[[int], None] | None = None  # called after each gradient of a loss, with its samples
    _range_watch: RangeWatch  # one for all views of a classifier, as the next
    _entries_told: Once

    def _check_input(self, x: Array) -> Array:
        """Return ``x`` in float32, a tensor on the classifier's device; raise unless it is a batch of inputs."""
        check_dtype(self.model.network)
        shape = None if self.preprocessing_defences else self.input_shape
        checked = check_input(x, shape, frames=takes_frames(self.model.network))
        watch_clip_values(self._range_watch, checked, self.clip_values)
        return checked.to(self._device) if isinstance(checked, Tensor) else checked

    def _as_tensor(self, checked: Array) -> Tensor:
        """Return a tensor as it is, and a copy of an array on the classifier's device: a layer may work in place."""
        return checked if isinstance(checked, Tensor) else torch.tensor(checked, device=self._device)

    def _apply_preprocessing(self, x: Array, y: Labels | None, fit: bool = False, no_grad: bool = True) -> Any:
        """Return what the preprocessing defences make of inputs, and of labels as rows, arrays or tensors like ``x``.

        All labels come through here, also those that ART's trainers take the largest entry of, whatever their shape.
        """
        rows = None if y is None else self._rows(y, len(x), isinstance(x, Tensor))
        return super()._apply_preprocessing(x, rows, fit=fit, no_grad=no_grad)

    def reduce_labels(self, y: Labels) -> Any:
        """Return labels as the loss wants them, class indices if it can: a tensor, if they are one, or an array."""
        return super().reduce_labels(self._rows(y, None, isinstance(y, Tensor)))

    def _rows(self, y: Labels, nb_samples: int | None, as_tensor: bool) -> Array:
        rows = one_hot(y, nb_samples, self.nb_classes)
        return torch.as_tensor(rows, device=self._device) if as_tensor else rows

    def _preprocessed(self, x: np.ndarray) -> Tensor:
        """Return what the preprocessing defences make of ``x``, as a tensor on the CPU."""
        inputs, _ = self._apply_preprocessing(x, y=None, fit=False)
        return torch.tensor(inputs, dtype=torch.float32)  # a copy: a layer may work in place

    def _framework_inputs(self, x: Tensor, y: Labels | None) -> tuple[Tensor, Any]:
        """Return what the preprocessing defences make of a tensor, with its graph, and of labels as rows."""
        if self.all_framework_preprocessing:
            return self._apply_preprocessing(x, y=y, fit=False, no_grad=False)
        # Defences on arrays have no graph. They get one whose backward is the estimate that each gives of its gradient
        # (BPDA: Athalye et al. 2018), so that autograd through here has the values of `loss_gradient`.
        values, labels = self._apply_preprocessing(to_numpy(x), y=y, fit=False, no_grad=True)
        labels = None if labels is None else torch.as_tensor(labels, device=self._device)
        return _Estimated.apply(x, values, self._to_input), labels

    def _predict_framework(self, x: Tensor, y: Any = None) -> tuple[Tensor, Any]:
        """Return logits with their graph, and ``y`` as it is, for attacks that differentiate through `predict`."""
        inputs, _ = self._framework_inputs(self._as_tensor(self._check_input(x)), None)
        with mode(self.model):
            return self.model(inputs), y

    def _leaf(self, x: Array, y: Labels | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the tensor to differentiate by, what the model gets for it, and the labels as the loss wants them."""
        checked = self._check_input(x)
        with torch.enable_grad():
            if self.all_framework_preprocessing:
                copied = checked.detach().clone() if isinstance(checked, Tensor) else self._as_tensor(checked)
                x_grad = copied.requires_grad_()
                inputs, labels = self._apply_preprocessing(x_grad, y=y, fit=False, no_grad=False)
            else:
                inputs, labels = self._apply_preprocessing(to_numpy(checked), y=y, fit=False, no_grad=True)
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

    def _apply_preprocessing_gradient(self, x: np.ndarray, gradients: np.ndarray, fit: bool = False) -> np.ndarray:
        with torch.enable_grad():  # a PyTorch defence among others differentiates itself, whoever calls
            return super()._apply_preprocessing_gradient(x, gradients, fit=fit)

    def _checked_gradient(self, grad: Tensor, x: Tensor) -> Tensor:
        """Return the gradient without NaN and inf; warn of these, and of samples and entries of ``x`` without one."""
        name = f"the gradient under {self.gradient_rule!r}"
        finite = without_nan(grad, name)
        if self._warns:
            warn_of_zeros(grad, name)
            if not any(watch.told for watch in range_watches(self.model.network)):  # else it is said already
                warn_of_zero_entries(finite, x, name, self._entries_told)
        return finite

    def _report_gradient(self, nb_samples: int) -> None:
        if self._on_gradient is not None:
            self._on_gradient(nb_samples)

    def _probe(self) -> Tensor | None:
        """Return a small batch to try the model on; None where a defence cannot take one."""
        low, high = (0.0, 1.0) if self.clip_values is None or np.isinf(self.clip_values).any() else self.clip_values
        shape = (2, *self.input_shape)
        numbers = np.random.default_rng(0).uniform(np.min(low), np.max(high), shape).astype(np.float32)
        try:
            return self._preprocessed(numbers).to(self._device)
        except Exception as error:  # a defence may want more than random inputs
            logger.info("the model is not tried out, since a preprocessing defence fails on random inputs: %s", error)
            return None


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
