"""The three families of gradient rules, and what they see of a layer.

Shapes: ``N`` samples, ``T`` time-steps, ``*F`` the features of one layer. Sequences are time-first, ``(T, N, *F)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from art_snn.rules.memory import Memory
from art_snn.snn.dynamics import NeuronParams

Slope = Callable[[Tensor], Tensor]


class LayerRecord(NamedTuple):
    """What the record pass keeps of one spiking layer: means over time, never T steps.

    Attributes:
        params: The neuron's parameters.
        rate: Mean firing rate ``mean_t s(t)``, shape (N, *F), in [0, 1].
        mean_current: Mean input current ``mean_t x(t)``, shape (N, *F), as the layer before gives it.
        mean_drive: Mean drive ``mean_t(c * i(t) + d)``, what a step adds to the potential, shape (N, *F). Rules read
            it: unlike the current it does not depend on whether a weight is the neuron's or the layer's before.
        mean_slope: ``mean_t rule.slope(u(t))`` for ``u(t) = (m(t) - threshold) / threshold``, shape (N, *F); None for
            a rule without a slope.
    """

    params: NeuronParams
    rate: Tensor
    mean_current: Tensor
    mean_drive: Tensor
    mean_slope: Tensor | None


class GradientRule(ABC):  # noqa: B024  (its families have the abstract methods)
    """How a spiking network is differentiated. Base of the three families below; rules derive from one of those.

    Attributes:
        name: What a user writes, in lower case.
        title: What tables and figures call the rule; the name of the class, unless it says otherwise.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""

    @property
    def remembers(self) -> bool:
        """Whether attacks that keep a `Memory` give it to the rule with `remembering`."""
        return False

    def remembering(self, memory: Memory) -> GradientRule:
        """Return the same rule, which reads and writes a memory of an attack's earlier gradients."""
        raise TypeError(f"{type(self).__name__} does not remember anything; it has no use for a memory")

    def stepwise(self, layer: str, call: int) -> Slope | None:
        """Return a slope that knows its layer and step, or None if `slope` is all there is to the rule.

        The engine asks anew for each gradient, and calls the function once in each time-step, the first one first, with
        the distance ``u = (m(t) - threshold) / threshold`` (N, *F). It may count steps, keep statistics of earlier
        ones, and use the rule's memory. Neurons that give several spikes a step are differentiated with `slope`.

        Args:
            layer: Name of the spiking layer in the network.
            call: Number of the layer's call, >= 0, where a forward pass runs its sequence several times.
        """
        return None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "title" not in vars(cls):
            cls.title = cls.__name__


@dataclass(frozen=True, kw_only=True)
class Remembering(GradientRule):
    """A rule to which attacks give a memory; derive from it and from one of the families, in this order.

    Attributes:
        memory: What an attack gave; None outside of one.
    """

    memory: Memory | None = field(default=None, repr=False, compare=False)

    @property
    def remembers(self) -> bool:
        """Whether attacks give it a memory."""
        return True

    def remembering(self, memory: Memory) -> Remembering:
        """Return the rule with an attack's memory."""
        return replace(self, memory=memory)


class RateRule(GradientRule):
    """A rule that gives every spiking layer one gain, constant over time.

    The gradient with respect to the input current is ``dL/dx(t) = c / threshold * mean_t'[k(t') dL/ds(t')]`` for every
    ``t``, where ``k(t)`` is the rule's `slope`, or its `gain` if it has none. Where only affine layers join neurons,
    this is ``c / threshold * gain * dL/ds``, and one step of back-propagation serves all T. A rule counts in thresholds
    and leaves the factor to the engine, so that its gradient does not depend on the unit of potentials.
    """

    slope: Callable[[Tensor], Tensor] | None = None
    """Method from ``u(t) = (m(t) - threshold) / threshold`` (N, *F), which it leaves as it is, to ``k(t)``; None for a
    rule with a gain."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.slope is not None and cls.gain is not RateRule.gain:
            raise TypeError(f"{cls.__name__} defines a slope and a gain; define one of the two methods")

    def gain(self, record: LayerRecord) -> Tensor:
        """Return the gain of a layer, broadcastable to (N, *F); sample i's gain depends on sample i alone.

        It is the derivative of the rate by the mean drive in units of the threshold, ``mean_drive / threshold``.
        A rule defines either `slope`, whose mean over time is the gain then, or this method.
        """
        raise TypeError(f"{type(self).__name__} has neither a slope nor a gain; define one of the two methods")


class TemporalRule(GradientRule):
    """A rule that back-propagates through time with a surrogate slope for the spike."""

    detach_reset: bool = False

    @abstractmethod
    def slope(self, distance: Tensor) -> Tensor:
        """Return the slope ``ds/du`` at the distance ``u = (m(t) - threshold) / threshold``, same shape."""


class ConversionRule(GradientRule):
    """A rule that differentiates an ordinary network (ANN) made of the SNN's weights."""

    @abstractmethod
    def activate(self, drive: Tensor, params: NeuronParams) -> Tensor:
        """Return what the ANN puts in the place of a neuron: mean drive ``c * i + d`` to firing rate, same shape."""
