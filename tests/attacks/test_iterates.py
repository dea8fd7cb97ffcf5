"""Which iterates there are, and which are kept."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod

from art_snn.attacks import SAPGD
from art_snn.errors import GradientWarning
from art_snn.rules import ASSG, CBA, HARTASSG, get_rule
from tests import reference as slow
from tests.attacks import reference
from tests.attacks.searches import (
    LOSSES,
    RULES,
    Forgetful,
    Narrowing,
    correct,
    watched_iterates,
)
from tests.classifier.classifiers import small_classifier
from tests.conftest import make_network

GIVEN = {"assg": "given", "hart-assg": "given-rate"}  # with the slopes of the attack's memory


@pytest.mark.parametrize("rule", ["hart", "stbp", "assg", "hart-assg"])
@pytest.mark.parametrize("loss", LOSSES)
def test_iterates_are_those_of_the_formulas(attack, rule, loss):
    network, x = make_network("plain")
    exact, x = copy.deepcopy(network).double(), x.numpy()
    settings = {"hart": {"gamma": 0.5}, "stbp": {"gamma": 0.8, "detach_reset": False}}.get(rule, {})
    classifier = small_classifier(network, clip_values=(0, 1), gradient_rule=type(get_rule(rule))(**settings))
    remembered: dict = {}
    y = correct(classifier, x)
    steps, eps = 14, 0.05

    def gradient(point: np.ndarray, label: int) -> tuple[np.ndarray, float]:
        x_seq = exact.encode(torch.from_numpy(point)[None])
        logits, traces = slow.forward(exact, x_seq)
        z = logits[0].numpy()
        if loss == "margin":
            rival = max((k for k in range(5) if k != label), key=lambda k: z[k])
            value, outer = z[rival] - z[label], np.eye(5)[rival] - np.eye(5)[label]
        else:
            odds = np.exp(z - z.max())
            value, outer = -np.log(odds[label] / odds.sum()), odds / odds.sum() - np.eye(5)[label]
        name, hyper = rule, settings
        if "assg" in rule:
            name, hyper = GIVEN[rule], {"slopes": slow.remembered_slopes(traces, remembered)}
        grad = slow.input_gradient(exact, x_seq, torch.from_numpy(outer)[None], name, **hyper)
        return grad.sum(0)[0].numpy(), value

    with watched_iterates() as seen:
        found = attack(classifier, eps=eps, steps=steps, loss=loss, seed=5, batch_size=4).search(x, y)
    assert not found.broken.all()  # else nothing below goes the whole way
    walk = reference.sa_pgd if attack is SAPGD else reference.apgd
    moved = 0
    for i in range(4):
        noise = np.random.default_rng([5, i]).uniform(-1, 1, x.shape[1:])
        start = np.clip(x[i] + eps * noise / np.abs(noise).max(), 0, 1)
        remembered.clear()
        expected = walk(partial(gradient, label=y[i]), x[i].astype(np.float64), start, eps=eps, steps=steps)
        for k in range(len(seen)):
            atol = 2e-5 if "assg" in rule else 2e-6  # sharp slopes multiply rounding
            np.testing.assert_allclose(seen[k][i], expected[k], atol=atol, rtol=0)
        moved += np.abs(expected[-1] - start).max() > eps
        if not found.broken[i]:
            assert len(seen) == steps
    assert moved


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", [*RULES, CBA()], ids=lambda rule: rule.name)
def test_what_is_found_is_what_the_network_says(classifier, digits, attack, rule, loss):
    x, y = digits.x_test[:40], digits.y_test[:40]
    view = classifier.with_rule(rule)
    found = attack(view, eps=0.1, steps=12, loss=loss, batch_size=16).search(x, y)
    logits = classifier.predict(found.x_adv)
    np.testing.assert_array_equal(logits.argmax(1) != y, found.broken)
    rivals = np.where(np.eye(10, dtype=bool)[y], -np.inf, logits).max(1)
    np.testing.assert_allclose(logits[np.arange(40), y] - rivals, found.margin, atol=1e-5)
    assert (np.abs(found.x_adv.astype(np.float64) - x.astype(np.float64)) <= 0.1 * (1 + 1e-6)).all()
    assert found.x_adv.min() >= 0
    assert found.x_adv.max() <= 1
    assert found.x_adv.dtype == np.float32
    assert found.margin.dtype == np.float32
    assert found.step.dtype == np.int64
    np.testing.assert_array_equal(found.step >= 0, found.broken)
    assert found.step.max() <= 12
    assert 0 < found.broken.sum() < 40
    cost = {"hart": 1 + 1 / 4, "stbp": 2, "cba": 1 + 2 / 4}[rule.name]
    moved = np.where(found.broken, np.minimum(found.step + 1, 12), 12)
    expected = 1 + cost * moved + 1  # the input, the gradients, the iterate that broke or the last one
    clean = classifier.predict(x).argmax(1) != y
    np.testing.assert_allclose(found.forwards[~clean], expected[~clean])
    np.testing.assert_array_equal(found.x_adv[clean], x[clean])


def test_any_misclassified_iterate_is_a_success_and_the_best_is_kept(classifier, digits, attack):
    x, y = digits.x_test[:32], digits.y_test[:32]
    with watched_iterates() as seen:
        found = attack(classifier, eps=0.08, steps=10, batch_size=32).search(x, y)
    walked = np.flatnonzero(found.step != 0)
    assert 0 < found.broken[walked].sum() < len(walked)
    margins = np.full((len(seen), 32), np.inf)
    for k, iterates in enumerate(seen):
        logits = classifier.predict(iterates)
        rivals = np.where(np.eye(10, dtype=bool)[y], -np.inf, logits).max(1)
        margins[k] = logits[np.arange(32), y] - rivals
    clean = classifier.predict(x)
    start = clean[np.arange(32), y] - np.where(np.eye(10, dtype=bool)[y], -np.inf, clean).max(1)
    for i in walked:
        wrong = np.flatnonzero(margins[:, i] < 0)
        if len(wrong):
            assert found.step[i] == wrong[0]
            np.testing.assert_array_equal(found.x_adv[i], seen[wrong[0]][i])
        elif found.step[i] == -1:
            assert found.margin[i] <= min(margins[:, i].min(), start[i]) + 1e-5


def test_warm_starts_go_on_where_another_search_ended(classifier, digits, attack):
    x, y = digits.x_test[:24], digits.y_test[:24]
    first = attack(classifier, eps=0.1, steps=6, batch_size=8).search(x, y)
    again = attack(classifier, eps=0.1, steps=1, batch_size=8).search(x, y, start=first.x_adv)
    assert (again.step[first.broken] == 0).all()
    assert again.broken[first.broken].all()
    np.testing.assert_array_equal(again.x_adv[first.broken], first.x_adv[first.broken])
    with watched_iterates() as seen:
        attack(classifier, eps=0.1, steps=2, first_step=0.05, batch_size=24).search(x, y, start=first.x_adv)
    walks = ~first.broken
    np.testing.assert_array_equal(seen[0][walks], first.x_adv[walks])
    size = np.abs(seen[1] - seen[0])[walks].max()
    np.testing.assert_allclose(size, 0.05, rtol=1e-5)
    outside = attack(classifier, eps=0.1, steps=1, batch_size=24).search(x, y, start=np.full_like(x, 9))
    assert (np.abs(outside.x_adv - x) <= 0.1 * (1 + 1e-6)).all()


def test_seeds_make_the_noise(classifier, digits, attack):
    x, y = digits.x_test[:6], digits.y_test[:6]
    starts = {}
    for name, seed, seeds in (("0", 0, None), ("1", 1, None), ("same", 0, np.arange(6)), ("other", 0, [9] * 6)):
        with watched_iterates() as seen:
            attack(classifier, eps=0.1, steps=1, seed=seed, batch_size=6).search(x, y, seeds=seeds)
        starts[name] = seen[0]
    np.testing.assert_array_equal(starts["0"], starts["same"])
    assert (starts["0"] != starts["1"]).any((1, 2, 3)).all()
    assert (starts["0"] != starts["other"]).any((1, 2, 3)).all()
    assert len({str(start - image) for start, image in zip(starts["0"], x, strict=True)}) == 6


@pytest.mark.parametrize("rule", [*RULES, ASSG(), HARTASSG(), Narrowing()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_sample_alone_has_the_bits_that_it_has_in_company(classifier, digits, attack, rule, loss):
    x, y = digits.x_test[:21], digits.y_test[:21]
    eps = 0.2 if rule == Narrowing() else 0.1  # whose gains say little
    make = attack(classifier.with_rule(rule), eps=eps, steps=9, loss=loss, batch_size=8)
    together = make.search(x, y)
    assert 0 < together.broken.sum() < 21
    order = np.random.default_rng(0).permutation(21)
    shuffled = make.search(x[order], y[order], seeds=order)
    for name, whole, part in zip(together._fields, together, shuffled, strict=True):
        np.testing.assert_array_equal(part, whole[order], err_msg=name)
    for i in (0, 13, 20):
        alone = make.search(x[i : i + 1], y[i : i + 1], seeds=[i])
        for name, whole, part in zip(together._fields, together, alone, strict=True):
            np.testing.assert_array_equal(part[0], whole[i], err_msg=name)


def test_a_rule_that_remembers_does_so_for_one_sample_in_one_run(classifier, digits, attack):
    x, y = digits.x_test[:13], digits.y_test[:13]
    search = attack(classifier.with_rule(Narrowing()), eps=0.1, steps=8, batch_size=4)
    found = search.search(x, y)
    for values, again in zip(found, search.search(x, y), strict=True):
        np.testing.assert_array_equal(values, again)
    forgetful = attack(classifier.with_rule(Forgetful()), eps=0.1, steps=8, batch_size=4)
    assert (forgetful.search(x, y).x_adv != found.x_adv).any()


def test_chunks_of_steps_leave_no_memory_to_a_rule_through_time(classifier, digits, attack):
    x, y = digits.x_test[:8], digits.y_test[:8]
    chunked = classifier.with_rule(ASSG())
    chunked.time_chunk = 2
    try:
        with pytest.warns(GradientWarning, match="goes without its memory, since time_chunk=2"):
            found = attack(chunked, eps=0.1, steps=6, batch_size=8).search(x, y)
        forgetful = classifier.with_rule(ASSG(momentum=None))
        expected = attack(forgetful, eps=0.1, steps=6, batch_size=8).search(x, y)
        assert np.isclose(found.x_adv, expected.x_adv, atol=1e-3).mean() > 0.9  # signs of tiny entries may differ
        by_rate = classifier.with_rule(HARTASSG())
        by_rate.time_chunk = 2
        attack(by_rate, eps=0.1, steps=2, batch_size=8).search(x, y)  # one step's graph is not run in chunks
    finally:
        assert classifier.time_chunk is None


def test_progress_counts_every_sample_once(classifier, digits, attack):
    told: list[int] = []
    x, y = digits.x_test[:21], digits.y_test[:21]
    attack(classifier, eps=0.1, steps=4, batch_size=8).search(x, y, progress=told.append)
    assert sum(told) == 21
    assert max(told) < 21


def test_stronger_than_one_step(classifier, digits, attack):
    x, y = digits.x_test[:60], digits.y_test[:60]
    one = FastGradientMethod(classifier, eps=0.1).generate(x, y)
    many = attack(classifier, eps=0.1, steps=20).generate(x, y)
    left = [(classifier.predict(examples).argmax(1) == y).mean() for examples in (one, many)]
    assert left[1] < left[0]
