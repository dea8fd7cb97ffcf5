"""The module that an ART classifier holds: a network whose autograd graph is a gradient rule."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from art_snn.checks import check_count
from art_snn.engine import run as engine
from art_snn.errors import RandomnessWarning, UnsupportedModelError
from art_snn.rules import get_rule
from art_snn.rules.base import GradientRule
from art_snn.snn.encoders import DirectEncoder, EventFrameEncoder
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import is_spiking


class GradientRuleModule(nn.Module):
    """Wrap a spiking network so that whoever differentiates it gets a gradient rule.

    ART has attacks that take the estimator's model and build another classifier around it, or differentiate its output
    themselves. The rule therefore lives in the model:

    - in training mode, or where no gradient with respect to the input is asked for, this is the network itself;
    - in evaluation mode with an input that requires grad, the value is the network's logits and their gradient the
      rule's.

    A network with a random encoder gives an attacker another gradient in every run. With ``eot_samples`` of k, logits
    that are differentiated are the mean over k runs (expectation over transformation, Athalye et al. 2018).

    Args:
        network: A `SpikingNetwork`, or another module with its `encode`, `body` and `readout`.
        rule: Name of a registered rule, or a rule.
        eot_samples: Number k of encodings to average gradients over, >= 1.

    Raises:
        TypeError: The network has no `encode`, `body` and `readout`.
        ValueError: ``eot_samples`` is no whole number >= 1.
        UnsupportedModelError: The encoder holds spiking layers.

    Example:
        >>> from art_snn import DirectEncoder, LIF, SpikingNetwork
        >>> body = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), LIF(decay=0.9), nn.Linear(8, 2))
        >>> model = GradientRuleModule(SpikingNetwork(DirectEncoder(time_steps=8), body), "hart").eval()
        >>> x = torch.rand(3, 1, 2, 2, requires_grad=True)
        >>> torch.autograd.grad(model(x).sum(), x)[0].shape
        torch.Size([3, 1, 2, 2])
    """

    def __init__(self, network: nn.Module, rule: str | GradientRule = "hart", *, eot_samples: int = 1) -> None:
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
        self.eot_samples = eot_samples
        self._restarts: list[tuple[torch.Generator, Tensor]] = []
        self._memory: engine.RecordMemory | None = None

    @property
    def rule(self) -> GradientRule:
        """The gradient rule; set it to a name or a rule."""
        return self._rule

    @rule.setter
    def rule(self, rule: str | GradientRule) -> None:
        self._rule = get_rule(rule)

    def with_rule(self, rule: str | GradientRule) -> GradientRuleModule:
        """Return a module around the same network with another rule, in the same mode."""
        view = GradientRuleModule(self.network, rule)
        view._eot_samples, view._restarts = self._eot_samples, self._restarts
        view.training = self.training
        return view

    @property
    def eot_samples(self) -> int:
        """Number of encodings that a gradient is averaged over; settable."""
        return self._eot_samples

    @eot_samples.setter
    def eot_samples(self, count: int) -> None:
        check_count("eot_samples", count)
        if count > 1 and isinstance(getattr(self.network, "encoder", None), (DirectEncoder, EventFrameEncoder)):
            warnings.warn(
                f"eot_samples={count} takes {count} times as long for the same gradient: the encoder is not random",
                RandomnessWarning,
                stacklevel=3,
            )
        self._eot_samples = int(count)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) for inputs ``x`` (N, ...), which are cast to the weights' dtype."""
        if self.training or not torch.is_grad_enabled() or not x.requires_grad:
            self.restart_noise()
            return self._logits(self._cast(x))
        samples = list(self.samples(x))
        return samples[0] if len(samples) == 1 else torch.stack(samples).mean(0)

    def samples(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the logits (N, K) of each of ``eot_samples`` encodings, in the mode that `forward` would choose."""
        self.restart_noise()
        for _ in range(self._eot_samples):
            yield self._logits(self._cast(x))

    def attack_logits(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) on which an attack takes its loss; only CBA's differ from the network's."""
        self.restart_noise()
        return engine.attack_logits(self.network, self._rule, self._cast(x), self._memory)

    def attack_samples(self, x: Tensor) -> Iterator[Tensor]:
        """Yield `attack_logits` of each of ``eot_samples`` encodings, one by one, so that memory is that of one."""
        yield self.attack_logits(x)
        for _ in range(1, self._eot_samples):
            yield engine.attack_logits(self.network, self._rule, self._cast(x), self._memory)

    def _logits(self, x: Tensor) -> Tensor:
        if self.training:
            return self.network(x)
        if not torch.is_grad_enabled():
            return engine.simulate(self.network, x)
        return engine.rule_logits(self.network, self._rule, x, self._memory) if x.requires_grad else self.network(x)

    @contextmanager
    def common_random_numbers(self) -> Iterator[None]:
        """Let every run inside the block draw the same noise, so that two runs differ by their inputs alone.

        The noise of a run starts where the encoders' generators stand now. They stand there again afterwards. A
        generator is found in the attribute ``generator`` of the encoder, or of another module of the network.

        Warns:
            RandomnessWarning: There is none, and the encoder may be random.
        """
        outer = self._restarts
        self.restart_noise()
        owned = [getattr(module, "generator", None) for module in self.network.modules()]
        restarts = [(owner, owner.get_state()) for owner in owned if isinstance(owner, torch.Generator)]
        encoder = getattr(self.network, "encoder", self.network)
        if not restarts and not isinstance(encoder, (DirectEncoder, EventFrameEncoder)):
            warnings.warn(
                f"{type(encoder).__name__} holds no generator: noise that it draws from torch's global one is not "
                "common to the runs in this block. Let it draw from a torch.Generator in its attribute generator, as "
                "PoissonEncoder does; if it is not random, nothing is amiss",
                RandomnessWarning,
                stacklevel=3,
            )
        self._restarts = restarts
        try:
            yield
        finally:
            self.restart_noise()
            self._restarts = outer

    @contextmanager
    def shared_records(self, limit: int | None = None) -> Iterator[engine.RecordMemory]:
        """Let rate rules that see the same inputs inside the block share their record pass.

        The gradients are the same. This saves time where rules are compared on the same inputs, as in a search for
        gamma. Weights must not change inside the block.

        Args:
            limit: Bytes to remember, T floats a neuron and sample; inputs beyond that are recorded anew. None for a
                quarter of the device's memory.
        """
        outer, self._memory = self._memory, engine.RecordMemory(limit)
        try:
            yield self._memory
        finally:
            self._memory = outer

    def restart_noise(self) -> None:
        """Let the next run draw the noise that is common to a block of `common_random_numbers`; nothing outside one."""
        for generator, state in self._restarts:
            generator.set_state(state)

    def _cast(self, x: Tensor) -> Tensor:
        """ART's attacks hand on float64, also where they build another classifier around this module."""
        weights = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        return x if weights is None else x.to(weights.dtype)

    def extra_repr(self) -> str:
        """Return what the module's repr shows."""
        return f"rule={self._rule!r}" + (f", eot_samples={self._eot_samples}" if self._eot_samples > 1 else "")
