"""The ART classifier for spiking neural networks."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from art_snn.checks import check_choice, check_count
from art_snn.classifier.event_frames import fitted_preprocessing
from art_snn.classifier.fit import Trainable
from art_snn.classifier.inputs import Array, to_numpy
from art_snn.classifier.layers import Outputs, find_layer, layer_output
from art_snn.classifier.model_checks import check_model
from art_snn.classifier.options import check_loss, check_options
from art_snn.classifier.output_checks import warn_of_ties
from art_snn.classifier.persistence import Persistence
from art_snn.classifier.sample_losses import SampleLosses
from art_snn.engine.module import GradientRuleModule
from art_snn.labels import Labels, class_indices, to_array
from art_snn.ranges import Once, RangeWatch
from art_snn.rules.base import GradientRule
from art_snn.snn.modes import mode
from art_snn.snn.network import is_native

logger = logging.getLogger(__name__)


class PyTorchSNNClassifier(SampleLosses, Trainable, Persistence):
    """A spiking neural network as an ART classifier, differentiated by a gradient rule.

    ART's attacks, defences, trainers and metrics take it as they take a `PyTorchClassifier`. Every gradient that they
    see is the rule's, through whatever method, and also where they build another classifier around
    ``classifier.model``.

    In the methods, ``x`` is a batch of inputs (N, *input_shape) and ``y`` holds labels, class indices (N,) or rows
    (N, nb_classes), in any form that `art_snn.labels` knows. ``training_mode`` runs the network as in training, with
    dropout, batch norm and its own surrogate in the place of the rule. ``batch_size`` samples run at the same time.
    Further keywords are for ART, and ignored.
    Gradients warn (`GradientWarning`) of samples where they are all zero or not finite; such entries are 0. Predictions
    of a network that ends in spikes warn once where the largest logits of many samples tie.

    Args:
        model: A `SpikingNetwork` that gives logits, float32; a network with neurons of another library, or what
            `art_snn.adapt` makes of one; or a `GradientRuleModule` around these. It is moved to the device and left in
            evaluation mode.
        loss: Loss on logits and labels, for attacks and training: an instance, or another function.
        input_shape: Shape of one input, (C, H, W) or, for event frames, (T, C, H, W).
        nb_classes: Number of classes K.
        optimizer: Optimizer of the model's parameters, for `fit`.
        use_amp, opt_level, loss_scale, channels_first: For ART; leave them as they are.
        clip_values: Smallest and largest value of an input. Images: (0, 1). Event counts exceed 1: give the range of
            your data, or None.
        preprocessing_defences: ART preprocessors.
        postprocessing_defences: ART postprocessors.
        preprocessing: Subtrahend and divisor of inputs, (mean, std); for event frames, a vector is one per channel.
        device_type: "gpu" or "cpu"; "gpu" falls back to the CPU, with a warning in the log, where there is none.
        eot_samples: Number k of encodings that gradients and losses are averaged over, >= 1, for networks with a
            random encoder (expectation over transformation: Athalye et al., "Obfuscated Gradients Give a False Sense
            of Security", ICML 2018). `loss_gradient` averages the gradients of k losses; attacks that differentiate
            ``classifier.model`` differentiate the mean of k logits. None is the model's number, else 1.
        time_chunk: Number of time-steps, >= 1, that rules through time such as STBP keep a graph of; the graph is built
            again for each chunk in the backward pass. Memory does not grow with T then, at the price of a forward pass.
            None is the model's number, else all steps.
        gradient_rule: Name of a rule (`art_snn.rules.rule_names`) or a rule, such as ``HART(gamma=0.7)``. None is the
            rule of a `GradientRuleModule`, else HART.

    Raises:
        UnsupportedModelError: With every reason why the model cannot be attacked.
        UnsupportedInputError: A preprocessor cannot take event frames.
        TypeError, ValueError: The model is no `SpikingNetwork`, the loss no loss, the rule no rule, or a value out of
            its range.

    Example:
        >>> from art_snn.snn.models import digits_net
        >>> classifier = PyTorchSNNClassifier(
        ...     digits_net(), nn.CrossEntropyLoss(), input_shape=(1, 8, 8), nb_classes=10, device_type="cpu")
        >>> classifier.gradient_rule, classifier.predict(np.zeros((3, 1, 8, 8), dtype=np.float32)).shape
        (HART(gamma=1.0), (3, 10))
    """

    estimator_params = [*PyTorchClassifier.estimator_params, "eot_samples", "time_chunk", "gradient_rule"]  # noqa: RUF012  (ART's convention)

    _model: Outputs
    _optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        input_shape: tuple[int, ...],
        nb_classes: int,
        optimizer: torch.optim.Optimizer | None = None,
        use_amp: bool = False,
        opt_level: str = "O1",
        loss_scale: float | str | None = "dynamic",
        channels_first: bool = True,
        clip_values: Any = None,
        preprocessing_defences: Any = None,
        postprocessing_defences: Any = None,
        preprocessing: Any = (0.0, 1.0),
        device_type: str = "gpu",
        eot_samples: int | None = None,
        time_chunk: int | None = None,
        gradient_rule: str | GradientRule | None = None,
    ) -> None:
        check_options(nb_classes, loss, use_amp, channels_first, device_type)
        module = GradientRuleModule(model, gradient_rule, eot_samples=eot_samples, time_chunk=time_chunk)
        check_model(module.network, nb_classes, probe=None)
        input_shape = tuple(input_shape)
        preprocessing, preprocessing_defences = fitted_preprocessing(
            module.network, preprocessing, preprocessing_defences, input_shape, device_type
        )
        if device_type != "cpu" and not torch.cuda.is_available():
            logger.warning("device_type=%r, but torch finds no GPU: running on the CPU", device_type)
        self._range_watch, self._entries_told = RangeWatch(), Once()
        super().__init__(
            module,
            loss,
            input_shape,
            nb_classes,
            optimizer,
            opt_level=opt_level,
            loss_scale=loss_scale,
            clip_values=clip_values,
            preprocessing_defences=preprocessing_defences,
            postprocessing_defences=postprocessing_defences,
            preprocessing=preprocessing,
            device_type=device_type,
        )
        check_model(module.network, nb_classes, self._probe())
        self._model.eval()

    @property
    def model(self) -> GradientRuleModule:
        """The model with its gradient rule, which ART's attacks may take and wrap."""
        return self._model._model

    @model.setter
    def model(self, model: GradientRuleModule) -> None:
        """Take another model, with its own rule; an optimizer is made anew for it, with the same settings."""
        if not isinstance(model, GradientRuleModule):
            raise TypeError(f"model must be a GradientRuleModule, got {type(model).__name__}; make a new classifier")
        model.to(self._device)
        check_model(model.network, self.nb_classes, self._probe())
        self._model = Outputs(model).eval()
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
    def gradient_path(self) -> str | None:
        """The path that the network's last gradient took, such as "one pass" or "segmented"; None before the first."""
        return self.model.gradient_path

    @property
    def eot_samples(self) -> int:
        """Number of encodings that gradients and losses are averaged over; settable."""
        return self.model.eot_samples

    @eot_samples.setter
    def eot_samples(self, count: int) -> None:
        self.model.eot_samples = count

    @property
    def time_chunk(self) -> int | None:
        """Number of time-steps that rules through time keep a graph of, None for all; settable."""
        return self.model.time_chunk

    @time_chunk.setter
    def time_chunk(self, steps: int | None) -> None:
        self.model.time_chunk = steps

    def with_rule(self, rule: str | GradientRule, *, warn: bool = True) -> PyTorchSNNClassifier:
        """Return a view: a classifier around the same network, optimizer and defences, with another rule.

        Views may be used at the same time. With ``warn=False`` they do not warn of samples whose gradient is all zero.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.preprocessing_operations = list(self.preprocessing_operations)  # ART changes the list in place
        view._model = Outputs(self.model.with_rule(rule))
        view._model.training = self._model.training
        view._warns = warn
        return view

    def common_random_numbers(self) -> AbstractContextManager[None]:
        """Let predictions and gradients inside a ``with`` block draw the same noise in every call.

        Two calls then differ by their inputs alone. Evaluate with fresh noise, outside the block.
        """
        return self.model.common_random_numbers()

    def set_params(self, **kwargs: Any) -> None:
        """Set parameters by their names; preprocessing that would misread event frames is refused first.

        Raises:
            TypeError: The loss is none.
            ValueError: A value is out of its range, or ``nb_classes`` is not the number that the model has.
        """
        check_loss(kwargs.get("loss", self.loss))
        if "model" not in kwargs and kwargs.get("nb_classes", self.nb_classes) != self.nb_classes:
            raise ValueError(
                f"nb_classes={kwargs['nb_classes']!r}, but the model has {self.nb_classes}; give another model"
            )
        kwargs["preprocessing"], kwargs["preprocessing_defences"] = fitted_preprocessing(
            self.model.network,
            kwargs.get("preprocessing", self.preprocessing),
            kwargs.get("preprocessing_defences", self.preprocessing_defences),
            tuple(kwargs.get("input_shape") or self.input_shape),
            self.device_type,
        )
        super().set_params(**kwargs)

    def _make_model_wrapper(self, model: GradientRuleModule) -> Outputs:
        return Outputs(model)

    def predict(self, x: np.ndarray, batch_size: int = 128, training_mode: bool = False, **kwargs: Any) -> np.ndarray:
        """Return logits (N, nb_classes), float32, after the postprocessing defences; N may be 0."""
        batch_size = check_count("batch_size", batch_size)
        raw = to_numpy(self._check_input(x))
        outputs = [np.zeros((0, self.nb_classes), dtype=np.float32)]
        if len(raw):
            inputs = self._preprocessed(raw)
            with mode(self.model, training_mode), torch.no_grad():
                outputs = [self.model(batch.to(self._device)).cpu().numpy() for batch in inputs.split(batch_size)]
        logits = np.concatenate(outputs)
        if is_native(self.model.network) and not training_mode:
            warn_of_ties(logits, self._entries_told)
        return self._apply_postprocessing(preds=logits, fit=False)

    @torch.inference_mode(False)
    def loss_gradient(self, x: Array, y: Labels, training_mode: bool = False, **kwargs: Any) -> Array:
        """Return the rule's gradient of the loss with respect to ``x``: array or tensor like ``x``, float32.

        Nothing but the gradient is computed: no parameter's ``.grad`` is touched.
        """
        if y is None:
            raise ValueError("loss_gradient needs labels y, got None")
        x_grad, inputs, labels = self._leaf(x, y)
        mean = torch.zeros_like(x_grad)
        with mode(self.model, training_mode), torch.enable_grad(), torch.autocast(self._device.type, enabled=False):
            samples = [self.model(inputs)] if training_mode else self.model.attack_samples(inputs, parameters=False)
            for count, logits in enumerate(samples, start=1):
                # Where a defence stands between x and the network, its graph serves all samples.
                (grad,) = torch.autograd.grad(
                    self._loss(logits, labels).mean(), x_grad, retain_graph=inputs is not x_grad
                )
                mean += (grad - mean) / count
        self._report_gradient(len(x))
        return self._to_input(x, self._checked_gradient(mean, x_grad))

    @torch.inference_mode(False)
    def class_gradient(self, x: Array, label: Any = None, training_mode: bool = False, **kwargs: Any) -> np.ndarray:
        """Return the rule's gradient of logits with respect to ``x``, (N, nb_classes, *input_shape).

        With a label, a class or one per sample as in ``y``, it is (N, 1, *input_shape). Raises ValueError if one is no
        class.
        """
        if label is not None:
            label = to_array("label", label)
            label = np.full(len(x), label) if label.ndim == 0 else label
            label = class_indices(label, len(x), self.nb_classes, name="label")
        x_grad, inputs, _ = self._leaf(x, None)
        with mode(self.model, training_mode), torch.enable_grad():
            samples = [self.model(inputs)] if training_mode else list(self.model.samples(inputs, parameters=False))
            logits = samples[0] if len(samples) == 1 else torch.stack(samples).mean(0)
        if label is None:
            targets = [logits[:, k].sum() for k in range(logits.shape[1])]
        else:
            index = torch.as_tensor(label.reshape(-1, 1), device=logits.device)
            copies = len(logits) // max(1, len(index))  # ART's EoT preprocessors make several rows of a sample
            targets = [logits.gather(1, index.repeat_interleave(copies, 0)).sum()]
        with torch.autocast(self._device.type, enabled=False):
            grads = [torch.autograd.grad(target, x_grad, retain_graph=True)[0] for target in targets]
        stacked = self._checked_gradient(torch.stack(grads, 1), x_grad).cpu().numpy()
        return stacked if self.all_framework_preprocessing else self._apply_preprocessing_gradient(to_numpy(x), stacked)

    def compute_loss(self, x: Array, y: Labels, reduction: str = "none", **kwargs: Any) -> Array:
        """Return the losses (N,), or their "mean" or "sum", averaged over `eot_samples`: array or tensor like ``x``.

        For a tensor that requires grad, they have the rule's graph.
        """
        check_choice("reduction", reduction, ("none", "mean", "sum"))
        if not hasattr(self._loss, "reduction"):
            raise ValueError(
                f"compute_loss needs a loss with a reduction, such as CrossEntropyLoss, not {self._loss!r}"
            )
        loss: Any = copy.copy(self._loss)
        loss.reduction = reduction
        checked, wants_array = self._check_input(x), not isinstance(x, Tensor)
        with mode(self.model), torch.set_grad_enabled(torch.is_grad_enabled() and not wants_array):
            inputs, labels = self._framework_inputs(self._as_tensor(checked), y)
            labels = self.reduce_labels(labels)
            losses = torch.stack([loss(logits, labels) for logits in self.model.samples(inputs)]).mean(0)
        if losses.ndim > 1:  # one per class, as of MSELoss
            summed = self._loss.reduction in ("sum", "batchmean")
            losses = losses.flatten(1).sum(1) if summed else losses.flatten(1).mean(1)
        return losses.cpu().numpy() if wants_array else losses

    def get_activations(
        self, x: Array, layer: int | str | None = None, batch_size: int = 128, framework: bool = False
    ) -> Array:
        """Return the output of a layer, an index or name of `layer_names`, batch first and averaged over time.

        With ``framework``, it is a tensor, with the rule's graph where ``x`` requires grad. ValueError: no such layer.
        """
        name = find_layer(self.layer_names, layer)
        checked = self._check_input(x)
        if framework:
            inputs, _ = self._framework_inputs(self._as_tensor(checked), None)
            with mode(self.model):
                return layer_output(self.model, name, inputs)
        batch_size = check_count("batch_size", batch_size)
        batches = self._preprocessed(to_numpy(checked)).split(batch_size)
        with mode(self.model), torch.no_grad():
            return np.concatenate([layer_output(self.model, name, b.to(self._device)).cpu().numpy() for b in batches])

    @torch.inference_mode(False)
    def custom_loss_gradient(
        self, loss_fn: Callable[..., Tensor], x: Array, y: Array, layer_name: str | int, training_mode: bool = False
    ) -> Array:
        """Return the rule's gradient of ``loss_fn(activations(x) - activations(y), p=2)`` with respect to ``x``.

        ``y`` holds inputs whose activations are the target. Activations are taken in evaluation mode, as in ART.
        """
        name = find_layer(self.layer_names, layer_name)
        x_grad, inputs, _ = self._leaf(x, None)
        target = torch.as_tensor(self.get_activations(to_numpy(y), name)).to(self._device)
        with mode(self.model), torch.autocast(self._device.type, enabled=False):
            loss = loss_fn(layer_output(self.model, name, inputs) - target, p=2)
            (grad,) = torch.autograd.grad(loss.sum(), x_grad)
        return self._to_input(x, self._checked_gradient(grad, x_grad))
