"""The module that an ART classifier holds: a network whose autograd graph is a gradient rule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from art_snn import engine
from art_snn.adapters import is_spiking
from art_snn.errors import UnsupportedModelError
from art_snn.rules import get_rule
from art_snn.types import GradientRule, SequenceModel


class GradientRuleModule(nn.Module):
    """Wrap a spiking network so that whoever differentiates it gets a gradient rule.

    ART has attacks that take the estimator's model and build another classifier around it, or differentiate its output
    themselves. The rule therefore lives in the model:

    - in training mode, or where no gradient with respect to the input is asked for, this is the network itself;
    - in evaluation mode with an input that requires grad, the value is the network's logits and their gradient the
      rule's.

    Args:
        network: A `SpikingNetwork`, or another module with its `encode`, `body` and `readout`.
        rule: Name of a registered rule, or a rule.

    Raises:
        TypeError: The network has no `encode`, `body` and `readout`.
        UnsupportedModelError: The encoder holds spiking layers.

    Example:
        >>> from art_snn import DirectEncoder, LIF, SpikingNetwork
        >>> body = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), LIF(decay=0.9), nn.Linear(8, 2))
        >>> model = GradientRuleModule(SpikingNetwork(DirectEncoder(time_steps=8), body), "hart").eval()
        >>> x = torch.rand(3, 1, 2, 2, requires_grad=True)
        >>> torch.autograd.grad(model(x).sum(), x)[0].shape
        torch.Size([3, 1, 2, 2])
    """

    def __init__(self, network: nn.Module, rule: str | GradientRule = "hart") -> None:
        super().__init__()
        if isinstance(network, GradientRuleModule):
            network = network.network
        if not (isinstance(network, nn.Module) and isinstance(network, SequenceModel)):
            raise TypeError(
                f"the network must be a SpikingNetwork, got {type(network).__name__}; wrap the layers: "
                "SpikingNetwork(DirectEncoder(time_steps=8), layers)"
            )
        encoder = getattr(network, "encoder", None)
        if encoder is not None and is_spiking(encoder):
            raise UnsupportedModelError(["its encoder holds spiking layers; put them into the body, where rules apply"])
        self.network: Any = network  # a module and a SequenceModel; Python has no type for both
        self.rule = rule

    @property
    def rule(self) -> GradientRule:
        """The gradient rule; set it to a name or a rule."""
        return self._rule

    @rule.setter
    def rule(self, rule: str | GradientRule) -> None:
        self._rule = get_rule(rule)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) for inputs ``x`` (N, ...)."""
        if self.training:
            return self.network(x)
        if not torch.is_grad_enabled():
            return engine.simulate(self.network, x)
        if not x.requires_grad:
            return self.network(x)
        return engine.rule_logits(self.network, self._rule, x)

    def attack_logits(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) on which an attack takes its loss; only CBA's differ from `forward`'s."""
        return engine.attack_logits(self.network, self._rule, x)

    def extra_repr(self) -> str:
        """Return what the module's repr shows."""
        return f"rule={self._rule!r}"
