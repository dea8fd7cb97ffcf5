"""Gradient and logits of one pass, for attacks that choose their own loss and keep an eye on their iterates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from art_snn.classifier.inputs import Array
from art_snn.classifier.preprocessed import Preprocessed
from art_snn.labels import Labels, class_indices
from art_snn.rules.base import ConversionRule
from art_snn.snn.modes import mode

SampleLoss = Callable[[Tensor, Tensor], Tensor]


class SampleLosses(Preprocessed):
    """Differentiate a loss of each sample's own, whatever the loss of the classifier is."""

    @torch.inference_mode(False)
    def gradient_and_logits(self, x: Array, y: Labels, loss: SampleLoss) -> tuple[Array, Tensor]:
        """Return the rule's gradient of each sample's loss with respect to ``x``, and the network's logits.

        One pass gives both. Rules that convert the network differentiate another network's logits, so that these cost
        a forward pass more. Both are means over `eot_samples`. No postprocessing defence has a part in it.

        Args:
            x: Inputs (N, *input_shape).
            y: Labels, in any form of `art_snn.labels`; the class of a row counts.
            loss: Function of logits (N, K) and class indices (N,), int64, to losses (N,).

        Returns:
            The gradient (N, *input_shape), array or tensor like ``x``, float32, whose row i is that of loss i; and the
            logits (N, K), a tensor on the classifier's device.

        Raises:
            ValueError: A preprocessing defence makes several inputs of one.
        """
        labels = torch.as_tensor(class_indices(y, len(x), self.nb_classes), device=self._device)
        x_grad, inputs, _ = self._leaf(x, None)
        if len(inputs) != len(x):
            raise ValueError(
                f"a preprocessing defence makes {len(inputs)} inputs of {len(x)}, which have no logits of their own; "
                "attack without it"
            )
        gradient, seen = torch.zeros_like(x_grad), []
        with mode(self.model), torch.enable_grad(), torch.autocast(self._device.type, enabled=False):
            for count, logits in enumerate(self.model.attack_samples(inputs, parameters=False), start=1):
                total = loss(logits, labels).sum()
                (grad,) = torch.autograd.grad(total, x_grad, retain_graph=inputs is not x_grad)
                gradient += (grad - gradient) / count
                seen.append(logits.detach())
        if isinstance(self.model.rule, ConversionRule):
            with mode(self.model), torch.no_grad():
                seen = list(self.model.samples(inputs))
        self._report_gradient(len(x))
        return self._to_input(x, self._checked_gradient(gradient, x_grad)), torch.stack(seen).mean(0)
