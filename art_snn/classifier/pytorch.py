"""The ART classifier for spiking neural networks."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from art_snn.checks import check_count
from art_snn.classifier import guard
from art_snn.classifier.event_frames import check_pair, on_event_frames
from art_snn.classifier.fit import diverged, not_finite, train
from art_snn.classifier.inputs import Array, check_labels, one_hot, to_numpy
from art_snn.classifier.layers import layer_output
from art_snn.classifier.model_checks import check_model
from art_snn.classifier.preprocessed import SNNEstimator
from art_snn.engine.module import GradientRuleModule
from art_snn.rules.base import GradientRule
from art_snn.snn.modes import training_mode as run_mode

logger = logging.getLogger(__name__)


class PyTorchSNNClassifier(SNNEstimator):
    """A spiking neural network as an ART classifier, differentiated by a gradient rule.

    ART's attacks, defences, trainers and metrics take it as they take a `PyTorchClassifier`. Every gradient that they
    see is the rule's, through whatever method, and also where they build another classifier around
    ``classifier.model``.

    Args:
        model: A `SpikingNetwork` that gives logits; float32. It is moved to the device and left in evaluation mode.
        loss: Loss on logits and labels, for attacks and training.
        input_shape: Shape of one input, (C, H, W) or, for event frames, (T, C, H, W).
        nb_classes: Number of classes K.
        optimizer: Optimizer of the model's parameters, for `fit`.
        use_amp: Not supported (it needs NVIDIA apex); False.
        opt_level: Unused, for ART.
        loss_scale: Unused, for ART.
        channels_first: True; the layout is (C, H, W).
        clip_values: Smallest and largest value of an input. Images: (0, 1). Event counts exceed 1: give the range of
            your data, or None.
        preprocessing_defences: ART preprocessors.
        postprocessing_defences: ART postprocessors.
        preprocessing: Subtrahend and divisor of inputs, (mean, std). With event frames, a vector has one number a
            channel.
        device_type: "gpu" or "cpu"; "gpu" falls back to the CPU, with a warning in the log, where there is none.
        eot_samples: Number k of encodings that gradients and losses are averaged over, >= 1, for networks with a
            random encoder (expectation over transformation: Athalye et al., "Obfuscated Gradients Give a False Sense
            of Security", ICML 2018). A gradient takes k times as long and the same memory. `loss_gradient` averages
            the gradients of k losses; attacks that differentiate ``classifier.model`` differentiate the mean of k
            logits.
        gradient_rule: Name of a rule (`art_snn.rules.rule_names`) or a rule, such as ``HART(gamma=0.7)``. Readable and
            settable as an attribute. It also takes the place of the rule of a `GradientRuleModule` given as model.

    Raises:
        UnsupportedModelError: With every reason why the model cannot be attacked.
        UnsupportedInputError: A preprocessor cannot take event frames.
        TypeError: The model is no `SpikingNetwork`, or the rule no rule.
        ValueError: A value is out of its range.

    Example:
        >>> from art_snn.snn.models import digits_net
        >>> classifier = PyTorchSNNClassifier(
        ...     digits_net(), nn.CrossEntropyLoss(), input_shape=(1, 8, 8), nb_classes=10, device_type="cpu")
        >>> classifier.gradient_rule
        HART(gamma=1.0)
        >>> classifier.predict(np.zeros((3, 1, 8, 8), dtype=np.float32)).shape
        (3, 10)
    """

    estimator_params = [*PyTorchClassifier.estimator_params, "eot_samples", "gradient_rule"]  # noqa: RUF012  (ART's convention)

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
        eot_samples: int = 1,
        gradient_rule: str | GradientRule = "hart",
    ) -> None:
        check_count("nb_classes", nb_classes)
        if use_amp:
            raise ValueError("use_amp=True needs NVIDIA apex and is not supported; leave it False")
        if not channels_first:
            raise ValueError("channels_first=False is not supported; transpose inputs to (N, C, H, W)")
        if device_type not in ("cpu", "gpu") and not str(device_type).startswith("cuda"):
            raise ValueError(f"device_type must be 'gpu' or 'cpu', got {device_type!r}")
        check_pair(preprocessing)
        module = GradientRuleModule(model, gradient_rule, eot_samples=eot_samples)
        check_model(module.network, nb_classes, probe=None)
        if guard.takes_event_frames(module):
            preprocessing, preprocessing_defences = on_event_frames(
                preprocessing, preprocessing_defences, tuple(input_shape)
            )
            guard.install()
        if device_type != "cpu" and not torch.cuda.is_available():
            logger.warning("device_type=%r, but torch finds no GPU: running on the CPU", device_type)
        super().__init__(
            model=module,
            loss=loss,
            input_shape=tuple(input_shape),
            nb_classes=nb_classes,
            optimizer=optimizer,
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

    def with_rule(self, rule: str | GradientRule, *, warn: bool = True) -> PyTorchSNNClassifier:
        """Return a view: a classifier around the same network, optimizer and defences, with a rule of its own.

        Nothing has to be put back afterwards, and several views may be used at the same time.

        Args:
            rule: Name of a rule, or a rule.
            warn: Warn of samples whose gradient is all zero; False where the caller counts them.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._model = self._make_model_wrapper(self.model.with_rule(rule))
        view._model.training = self._model.training
        view._warns = warn
        return view

    def predict(self, x: np.ndarray, batch_size: int = 128, training_mode: bool = False, **kwargs: Any) -> np.ndarray:
        """Return logits, after the postprocessing defences.

        Args:
            x: Inputs (N, *input_shape), N >= 0.
            batch_size: Samples to run at once.
            training_mode: Run dropout and batch norm as in training.
            **kwargs: Ignored, for ART.

        Returns:
            Array (N, nb_classes), float32.
        """
        check_count("batch_size", batch_size)
        raw = to_numpy(self._check_input(x))
        outputs = [np.zeros((0, self.nb_classes), dtype=np.float32)]
        if len(raw):
            inputs = self._preprocessed(raw)
            with run_mode(self._model, training_mode), torch.no_grad():
                outputs = [self._model(batch.to(self._device))[-1].cpu().numpy() for batch in inputs.split(batch_size)]
        return self._apply_postprocessing(preds=np.concatenate(outputs), fit=False)

    def _predict_framework(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return logits with their graph, and the labels, for attacks that differentiate through `predict`."""
        inputs, labels = self._framework_inputs(torch.as_tensor(self._check_input(x)), y)
        with run_mode(self._model, False):
            return self._model(inputs)[-1], labels

    def loss_gradient(self, x: Array, y: Array, training_mode: bool = False, **kwargs: Any) -> Array:
        """Return the rule's gradient of the loss with respect to ``x``.

        Nothing but the gradient is computed: no parameter's ``.grad`` is touched.

        Args:
            x: Inputs (N, *input_shape), array or tensor.
            y: Labels, class indices (N,) or rows (N, nb_classes).
            training_mode: Run the network as in training, with its own surrogate instead of the rule.
            **kwargs: Ignored, for ART.

        Returns:
            Gradient like ``x``, float32. Entries that are not finite are 0.

        Warns:
            GradientWarning: Some samples have an all-zero gradient, or one that is not finite.
        """
        if y is None:
            raise ValueError("loss_gradient needs labels y, got None")
        x_grad, inputs, labels = self._leaf(x, y)
        grad = torch.zeros_like(x_grad)
        with run_mode(self._model, training_mode), torch.enable_grad():
            samples = self._model(inputs) if training_mode else self.model.attack_samples(inputs)
            for count, logits in enumerate(samples, start=1):
                # A defence's graph is shared by the samples.
                (one,) = torch.autograd.grad(self._loss(logits, labels), x_grad, retain_graph=inputs is not x_grad)
                grad += (one - grad) / count
        return self._to_input(x, self._checked_gradient(grad))

    def class_gradient(self, x: Array, label: Any = None, training_mode: bool = False, **kwargs: Any) -> np.ndarray:
        """Return the rule's gradient of logits with respect to ``x``.

        Args:
            x: Inputs (N, *input_shape).
            label: A class, one class a sample (N,), or None for all classes.
            training_mode: Run the network as in training, with its own surrogate instead of the rule.
            **kwargs: Ignored, for ART.

        Returns:
            Array (N, nb_classes, *input_shape), or (N, 1, *input_shape) with a label.

        Raises:
            ValueError: A label is out of range.
        """
        if isinstance(label, (int, np.integer)):
            label = np.full(len(x), label)
        if label is not None:
            label = np.asarray(label)
            check_labels(label, len(x), self.nb_classes)
        x_grad, inputs, _ = self._leaf(x, None)
        with run_mode(self._model, training_mode), torch.enable_grad():
            logits = self._model(inputs)[-1]
        if label is None:
            targets = [logits[:, k].sum() for k in range(logits.shape[1])]
        else:
            index = torch.as_tensor(label.reshape(-1, 1), dtype=torch.int64, device=logits.device)
            copies = len(logits) // max(1, len(index))  # ART's EoT preprocessors make several rows of a sample
            targets = [logits.gather(1, index.repeat_interleave(copies, 0)).sum()]
        grads = [torch.autograd.grad(target, x_grad, retain_graph=True)[0] for target in targets]
        stacked = self._checked_gradient(torch.stack(grads, 1)).cpu().numpy()
        return stacked if self.all_framework_preprocessing else self._apply_preprocessing_gradient(to_numpy(x), stacked)

    def compute_loss(self, x: Array, y: Array, reduction: str = "none", **kwargs: Any) -> Array:
        """Return the loss, the mean over ``eot_samples``; for a tensor that requires grad, with the rule's graph.

        Args:
            x: Inputs (N, *input_shape).
            y: Labels, class indices (N,) or rows (N, nb_classes).
            reduction: "none", "mean" or "sum".
            **kwargs: Ignored, for ART.

        Returns:
            Losses (N,), or one number; array or tensor like ``x``.
        """
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
        if not (isinstance(self._loss, nn.Module) and hasattr(self._loss, "reduction")):
            raise ValueError(
                f"compute_loss needs a loss with a reduction, such as nn.CrossEntropyLoss(), not {self._loss!r}"
            )
        loss: Any = copy.copy(self._loss)
        loss.reduction = reduction
        if isinstance(x, Tensor):
            checked = torch.as_tensor(self._check_input(x))
            rows = torch.as_tensor(one_hot(y, len(x), self.nb_classes), device=self._device)
            inputs, processed = self._framework_inputs(checked, rows)
            labels = self.reduce_labels(processed)
            with run_mode(self._model, False):
                return torch.stack([loss(logits, labels) for logits in self.model.samples(inputs)]).mean(0)
        _, inputs, labels = self._leaf(x, y)
        with run_mode(self._model, False), torch.no_grad():
            losses = [loss(logits, labels) for logits in self.model.samples(inputs)]
        return torch.stack(losses).mean(0).cpu().numpy()

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int = 128,
        nb_epochs: int = 10,
        training_mode: bool = True,
        drop_last: bool = False,
        scheduler: Any = None,
        verbose: bool = False,
        **kwargs: Any,
    ) -> None:
        """Train by back-propagation through time with the neurons' own surrogate slopes (STBP).

        The model is in evaluation mode afterwards.

        Args:
            x: Inputs (N, *input_shape).
            y: Labels, class indices (N,) or rows (N, nb_classes).
            batch_size: Samples a step.
            nb_epochs: Passes over the data.
            training_mode: False trains with dropout off and batch norm frozen.
            drop_last: Leave out the last batch of an epoch if it is smaller.
            scheduler: Learning-rate scheduler, stepped after every epoch.
            verbose: Show a progress bar with loss and accuracy.
            **kwargs: Ignored, for ART.

        Raises:
            ValueError: There is no optimizer, or the loss became NaN.
        """
        check_count("batch_size", batch_size)
        check_count("nb_epochs", nb_epochs)
        if self._optimizer is None:
            raise ValueError("fit needs an optimizer; give PyTorchSNNClassifier(..., optimizer=torch.optim.Adam(...))")
        checked = to_numpy(self._check_input(x))
        if len(checked) < (batch_size if drop_last else 1):
            raise ValueError(
                f"{len(checked)} samples make no batch of {batch_size}; lower batch_size or leave drop_last False"
            )
        rows = one_hot(y, len(checked), self.nb_classes)
        inputs, rows = self._apply_preprocessing(checked, rows, fit=True)
        inputs = torch.tensor(inputs, dtype=torch.float32)
        labels = torch.from_numpy(np.asarray(self.reduce_labels(rows)))
        try:
            self._model.train(training_mode)
            train(
                self.model,
                self._loss,
                self._optimizer,
                inputs,
                labels,
                batch_size=batch_size,
                nb_epochs=nb_epochs,
                device=self._device,
                drop_last=drop_last,
                scheduler=scheduler,
                verbose=verbose,
            )
        finally:
            self._model.eval()

    def fit_generator(self, generator: Any, nb_epochs: int = 20, verbose: bool = False, **kwargs: Any) -> None:
        """Train on the batches of an ART data generator; see `fit`. The model is in evaluation mode afterwards.

        Raises:
            TrainingError: A weight became NaN or inf.
        """
        before = not_finite(self._model)
        try:
            super().fit_generator(generator, nb_epochs=nb_epochs, verbose=verbose, **kwargs)
        finally:
            self._model.eval()
        if not_finite(self._model) - before and self._optimizer is not None:
            raise diverged("weights", nb_epochs - 1, self._optimizer.param_groups[0]["lr"])

    def get_activations(
        self, x: Array, layer: int | str | None = None, batch_size: int = 128, framework: bool = False
    ) -> Array:
        """Return a layer's output, batch first and averaged over time.

        Args:
            x: Inputs (N, *input_shape).
            layer: Index or name of a layer in `layer_names`.
            batch_size: Samples to run at once, without ``framework``.
            framework: Return a tensor; where ``x`` requires grad, with the gradient rule's graph.

        Returns:
            Activations (N, ...).

        Raises:
            ValueError: There is no such layer.
        """
        name = self._layer_name(layer)
        checked = self._check_input(x)
        if framework:
            tensor = checked if isinstance(checked, Tensor) else torch.tensor(checked, device=self._device)
            inputs, _ = self._framework_inputs(tensor, None)
            with run_mode(self._model, False):
                return layer_output(self.model, name, inputs)
        check_count("batch_size", batch_size)
        batches = self._preprocessed(to_numpy(checked)).split(batch_size)
        with run_mode(self._model, False), torch.no_grad():
            return np.concatenate([layer_output(self.model, name, b.to(self._device)).cpu().numpy() for b in batches])

    def custom_loss_gradient(
        self, loss_fn: Callable[..., Tensor], x: Array, y: Array, layer_name: str | int, training_mode: bool = False
    ) -> Array:
        """Return the rule's gradient of ``loss_fn(activations(x) - activations(y), p=2)`` with respect to ``x``.

        Args:
            loss_fn: Takes the difference of two activations and ``p=2``, such as `torch.norm`.
            x: Inputs (N, *input_shape).
            y: Inputs whose activations are the target, (N, *input_shape).
            layer_name: Name or index of a layer.
            training_mode: Ignored: activations are taken in evaluation mode, as in ART.
        """
        name = self._layer_name(layer_name)
        x_grad, inputs, _ = self._leaf(x, None)
        target = torch.as_tensor(self.get_activations(to_numpy(y), name)).to(self._device)
        with run_mode(self._model, False):
            loss = loss_fn(layer_output(self.model, name, inputs) - target, p=2)
            (grad,) = torch.autograd.grad(loss.sum(), x_grad)
        return self._to_input(x, self._checked_gradient(grad))
