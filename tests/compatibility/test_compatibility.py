"""Every class of ART that takes a classifier, on a spiking one: it runs, has its effect, and uses the rule."""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from art_snn import GradientRuleModule, UnsupportedInputError
from art_snn.engine import module as engine
from tests.compatibility.rows import ROWS
from tests.compatibility.table import ART_REFUSES, MISREADS, PATHS, REFUSED, WORKS, Case, Item, status
from tests.spy import RULE, Spy, input_gradients, surrogate_logits, unrolled_logits

Make = Callable[[str, str], Case]
INPUTS = ("images", "events")


def any_row(item: Item) -> bool:
    return True


def rows(
    *statuses: str, inputs: tuple[str, ...] = INPUTS, chosen: Callable[[Item], bool] = any_row, first: bool = False
) -> list[object]:
    """Return rows as parameters; with ``first``, only the first row of each set of paths is in the default run."""
    parameters = []
    seen: set[frozenset[str]] = set()
    for kind in inputs:
        for item in ROWS:
            if status(item, kind) in statuses and chosen(item):
                slow = item.slow or (first and item.gradient in seen)
                seen.add(item.gradient)
                parameters.append(
                    pytest.param(item, kind, marks=[pytest.mark.slow] if slow else [], id=f"{kind}-{item}")
                )
    return parameters


def first_order(item: Item) -> bool:
    return bool(item.gradient) and not item.second_order


def second_order(item: Item) -> bool:
    return item.second_order


@contextmanager
def seeded() -> Iterator[None]:
    """Run a block of ART's with fixed seeds; its own warnings are its own."""
    states = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            torch.manual_seed(0)
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def skip_without_packages(item: Item) -> None:
    if item.missing():
        pytest.skip(f"{item.name} needs {item.missing()}, which does not import here")


@contextmanager
def measured_paths(monkeypatch: pytest.MonkeyPatch, case: Case) -> Iterator[set[str]]:
    """Collect by which methods of the classifier, or straight through its model, gradients were taken."""
    found: set[str] = set()
    depth = [0]

    def watch(name: str, wants_graph: bool) -> None:
        method = getattr(case.classifier, name)

        def watched(*args: object, **kwargs: object) -> object:
            depth[0] += 1
            try:
                result = method(*args, **kwargs)
            finally:
                depth[0] -= 1
            if depth[0] == 0:
                output = result[0] if isinstance(result, tuple) else result
                if not wants_graph or (isinstance(output, torch.Tensor) and output.requires_grad):
                    found.add(name)
            return result

        # No function, since STRIP makes a class attribute of a method.
        monkeypatch.setattr(case.classifier, name, partial(watched))

    for name in PATHS[:-1]:
        watch(name, name in ("get_activations", "_predict_framework"))
    for name in ("predict", "fit", "compute_loss"):  # they are no gradients, whatever they run inside
        watch(name, True)
    forward = GradientRuleModule.forward

    def through_model(self: GradientRuleModule, x: torch.Tensor) -> torch.Tensor:
        if depth[0] == 0 and torch.is_grad_enabled() and x.requires_grad:
            found.add("model")
        return forward(self, x)

    monkeypatch.setattr(GradientRuleModule, "forward", through_model)
    yield found


@pytest.mark.parametrize(("item", "inputs"), rows(WORKS))
def test_row_works_by_the_path_that_it_names(item, inputs, make: Make, monkeypatch):
    skip_without_packages(item)
    case = make("spiking", inputs)
    with seeded(), monkeypatch.context() as patch, measured_paths(patch, case) as found:
        item.run(case)
    assert found == item.gradient
    module = case.classifier.model
    assert not module.training
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in module.modules())


@pytest.mark.parametrize(("item", "inputs"), rows(WORKS, chosen=first_order))
def test_gradients_of_the_row_are_the_rules(item, inputs, make: Make, spy: Spy):
    skip_without_packages(item)
    case = make("spiking", inputs)
    case.classifier.gradient_rule = RULE
    with seeded(), suppress(AssertionError):  # its effect is another test's
        item.run(case)
    assert spy.calls > 0
    assert spy.wrong == 0
    assert spy.bypassed == 0


@pytest.mark.parametrize(("item", "inputs"), rows(WORKS, inputs=("images",), chosen=first_order, first=True))
def test_spy_notices_if_the_row_gets_another_gradient(item, inputs, make: Make, spy: Spy):
    skip_without_packages(item)
    spy.inner = lambda network, rule, x, **_: network(x)
    case = make("spiking", inputs)
    with seeded(), suppress(AssertionError):
        item.run(case)
    assert spy.wrong > 0


@pytest.mark.parametrize(("item", "inputs"), rows(WORKS, chosen=second_order))
def test_gradients_through_those_of_parameters_are_the_rules(item, inputs, make: Make):
    """The attack's first gradient of its inputs is the same with the unrolled rule, and another without a rule."""
    skip_without_packages(item)
    runs = {"replayed": engine.rule_logits, "unrolled": unrolled_logits, "surrogate": surrogate_logits}
    found = {}
    for name, run in runs.items():
        case = make("spiking", inputs)
        case.classifier.gradient_rule = RULE
        with seeded(), input_gradients(run) as gradients, suppress(AssertionError):
            item.run(case)
        found[name] = gradients[0]
    size = found["unrolled"].abs().max()
    assert size > 0
    assert (found["replayed"] - found["unrolled"]).abs().max() <= 1e-3 * size
    assert (found["surrogate"] - found["unrolled"]).abs().max() > 1e-2 * size


@pytest.mark.parametrize(("item", "inputs"), rows(REFUSED, inputs=("events",)))
def test_row_is_refused_with_its_name_and_the_reason(item, inputs, make: Make, monkeypatch):
    skip_without_packages(item)
    case = make("spiking", inputs)
    named = "|".join(item.covers)
    with seeded(), pytest.raises(UnsupportedInputError, match=rf"({named}).* cannot take event frames"):
        item.run(case)
    if item.misreads is not None:
        return
    monkeypatch.setattr("art_snn.classifier.event_frames.takes_frames", lambda network: False)
    with seeded(), pytest.raises(Exception) as caught:  # noqa: PT011  (whatever ART runs into)
        item.run(make("spiking", inputs))
    assert not isinstance(caught.value, UnsupportedInputError)


@pytest.mark.slow
@pytest.mark.parametrize(("item", "inputs"), rows(REFUSED, inputs=("events",)))
def test_plain_classifier_fails_or_misreads_what_is_refused(item, inputs, make: Make):
    """An ART that takes event frames is noticed here: the row need not be refused then."""
    skip_without_packages(item)
    plain = make("plain", inputs)
    with seeded():
        if item.misreads is not None:
            item.misreads(plain)
            return
        with pytest.raises(Exception) as caught:  # noqa: PT011  (whatever ART runs into)
            item.run(plain)
    assert not isinstance(caught.value, AssertionError)
    assert any("art" in Path(entry.path).parts for entry in caught.traceback)


@pytest.mark.parametrize(("item", "inputs"), rows(MISREADS, inputs=("events",)))
@pytest.mark.parametrize("kind", ["spiking", "plain"])
def test_row_misreads_event_frames(item, inputs, kind, make: Make):
    with seeded():
        item.misreads(make(kind, inputs))


@pytest.mark.parametrize(("item", "inputs"), rows("fails", ART_REFUSES))
@pytest.mark.parametrize("kind", ["spiking", "plain"])
def test_row_fails_for_arts_own_reason(item, inputs, kind, make: Make):
    """An ART that works again is noticed here: the row is then to be changed."""
    skip_without_packages(item)
    message = item.art_fails if inputs == "images" else item.events_fail
    with seeded(), pytest.raises(Exception, match=re.escape(message)) as caught:
        item.run(make(kind, inputs))
    assert any("art" in Path(entry.path).parts for entry in caught.traceback)


def test_page_of_the_documentation_is_the_tables():
    from tests.compatibility import page

    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "run: python -m tests.compatibility.page"
