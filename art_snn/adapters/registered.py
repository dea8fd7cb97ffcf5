"""Neurons of research code: a class that is known from one dictionary, and compared with its own forward."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, get_args

import torch
from torch import Tensor, nn

from art_snn.adapters.classes import number, refuse_changed, refuse_low_threshold
from art_snn.checks import check_choice
from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams, NeuronState, Reset, fired, integrate_from
from art_snn.snn.layouts import Axes, BatchFirst, Layout, LongSequences, Merged, Squeezed, Steps
from art_snn.snn.readers import Reader, Reading, register_reader, unregister_reader

Params: TypeAlias = Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | NeuronParams]

_STEPS, _SAMPLES, _FEATURES = 8, 6, 40
_REGISTERED: dict[type, Reader] = {}


def register_neuron(
    cls: type[nn.Module],
    params: Params,
    *,
    layout: Axes | Layout = "T N",
    time_steps: str | int | None = None,
    example: nn.Module | None = None,
) -> None:
    """Make a class of neurons known that is no library's, so that `art_snn.adapt` takes networks with it.

    What is said of it is compared with the class's own forward at once, spike for spike, on random currents. A neuron
    takes currents alone, and gives spikes of 0 and 1; one for single steps keeps its potential in an attribute.

    Args:
        cls: The class. Classes derived from it are known, too, unless they have a forward of their own.
        params: Fields of `art_snn.snn.dynamics.NeuronParams` to their values. A text names an attribute of the module,
            as in ``{"decay": "tau", "threshold": "thresh"}``; it is looked up anew for each gradient. Or a function
            from a module to such a dictionary.
        layout: Axes of the input: "T N" for sequences (T, N, ...), "N" for single steps, "N T" for sequences
            (N, T, ...), "T*N" and "N*T" for merged ones; or a `Layout`.
        time_steps: T for merged sequences: a number, or the name of the attribute that has it.
        example: A module of the class to compare with; ``cls()`` by default.

    Raises:
        TypeError: ``cls`` is no class of modules, or ``cls()`` cannot be made and no example is given.
        ValueError: A field or attribute is unknown, a threshold not above 0, the neuron takes its state as an argument,
            does not run in this layout, gives something else than spikes, or spikes differ; with the share that does,
            and what would differ less.

    Example:
        >>> class Spike(nn.Module):
        ...     thresh = 1.0
        ...     def forward(self, x_seq):
        ...         v, spikes = 0.0, []
        ...         for x in x_seq:
        ...             v = 0.5 * v + x
        ...             spikes.append((v >= self.thresh).float())
        ...             v = v * (1 - spikes[-1])
        ...         return torch.stack(spikes)
        >>> register_neuron(Spike, {"decay": 0.5, "threshold": "thresh"})
        >>> unregister_neuron(Spike)
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise TypeError(f"a neuron's class must derive from torch.nn.Module, got {cls!r}")
    if states := _beside(cls, (inspect.Parameter.empty,)):
        raise ValueError(f"{cls.__name__}.forward takes {states} beside its currents; {_KEEP_STATE}")
    made = layout if isinstance(layout, Layout) else _layout(layout, time_steps)

    def read(module: nn.Module) -> Reading | None:
        if _nearest(module) is not cls:
            return None
        refuse_changed(module, cls, cls.__module__, ("forward",))
        return Reading(_params(module, params), made, library=cls.__module__)

    module = _example(cls, example, time_steps)
    steps = _STEPS if time_steps is None else _steps(module, time_steps)
    _compare(module, _params(module, params), made, steps)
    unregister_neuron(cls)
    _REGISTERED[cls] = register_reader(read)


_KEEP_STATE = (
    "a neuron that is registered takes currents alone, as forward(x), and keeps its potential in an attribute, such as "
    "self.mem, which your network sets back at the start of its forward"
)


def _beside(cls: type[nn.Module], defaults: tuple[object, ...]) -> str:
    """Return the names of what a class's forward takes after its currents with one of these defaults; "" for none."""
    rest = list(inspect.signature(cls.forward).parameters.values())[2:]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return ", ".join(each.name for each in rest if each.kind in kinds and each.default in defaults)


def unregister_neuron(cls: type[nn.Module]) -> None:
    """Forget a class that `register_neuron` made known; another one is ignored."""
    if reader := _REGISTERED.pop(cls, None):
        unregister_reader(reader)


def _nearest(module: nn.Module) -> type | None:
    """Return the registered class that a module is of, the most derived one of several."""
    return next((base for base in type(module).__mro__ if base in _REGISTERED), None)


def _layout(axes: Axes, time_steps: str | int | None) -> Layout:
    check_choice("layout", axes, get_args(Axes))
    if axes in ("T*N", "N*T"):
        if time_steps is None:
            raise ValueError(f"layout {axes!r} needs time_steps: T, or the name of the neuron's attribute that has it")
        if axes == "T*N":
            return Merged(lambda module: _steps(module, time_steps))
        return Squeezed(lambda module, rows: _steps(module, time_steps))
    if time_steps is not None:
        raise ValueError(f"time_steps is for merged sequences, not for layout {axes!r}; leave it out")
    return {"T N": LongSequences(), "N": Steps(), "N T": BatchFirst()}[axes]


def _steps(module: nn.Module, time_steps: str | int) -> int:
    steps = _attribute(module, time_steps) if isinstance(time_steps, str) else time_steps
    if not int(steps) >= 1:
        raise UnsupportedModelError(
            [f"a {type(module).__name__} has {time_steps} = {steps!r}; set its number of steps"]
        )
    return int(steps)


def _params(module: nn.Module, params: Params) -> NeuronParams:
    found = params(module) if callable(params) else params
    if not isinstance(found, NeuronParams):
        found = _named(module, found)
    refuse_low_threshold(found, "threshold")
    return found


def _named(module: nn.Module, found: Mapping[str, Any]) -> NeuronParams:
    if not isinstance(found, Mapping):
        raise TypeError(f"params must be a dictionary of a neuron's parameters, or a function to one, got {found!r}")
    if unknown := set(found) - set(NeuronParams._fields):
        raise ValueError(
            f"{sorted(unknown)[0]!r} is no parameter of a neuron; it has {', '.join(NeuronParams._fields)}"
        )
    return NeuronParams(**{name: _value(module, name, value) for name, value in found.items()})


def _value(module: nn.Module, name: str, value: Any) -> Any:
    if name == "reset":
        check_choice("reset", value, get_args(Reset))
        return value
    if isinstance(value, str):
        value = _attribute(module, value)
    return number(value) if isinstance(value, Tensor) else value


def _attribute(module: nn.Module, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        raise ValueError(f"a {type(module).__name__} has no attribute {name!r}; name one that it has") from None


def _example(cls: type[nn.Module], example: nn.Module | None, time_steps: str | int | None) -> nn.Module:
    if example is None:
        try:
            example = cls()
        except TypeError as error:
            raise TypeError(
                f"{cls.__name__}() cannot be made ({error}); give example=, a neuron to compare with"
            ) from error
    elif not isinstance(example, cls):
        raise TypeError(f"example must be a {cls.__name__}, got {type(example).__name__}")
    module = copy.deepcopy(example).eval()
    if isinstance(time_steps, str) and not int(_attribute(module, time_steps)) >= 1:
        setattr(module, time_steps, _STEPS)  # research code is made first, and told T afterwards
    return module


def _compare(module: nn.Module, params: NeuronParams, layout: Layout, steps: int) -> None:
    """Raise ValueError unless a module's own spikes are those of the parameters."""
    generator = torch.Generator().manual_seed(0)
    shape = (steps, _SAMPLES, *_features(params))
    random = torch.randn(shape, generator=generator) + 0.3
    on_grid = torch.randint(-2, 5, shape, generator=generator) / 4  # at the threshold, too
    for currents in (random * params.threshold, on_grid * params.threshold):
        own = _own(module, currents, layout)
        _refuse_no_spikes(module, own, params)
        share = _differing(own, module, currents, params, layout)
        if share:
            others = {
                f"strict={not params.strict}": params._replace(strict=not params.strict),
                **{f"reset={reset!r}": params._replace(reset=reset) for reset in get_args(Reset)},
                "c=1 - decay": params._replace(c=1 - params.decay),
            }
            shares = {name: _differing(own, module, currents, other, layout) for name, other in others.items()}
            nearest = min(shares, key=lambda name: shares[name])
            hint = f"; with {nearest}, {shares[nearest]:.1%} would" if shares[nearest] < share else ""
            if layout.axes == "N" and (states := _beside(type(module), (None,))):
                hint = f"; its forward takes {states} beside its currents, but {_KEEP_STATE}"
            raise ValueError(
                f"{type(module).__name__} fires otherwise than its parameters say in {share:.1%} of all steps{hint}. "
                f"What was compared: {params}"
            )


def _own(module: nn.Module, currents: Tensor, layout: Layout) -> Tensor:
    try:
        return _run(copy.deepcopy(module), currents, layout)
    except Exception as error:  # whatever a user's code raises
        raise ValueError(
            f"{type(module).__name__} cannot be run on currents (T, N, *F) = {tuple(currents.shape)} in layout "
            f"{layout.axes!r} ({type(error).__name__}: {error}); give the layout that it has, or example=, a neuron "
            "with its number of steps set, and which has not run yet"
        ) from error


def _refuse_no_spikes(module: nn.Module, own: Tensor, params: NeuronParams) -> None:
    """Raise ValueError unless a module's outputs are spikes: 0 and 1, or whole numbers where a step gives several."""
    spikes = own.floor().clamp(min=0) if params.several else (own != 0).to(own.dtype)
    if torch.equal(own, spikes):
        return
    values = own.unique().tolist()
    seen = ", ".join(f"{value:.4g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
    raise ValueError(
        f"{type(module).__name__} is no neuron that gives spikes: its outputs are not 0 and 1, but {seen}; return the "
        "spikes themselves, and scale them in a layer behind it"
    )


def _features(params: NeuronParams) -> tuple[int, ...]:
    """Return the shape *F of features that parameters go with: that of tensors such as (C, 1, 1), without N."""
    shapes = [value.shape for value in params if isinstance(value, Tensor)]
    sizes = list(torch.broadcast_shapes(*shapes)) if shapes else []
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(_FEATURES if size == 1 else size for size in sizes) or (_FEATURES,)


def _differing(own: Tensor, module: nn.Module, currents: Tensor, params: NeuronParams, layout: Layout) -> float:
    stand_in = copy.deepcopy(module)
    stand_in.forward = layout.forward(stand_in, _Stepped(params))
    said = _run(stand_in, currents, layout)
    if own.shape != said.shape:
        raise ValueError(
            f"{type(module).__name__} returns shape {tuple(own.shape)} where layout {layout.axes!r} has "
            f"{tuple(said.shape)}"
        )
    return float((own != said).float().mean())


def _run(module: nn.Module, currents: Tensor, layout: Layout) -> Tensor:
    """Return a module's spikes for currents (T, N, *F), arranged as its layout says."""
    with torch.no_grad():
        if layout.axes == "N":
            return torch.stack([_spikes(module(current)) for current in currents])
        seq = currents if layout.axes.startswith("T") else currents.transpose(0, 1)
        return _spikes(module(seq.flatten(0, 1) if "*" in layout.axes else seq))


def _spikes(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


class _Stepped:
    """A tap that steps neurons, for a layout to call."""

    def __init__(self, params: NeuronParams) -> None:
        self._params = params
        self.state = NeuronState(params.v0, None)

    def __call__(self, current_seq: Tensor) -> Tensor:
        spikes_seq, self.state = integrate_from(
            self.state, current_seq, self._params, lambda distance: fired(distance, self._params)
        )
        return spikes_seq

    def begin(self, state: NeuronState | None) -> None:
        self.state = NeuronState(self._params.v0, None) if state is None else state
