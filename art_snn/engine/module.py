"""The module that an ART classifier holds: a network whose autograd graph is a gradient rule."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn

from art_snn.adapters.network import adapt, is_readable
from art_snn.checks import check_count
from art_snn.engine.converting import converted_logits
from art_snn.engine.graphs import WithValue
from art_snn.engine.paths import Path, last_path
from art_snn.engine.probing import refuse_own_forward
from art_snn.engine.recording import simulate
from art_snn.engine.replaying import rate_logits
from art_snn.engine.unrolling import unroll_temporal
from art_snn.engine.whole import refuse_wrong_whole
from art_snn.errors import RandomnessWarning, UnsupportedModelError
from art_snn.rules import get_rule
from art_snn.rules.base import ConversionRule, GradientRule, RateRule, TemporalRule
from art_snn.snn.encoders import is_random, is_steady, with_own_memory
from art_snn.snn.modes import noise_states
from art_snn.snn.network import SequenceModel, is_native
from art_snn.snn.readers import is_spiking, refuse_strays
from art_snn.snn.strangers import INLINE, foreign_reason, out_of_reach, wrapper


class GradientRuleModule(nn.Module):
    """Wrap a spiking network so that whoever differentiates it gets a gradient rule.

    ART has attacks that take the estimator's model and build another classifier around it, or differentiate its output
    themselves. The rule therefore lives in the model:

    - in training mode, or where no gradient with respect to the input is asked for, this is the network itself;
    - in evaluation mode with an input that requires grad, the value is the network's logits and their gradient the
      rule's.

    In evaluation mode, two things hold whoever calls. Numbers are the same inside ``torch.autocast`` and outside. And
    the logits of a sample with an entry that is NaN or inf are NaN: neurons that get one fall silent, and the logits of
    the rest would look like a prediction.

    A network with a random encoder gives an attacker another gradient in every run. With ``eot_samples`` of k, logits
    that are differentiated are the mean over k runs (expectation over transformation, Athalye et al. 2018).

    Args:
        network: A `SpikingNetwork`, another module with its `encode`, `body` and `readout`, or a `GradientRuleModule`
            around one, which is taken apart.
        rule: Name of a registered rule, or a rule; None is that of a module that is taken apart, else HART.
        eot_samples: Number k of encodings to average gradients over, >= 1; None as for ``rule``, else 1.
        time_chunk: Number of time-steps, >= 1, that rules through time keep a graph of. It is built again for each
            chunk in the backward pass, which costs a forward pass, and memory does not grow with T. Needs a network
            that can run a few steps at a time, and allows no second derivatives. None keeps the graph of all steps.

    Raises:
        TypeError: The network has no `encode`, `body` and `readout`.
        ValueError: ``eot_samples`` is no whole number >= 1.
        UnsupportedModelError: The encoder holds spiking layers, or a rule would not reach all neurons.

    Example:
        >>> from art_snn import DirectEncoder, LIF, SpikingNetwork
        >>> body = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), LIF(decay=0.9), nn.Linear(8, 2))
        >>> model = GradientRuleModule(SpikingNetwork(DirectEncoder(time_steps=8), body), "hart").eval()
        >>> x = torch.rand(3, 1, 2, 2, requires_grad=True)
        >>> torch.autograd.grad(model(x).sum(), x)[0].shape
        torch.Size([3, 1, 2, 2])
    """

    network: SequenceModel

    def __init__(
        self,
        network: nn.Module,
        rule: str | GradientRule | None = None,
        *,
        eot_samples: int | None = None,
        time_chunk: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(network, GradientRuleModule):
            rule = network.rule if rule is None else rule
            eot_samples = network.eot_samples if eot_samples is None else eot_samples
            time_chunk = network.time_chunk if time_chunk is None else time_chunk
            network = network.network
        if isinstance(network, nn.Module) and (phrase := wrapper(network)):
            raise UnsupportedModelError([f"it {phrase}"])
        parts = [getattr(network, name, None) for name in ("encode", "body", "readout")]
        whole = isinstance(network, nn.Module) and not any(callable(part) for part in parts)
        if whole and is_readable(network):
            network = adapt(network)
        elif not (isinstance(network, nn.Module) and all(callable(part) for part in parts)):
            foreign = foreign_reason(network) if isinstance(network, nn.Module) else None
            cure = (
                "wrap the layers: SpikingNetwork(DirectEncoder(time_steps=8), layers); or, if it has spiking neurons "
                f"of a class of its own, make that known with art_snn.adapters.register_neuron; {INLINE}"
            )
            if foreign:
                cure = f"{foreign}; then {cure}"
            raise TypeError(f"the network must be a SpikingNetwork, got {type(network).__name__}; {cure}")
        encoder = getattr(network, "encoder", None)
        if encoder is not None and is_spiking(encoder):
            raise UnsupportedModelError(["its encoder holds spiking layers; put them into the body, where rules apply"])
        if reasons := out_of_reach(network):
            raise UnsupportedModelError(reasons)
        self.network = cast("SequenceModel", network)
        self.rule = "hart" if rule is None else rule
        self.eot_samples = 1 if eot_samples is None else eot_samples
        self.time_chunk = time_chunk
        self._restarts: list[tuple[torch.Generator, Tensor]] = []

    @property
    def rule(self) -> GradientRule:
        """The gradient rule; set it to a name or a rule."""
        return self._rule

    @rule.setter
    def rule(self, rule: str | GradientRule) -> None:
        self._rule = get_rule(rule)

    def with_rule(self, rule: str | GradientRule) -> GradientRuleModule:
        """Return a module around the same network with another rule, in the same mode."""
        view = copy.copy(self)  # shares the network, hooks, and common random numbers
        view.rule = get_rule(rule)
        return view

    @property
    def eot_samples(self) -> int:
        """Number of encodings that a gradient is averaged over; settable."""
        return self._eot_samples

    @eot_samples.setter
    def eot_samples(self, count: int) -> None:
        check_count("eot_samples", count)
        self._eot_samples = int(count)
        self._eot_told = False
        self._warn_of_same_draws(stacklevel=4)

    def _warn_of_same_draws(self, stacklevel: int) -> None:
        """Warn once of draws that are all the same; whether those of a user's own network are is seen when it runs."""
        if self._eot_samples > 1 and not self._eot_told and is_steady(self.network):
            self._eot_told = True
            what = "its forward" if is_native(self.network) else "the encoder"
            warnings.warn(
                f"eot_samples={self._eot_samples} takes {self._eot_samples} times as long for the same gradient: "
                f"{what} is not random",
                RandomnessWarning,
                stacklevel=stacklevel,
            )

    @property
    def time_chunk(self) -> int | None:
        """Number of time-steps that rules through time keep a graph of, None for all; settable."""
        return self._time_chunk

    @time_chunk.setter
    def time_chunk(self, steps: int | None) -> None:
        if steps is not None:
            check_count("time_chunk", steps)
        self._time_chunk = steps

    @property
    def gradient_path(self) -> Path | None:
        """The path that the network's last gradient took, see `art_snn.engine.paths.last_path`; None before one."""
        return last_path(self.network)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) for inputs ``x`` (N, ...), which are cast to the weights' dtype."""
        runs = list(islice(self.samples(x), self._eot_samples if self._is_attacked(x) else 1))
        return runs[0] if len(runs) == 1 else torch.stack(runs).mean(0)

    def samples(self, x: Tensor, *, parameters: bool = True) -> Iterator[Tensor]:
        """Yield the logits (N, K) of each of ``eot_samples`` encodings.

        Where they are attacked, ``parameters=False`` gives a graph of ``x`` alone, which costs less.
        """
        self.restart_noise()
        for _ in range(self._eot_samples):
            inputs = self._cast(x)
            if self._is_attacked(x):
                yield self._attacked(rule_logits, inputs, parameters)
            elif self.training:
                yield self.network(inputs)
            else:
                yield self._predicted(inputs)

    def attack_samples(self, x: Tensor, *, parameters: bool = True) -> Iterator[Tensor]:
        """Yield the logits (N, K) on which an attack takes its loss; only CBA's differ from those of `samples`.

        They come one by one, so that the memory is that of one.
        """
        self.restart_noise()
        for _ in range(self._eot_samples):
            yield self._attacked(attack_logits, self._cast(x), parameters)

    def _attacked(self, run: Callable[..., Tensor], x: Tensor, parameters: bool) -> Tensor:
        inputs, finite = _finite(x)
        with torch.autocast(inputs.device.type, enabled=False):
            refuse_own_forward(self.network, inputs)
            if is_native(self.network):
                refuse_wrong_whole(self.network, inputs)
                self._warn_of_same_draws(stacklevel=5)
            logits = run(self.network, self._rule, inputs, parameters=parameters, time_chunk=self._time_chunk)
        refuse_strays(logits, inputs)
        return _marked(logits, finite)

    def _predicted(self, x: Tensor) -> Tensor:
        inputs, finite = _finite(x)
        with torch.autocast(inputs.device.type, enabled=False):
            if torch.is_grad_enabled() or is_native(self.network):
                logits = self.network(inputs)
            else:
                refuse_own_forward(self.network, inputs)
                logits = simulate(self.network, self.network.encode(inputs))
        return _marked(logits, finite)

    def _is_attacked(self, x: Tensor) -> bool:
        return not self.training and torch.is_grad_enabled() and x.requires_grad

    @contextmanager
    def common_random_numbers(self) -> Iterator[None]:
        """Let every run inside the block draw the same noise, so that two runs differ by their inputs alone.

        The noise of a run starts where the encoders' generators stand now. They stand there again afterwards. A
        generator is found in the attribute ``generator`` of the encoder, or of another module of the network.

        Warns:
            RandomnessWarning: There is none, and the encoder may be random.
        """
        outer = list(self._restarts)
        self.restart_noise()
        restarts = noise_states(self.network)
        if not restarts and is_random(self.network):
            network = self.network
            encoder = network if is_native(network) else getattr(network, "encoder", network)
            warnings.warn(
                f"{type(encoder).__name__} holds no generator: noise that it draws from torch's global one is not "
                "common to the runs in this block. Let it draw from a torch.Generator in its attribute generator, as "
                "PoissonEncoder does; if it is not random, set its attribute random to False",
                RandomnessWarning,
                stacklevel=3,
            )
        self._restarts[:] = restarts  # in place: views share it
        try:
            yield
        finally:
            self.restart_noise()
            self._restarts[:] = outer

    def restart_noise(self) -> None:
        """Let the next run draw the noise that is common to a block of `common_random_numbers`; nothing outside one."""
        for generator, state in self._restarts:
            generator.set_state(state)

    def _cast(self, x: Tensor) -> Tensor:
        """ART's attacks hand on float64, also where they build another classifier around this module."""
        weights = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        return with_own_memory(x if weights is None else x.to(weights.dtype))

    def extra_repr(self) -> str:
        """Return what the module's repr shows."""
        eot = f", eot_samples={self._eot_samples}" if self._eot_samples > 1 else ""
        path = f", gradient_path={self.gradient_path!r}" if self.gradient_path else ""
        return f"rule={self._rule!r}{eot}{path}"


def _finite(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs (N, ...) with zeros in the place of NaN and inf, and which samples (N,) had none."""
    entries = torch.isfinite(x.detach())
    return torch.where(entries, x, torch.zeros_like(x)), entries.flatten(1).all(1)


def _marked(logits: Tensor, finite: Tensor) -> Tensor:
    """Return the logits (N, K), NaN for samples that are not finite."""
    return torch.where(finite.unsqueeze(1), logits, torch.full_like(logits, torch.nan))


def rule_logits(
    network: SequenceModel,
    rule: GradientRule,
    x: Tensor,
    *,
    parameters: bool = True,
    time_chunk: int | None = None,
) -> Tensor:
    """Return the network's logits, joined to ``x`` by a graph that holds the rule's gradient.

    The graph of a rate rule is that of one step, rules through time are unrolled, conversion rules run one step of an
    ANN. Nothing is left on the network afterwards.

    Args:
        network: The network, in evaluation mode.
        rule: A rule of one of the three families.
        x: Inputs (N, ...) that require grad.
        parameters: Whether the graph is of the parameters, too. Without them, a rate rule takes T steps forwards and
            one backwards; with them, one more forwards.
        time_chunk: Number of steps that rules through time keep a graph of; None for all.

    Returns:
        Logits (N, K).

    Raises:
        UnsupportedModelError: Inputs, and so weights, have less than 32 bits.
    """
    x_seq = network.encode(_precise(x))
    if isinstance(rule, RateRule):
        return rate_logits(network, rule, x_seq, parameters=parameters)
    if isinstance(rule, TemporalRule):
        return unroll_temporal(network, x_seq, rule, parameters=parameters, time_chunk=time_chunk)
    if isinstance(rule, ConversionRule):
        value = simulate(network, x_seq.detach())  # first: hooks on layers read the last run, which has the graph
        return WithValue.apply(converted_logits(network, rule, x_seq, parameters=parameters), value)
    raise TypeError(f"{rule!r} is no RateRule, TemporalRule or ConversionRule")


def _precise(x: Tensor) -> Tensor:
    """Return the inputs; raise UnsupportedModelError below float32, where rounding hides what the engine checks."""
    if x.dtype in (torch.float16, torch.bfloat16):
        name = str(x.dtype).removeprefix("torch.")
        raise UnsupportedModelError([f"its weights are {name}; gradient rules need float32: call model.float()"])
    return x


def attack_logits(network: SequenceModel, rule: GradientRule, x: Tensor, **options: Any) -> Tensor:
    """Return `rule_logits`, or for a conversion rule the ANN's logits, on which the papers take the loss, too."""
    if isinstance(rule, ConversionRule):
        x_seq = network.encode(_precise(x))
        return converted_logits(network, rule, x_seq, parameters=options.get("parameters", True))
    return rule_logits(network, rule, x, **options)
