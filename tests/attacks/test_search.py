"""Attacks that keep their iterates."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod
from art.defences.preprocessor import FeatureSqueezing
from art.estimators.classification import PyTorchClassifier
from art.exceptions import EstimatorError
from torch import nn

from art_snn import LIF, DirectEncoder, SpikingNetwork
from art_snn.attacks import SAPGD, judging
from art_snn.errors import GradientWarning, InputRangeWarning
from art_snn.rules import CBA, HART, STBP
from tests import reference as slow
from tests.attacks import reference
from tests.attacks.searches import ATTACKS, Constant, Forgetful, Narrowing, watched_iterates
from tests.classifier.classifiers import Y, small_classifier
from tests.compatibility.probabilities import Softmax
from tests.conftest import make_network
from tests.test_contracts import assert_same, snapshot

RULES = (HART(gamma=0.5), STBP(gamma=0.5, detach_reset=True))
LOSSES = ("cross-entropy", "margin")


@pytest.fixture(params=ATTACKS, ids=lambda attack: attack.__name__)
def attack(request):
    return request.param


def clipped(kind="plain", **options):
    network, x = make_network(kind)
    return small_classifier(network, input_shape=tuple(x.shape[1:]), clip_values=(0, 1), **options), x.numpy()


def correct(classifier, x):
    return classifier.predict(x).argmax(1)


@pytest.mark.parametrize("rule", ["hart", "stbp"])
@pytest.mark.parametrize("loss", LOSSES)
def test_iterates_are_those_of_the_formulas(attack, rule, loss):
    network, x = make_network("plain")
    exact, x = copy.deepcopy(network).double(), x.numpy()
    rules = {"hart": HART(gamma=0.5), "stbp": STBP(gamma=0.8, detach_reset=False)}
    hyper = {"hart": {"gamma": 0.5}, "stbp": {"gamma": 0.8, "detach_reset": False}}[rule]
    classifier = small_classifier(network, clip_values=(0, 1), gradient_rule=rules[rule])
    y = correct(classifier, x)
    steps, eps = 14, 0.05

    def gradient(point: np.ndarray, label: int) -> tuple[np.ndarray, float]:
        x_seq = exact.encode(torch.from_numpy(point)[None])
        logits, _ = slow.forward(exact, x_seq)
        z = logits[0].numpy()
        if loss == "margin":
            rival = max((k for k in range(5) if k != label), key=lambda k: z[k])
            value, outer = z[rival] - z[label], np.eye(5)[rival] - np.eye(5)[label]
        else:
            odds = np.exp(z - z.max())
            value, outer = -np.log(odds[label] / odds.sum()), odds / odds.sum() - np.eye(5)[label]
        grad = slow.input_gradient(exact, x_seq, torch.from_numpy(outer)[None], rule, **hyper)
        return grad.sum(0)[0].numpy(), value

    with watched_iterates() as seen:
        found = attack(classifier, eps=eps, steps=steps, loss=loss, seed=5, batch_size=4).search(x, y)
    assert not found.broken.all()  # else nothing below goes the whole way
    walk = reference.sa_pgd if attack is SAPGD else reference.apgd
    moved = 0
    for i in range(4):
        noise = np.random.default_rng([5, i]).uniform(-1, 1, x.shape[1:])
        start = np.clip(x[i] + eps * noise / np.abs(noise).max(), 0, 1)
        expected = walk(partial(gradient, label=y[i]), x[i].astype(np.float64), start, eps=eps, steps=steps)
        for k in range(len(seen)):
            np.testing.assert_allclose(seen[k][i], expected[k], atol=2e-6, rtol=0)
        moved += np.abs(expected[-1] - start).max() > eps
        if not found.broken[i]:
            assert len(seen) == steps
    assert moved


@pytest.mark.parametrize("rule", [*RULES, Narrowing()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_sample_alone_has_the_bits_that_it_has_in_company(classifier, digits, attack, rule, loss):
    x, y = digits.x_test[:21], digits.y_test[:21]
    make = attack(classifier.with_rule(rule), eps=0.1, steps=9, loss=loss, batch_size=8)
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


def test_no_samples_and_misclassified_ones_cost_no_gradient(attack):
    classifier, x = clipped()
    search = attack(classifier, eps=0.1, steps=3, batch_size=4)
    none = search.search(x[:0], np.zeros(0, dtype=int))
    assert [len(values) for values in none] == [0] * 5
    assert none.x_adv.shape == (0, 2, 8, 8)
    wrong = (correct(classifier, x) + 1) % 5
    with watched_iterates() as seen:
        found = search.search(x, wrong)
        np.testing.assert_array_equal(search.generate(x, wrong), x)
    assert seen == []
    np.testing.assert_array_equal(found.x_adv, x)
    assert found.broken.all()
    assert (found.step == 0).all()
    assert (found.margin <= 0).all()
    assert (found.forwards == 1).all()


@pytest.mark.parametrize("value", [0.0, float("nan")], ids=["zero", "nan"])
def test_without_a_gradient_nothing_becomes_nan(attack, value):
    classifier, x = clipped()
    y = correct(classifier, x)
    view = classifier.with_rule(Constant(value=value))
    with pytest.warns(GradientWarning, match="all zero" if value == 0 else "NaN or inf"):
        found = attack(view, eps=1e-4, steps=8, batch_size=4).search(x, y)
    assert not found.broken.any()
    assert np.isfinite(found.x_adv).all()
    assert (np.abs(found.x_adv - x) <= 1e-4 * (1 + 1e-6)).all()
    assert np.isfinite(found.margin).all()
    assert (found.step == -1).all()


def test_samples_with_a_gradient_move_beside_those_without(attack):
    classifier, x = clipped()
    x[1] = 0  # nothing fires, so that every gain of HART that is wide enough is there, and a narrow one is not
    y = correct(classifier, x)
    view = classifier.with_rule(HART(gamma=1e-3), warn=False)
    with watched_iterates() as seen:
        found = attack(view, eps=0.01, steps=5, batch_size=4).search(x, y)
    assert np.isfinite(found.x_adv).all()
    assert all(np.isfinite(iterates).all() for iterates in seen)


def test_networks_whose_logits_are_nan_are_not_broken(attack):
    network, x = make_network("plain")
    classifier = small_classifier(network, clip_values=(0, 1), gradient_rule="stbp")
    with torch.no_grad():
        classifier.model.network.body[-1].bias[0] = torch.nan
    with pytest.warns(GradientWarning, match="NaN or inf"):
        found = attack(classifier, eps=0.1, steps=2, batch_size=4).search(x.numpy(), Y)
    assert not found.broken.any()
    np.testing.assert_array_equal(found.x_adv, x.numpy())
    assert np.isinf(found.margin).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_and_tied_logits(attack, loss, classes):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(12, 24), LIF(decay=0.9), nn.Linear(24, classes))
    options = {"input_shape": (3, 2, 2), "nb_classes": classes, "clip_values": (0, 1)}
    classifier = small_classifier(SpikingNetwork(DirectEncoder(time_steps=3), body), **options)
    classifier = classifier.with_rule("hart", warn=False)  # equal logits have no gradient
    x = np.random.default_rng(0).random((6, 3, 2, 2), dtype=np.float32)
    search = attack(classifier, eps=0.3, steps=6, loss=loss, batch_size=4)
    y = correct(classifier, x)
    found = search.search(x, y)
    assert found.broken.any()
    np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
    with torch.no_grad():
        for values in (body[-1].weight, body[-1].bias):
            values[-1] = values[0]  # the first class and the last are equal; accuracy, and NumPy, take the first
    tied = search.search(x, np.full(6, classes - 1))
    assert tied.broken.all()
    assert (tied.margin <= 0).all()
    y = correct(classifier, x)
    found = search.search(x, y)
    np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
    assert not (found.broken & (y == 0) & (classes == 2)).any()


def test_event_frames_with_counts(attack):
    network, x = make_network("event-frame")
    counts = x.numpy()
    most = float(counts.max())
    for clip_values in ((0.0, most), None):
        classifier = small_classifier(network, input_shape=counts.shape[1:], clip_values=clip_values)
        for steps in (5, 3):  # the number of frames is free
            part = counts[:, :steps]
            y = correct(classifier, part)
            found = attack(classifier, eps=0.5, steps=6, batch_size=3).search(part, y)
            assert found.x_adv.shape == part.shape
            np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
            assert (np.abs(found.x_adv - part) <= 0.5 * (1 + 1e-6)).all()
            assert (found.x_adv != part).any()
            inside = clip_values is None or (found.x_adv.min() >= 0 and found.x_adv.max() <= most)
            assert inside
            survivor = found.step == -1
            np.testing.assert_allclose(found.forwards[survivor], 1 + 6 * (1 + 1 / steps) + 1)


def test_inputs_outside_the_clip_values_are_brought_in_or_stay(attack):
    classifier, x = clipped()
    x[0, 0, 0, :3] = (1.05, 3.0, -2.0)
    y = correct_without_warning(classifier, x)
    found = attack(classifier, eps=0.1, steps=4, batch_size=4).search(x, y)
    change = np.abs(found.x_adv.astype(np.float64) - x)
    assert (change <= 0.1 * (1 + 1e-6)).all()
    assert ((change == 0) | ((found.x_adv >= 0) & (found.x_adv <= 1))).all()
    np.testing.assert_array_equal(found.x_adv[0, 0, 0, 1:3], x[0, 0, 0, 1:3])


def correct_without_warning(classifier, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputRangeWarning)
        return correct(classifier, x)


def test_clip_values_may_be_arrays(attack):
    network, x = make_network("plain")
    low, high = np.zeros((2, 1, 1), np.float32), np.array([0.5, 1], np.float32).reshape(2, 1, 1)
    classifier = small_classifier(network, clip_values=(low, high))
    inputs = x.numpy() * high
    found = attack(classifier, eps=0.2, steps=4, batch_size=4).search(inputs, correct(classifier, inputs))
    assert (found.x_adv <= high).all()
    assert (found.x_adv >= low).all()


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


@pytest.mark.parametrize("kind", ["plain", "event-frame", "residual", "poisson"])
def test_nothing_of_the_model_is_touched(attack, kind):
    network, x = make_network(kind)
    classifier = small_classifier(network, input_shape=tuple(x.shape[1:]), clip_values=(0, float(x.max())))
    classifier.model.train()
    inputs, y = x.numpy().copy(), correct(classifier, x.numpy())
    numpys, torchs = np.random.get_state()[1].copy(), torch.get_rng_state()
    before = snapshot(classifier.model)
    attack(classifier, eps=0.1, steps=3, batch_size=3).search(inputs, y)
    assert_same(before, snapshot(classifier.model))
    np.testing.assert_array_equal(inputs, x.numpy())
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)
    assert torch.equal(torch.get_rng_state(), torchs)


def test_defences_before_the_network_are_attacked_through(attack):
    defence = FeatureSqueezing(clip_values=(0, 1), bit_depth=2)
    bare, x = clipped()
    defended = small_classifier(bare.model.network, clip_values=(0, 1), preprocessing_defences=defence)
    y = correct(defended, x)
    found = attack(defended, eps=0.3, steps=8, batch_size=4).search(x, y)
    np.testing.assert_array_equal(defended.predict(found.x_adv).argmax(1) != y, found.broken)
    assert found.broken.any()
    unguarded = attack(bare, eps=0.3, steps=8, batch_size=4).search(x, y)
    assert (found.x_adv != unguarded.x_adv).any()


def test_defences_behind_the_network_judge_but_give_no_margins(classifier, digits, attack):
    x, y = digits.x_test[:12], digits.y_test[:12]
    guarded = small_classifier(
        classifier.model.network,
        input_shape=(1, 8, 8),
        nb_classes=10,
        clip_values=(0, 1),
        postprocessing_defences=Softmax(),
    )
    found = attack(guarded, eps=0.1, steps=6, batch_size=4).search(x, y)
    np.testing.assert_array_equal(guarded.predict(found.x_adv).argmax(1) != y, found.broken)
    bare = attack(classifier, eps=0.1, steps=6, batch_size=4).search(x, y)
    walked = ~found.broken & ~bare.broken
    assert walked.any()
    assert (found.margin[walked] >= bare.margin[walked] - 1e-6).all()  # those of gradients' passes, in logits


def test_random_encoders_are_broken_by_most_of_their_draws(attack, monkeypatch):
    network, x = make_network("poisson")
    classifier = small_classifier(network, clip_values=(0, 1), eot_samples=2)
    inputs = x.numpy()
    y = np.stack([classifier.predict(inputs) for _ in range(20)]).mean(0).argmax(1)
    found = attack(classifier, eps=1.0, steps=15, batch_size=4).search(inputs, y)
    assert found.broken.any()
    wrong = np.mean([classifier.predict(found.x_adv).argmax(1) != y for _ in range(60)], axis=0)
    assert (wrong[found.broken] > 0.3).all()
    assert (found.forwards >= judging.DRAWS).all()
    flips = iter([0, 0, 1] * 7)
    answers = np.eye(5, dtype=np.float32)

    def predict(x: np.ndarray, batch_size: int) -> np.ndarray:
        return answers[np.full(len(x), next(flips))]

    monkeypatch.setattr(classifier, "predict", predict)
    broken, margins = judging.judge(classifier, inputs, np.array([0, 1, 2, 3]), 4)
    assert broken.tolist() == [False, True, True, True]
    np.testing.assert_allclose(margins[:2], [13 / 20 - 7 / 20 + 1 / 20, -8 / 20], atol=0.06)


def test_progress_counts_every_sample_once(classifier, digits, attack):
    told: list[int] = []
    x, y = digits.x_test[:21], digits.y_test[:21]
    attack(classifier, eps=0.1, steps=4, batch_size=8).search(x, y, progress=told.append)
    assert sum(told) == 21
    assert max(told) < 21


def test_a_classifier_keeps_its_rule_and_labels_may_be_its_own(classifier, digits, attack):
    view = classifier.with_rule(RULES[1])
    x = digits.x_test[:8]
    search = attack(view, eps=0.1, steps=4, batch_size=8, verbose=True)
    y = view.predict(x).argmax(1)
    np.testing.assert_array_equal(search.generate(x), search.search(x, np.eye(10)[y]).x_adv)
    assert view.gradient_rule == RULES[1]
    assert isinstance(classifier.gradient_rule, HART)


def test_stronger_than_one_step(classifier, digits, attack):
    x, y = digits.x_test[:60], digits.y_test[:60]
    one = FastGradientMethod(classifier, eps=0.1).generate(x, y)
    many = attack(classifier, eps=0.1, steps=20).generate(x, y)
    left = [(classifier.predict(examples).argmax(1) == y).mean() for examples in (one, many)]
    assert left[1] < left[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": 0}, "eps must be a finite number > 0, got 0"),
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"steps": 1.5}, "steps must be a whole number >= 1, got 1.5"),
        ({"loss": "dlr"}, "loss must be 'cross-entropy' or 'margin', got 'dlr'"),
        ({"first_step": -1}, "first_step must be a finite number > 0, got -1"),
        ({"seed": -1}, "seed must be a whole number in 0 to"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
    ],
)
def test_bad_settings_are_refused(attack, settings, message):
    classifier, _ = clipped()
    with pytest.raises(ValueError, match=message):
        attack(classifier, **settings)
    made = attack(classifier)
    with pytest.raises(ValueError, match=message):
        made.set_params(**settings)


def test_bad_input_is_refused_before_anything_runs(attack):
    classifier, x = clipped()
    search = attack(classifier, eps=0.1, steps=2)
    never = "gradient_and_logits"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(classifier), never, None)
        patch.setattr(type(classifier), "predict", None)
        for options, message in (
            ({"start": x[:2]}, r"start has shape \(2, 2, 8, 8\), expected that of x, \(4, 2, 8, 8\)"),
            ({"start": np.full_like(x, np.nan)}, "holds NaN or inf in 4 of 4 samples"),
            ({"seeds": [1, 2]}, r"seeds must be 4 whole numbers >= 0, one a sample, got \[1, 2\]"),
            ({"seeds": [1, 2, 3, -4]}, "seeds must be 4 whole numbers"),
            ({"seeds": [1, 2, 3, 0.5]}, "seeds must be 4 whole numbers"),
        ):
            with pytest.raises(ValueError, match=message):
                search.search(x, Y, **options)
        with pytest.raises(ValueError, match="x holds NaN or inf in 4 of 4 samples"):
            search.search(x * np.nan, Y)
        with pytest.raises(ValueError, match=r"labels must be classes in 0 to 4 \(nb_classes=5\), got 5"):
            search.search(x, Y + 1)
        with pytest.raises(ValueError, match=r"x has shape \(4, 2, 8\), expected \(N, 2, 8, 8\)"):
            search.search(x[..., 0], Y)
        with pytest.raises(TypeError, match="generate takes x and y, got mask, too"):
            search.generate(x, Y, mask=np.ones_like(x))
        search.targeted = True
        with pytest.raises(ValueError, match="is untargeted; leave targeted False"):
            search.search(x, Y)
    with pytest.raises(ValueError, match='"targeted" cannot be set'):
        search.set_params(targeted=True)


def test_another_estimator_is_refused(attack):
    plain = PyTorchClassifier(nn.Flatten(), nn.CrossEntropyLoss(), (2,), 2)
    with pytest.raises(EstimatorError):
        attack(plain)


def test_a_rule_that_remembers_does_so_for_one_sample_in_one_run(classifier, digits, attack):
    x, y = digits.x_test[:13], digits.y_test[:13]
    search = attack(classifier.with_rule(Narrowing()), eps=0.1, steps=8, batch_size=4)
    found = search.search(x, y)
    for values, again in zip(found, search.search(x, y), strict=True):
        np.testing.assert_array_equal(values, again)
    forgetful = attack(classifier.with_rule(Forgetful()), eps=0.1, steps=8, batch_size=4)
    assert (forgetful.search(x, y).x_adv != found.x_adv).any()
