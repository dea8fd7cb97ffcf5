"""Random search: inside its budget, of each sample alone, and near to what trying everything finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from art_snn import robustness
from art_snn.attacks import flips, retimed
from art_snn.evaluation.robustness.random_search import FlipSearch, ShiftSearch, SignSearch
from tests.attacks.event_networks import classifier_of, random_frames, random_network


@pytest.fixture(scope="module")
def events():
    classifier = classifier_of(random_network(), (5, 2, 5, 5), 3)
    x = random_frames(24, seed=9)
    return classifier, x, classifier.predict(x).argmax(1)


def after_flips(classifier, x: np.ndarray, y: int, count: int) -> bool:
    """Say whether some ``count`` flips, or fewer, change the class of a sample: all are tried."""
    chosen = [places for number in range(1, count + 1) for places in combinations(range(x.size), number)]
    for start in range(0, len(chosen), 2048):
        made = np.repeat(x[None], len(chosen[start : start + 2048]), 0)
        for frames, places in zip(made.reshape(len(made), -1), chosen[start:], strict=False):
            frames[list(places)] = 1 - frames[list(places)]
        if (classifier.predict(made, batch_size=512).argmax(1) != y).any():
            return True
    return False


SEARCHES = [FlipSearch(max_flips=6), ShiftSearch(max_shift=1, max_moved=3), ShiftSearch(max_shift=2)]


@pytest.mark.parametrize("search", SEARCHES, ids=repr)
def test_what_it_makes_is_inside_the_budget_and_counted(events, search):
    classifier, x, y = events
    found = search.make(classifier, batch_size=8).search(x, y)
    assert found.broken.sum() > 0
    np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
    if isinstance(search, FlipSearch):
        assert set(np.unique(found.x_adv)) <= {0, 1}
        assert flips(x, found.x_adv).max() <= 6
    else:
        moves = retimed(x, found.x_adv)
        assert moves.shift.max() <= search.max_shift
        assert moves.moved.max() <= (search.max_moved or np.inf)
    queries = np.where(found.broken, found.step + 1, search.steps)
    np.testing.assert_array_equal(found.forwards, 1 + queries)


def test_signs_are_inside_eps_and_the_clip_values(classifier, digits):
    x, y = digits.x_test[:16], digits.y_test[:16]
    found = SignSearch(eps=0.2, steps=60).make(classifier, batch_size=8).search(x, y)
    assert 0 < found.broken.sum() < 16
    assert np.abs(found.x_adv.astype(np.float64) - x).max() <= 0.2
    assert found.x_adv.min() >= 0
    assert found.x_adv.max() <= 1
    longer = SignSearch(eps=0.2, steps=300).make(classifier, batch_size=8).search(x, y)
    assert longer.broken.sum() >= found.broken.sum()


@pytest.mark.parametrize("search", [*SEARCHES, None], ids=repr)
def test_a_sample_is_searched_alike_alone(events, classifier, digits, search):
    network, x, y = events if search else (classifier, digits.x_test[:16], digits.y_test[:16])
    attack = (search or SignSearch(eps=0.2, steps=60)).make(network, batch_size=16)
    together = attack.search(x, y, seeds=np.arange(len(x)))
    for i in (0, int(np.flatnonzero(together.broken)[0])):
        alone = attack.search(x[i : i + 1], y[i : i + 1], seeds=np.array([i]))
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[i])


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_few_flips_are_found_nearly_as_by_trying_all(events, count):
    classifier, x, y = events
    breakable = np.array([after_flips(classifier, *sample, count) for sample in zip(x, y, strict=True)])
    result = robustness(classifier, x, y, flips=count, budget="standard", batch_size=32)
    assert not (result.broken & ~breakable).any()
    missed = int((breakable & ~result.broken).sum())
    assert missed <= 0.15 * breakable.sum()
    gained = {flag.name: flag for flag in result.flags}["gain without gradients"]
    by_chance = np.isin(result.stage[result.broken], [len(result.budget.stages) - 1]).sum()
    assert gained.value == by_chance / len(x)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SignSearch(eps=0.0), "eps"),
        (lambda: FlipSearch(max_flips=0), "max_flips"),
        (lambda: ShiftSearch(max_shift=0), "max_shift"),
        (lambda: ShiftSearch(max_moved=0), "max_moved"),
        (lambda: SignSearch(steps=0), "steps"),
        (lambda: SignSearch(seed=-1), "seed"),
    ],
)
def test_bad_settings(make, name):
    with pytest.raises(ValueError, match=name):
        make()
