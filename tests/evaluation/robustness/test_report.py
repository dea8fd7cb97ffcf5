"""An evaluation as a page, as JSON and as text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from art_snn import Robustness, robustness
from art_snn.evaluation.robustness.flags import Flag, Verdict, flag, not_run
from art_snn.evaluation.robustness.plain import plain
from art_snn.evaluation.robustness.report import html_page, text_summary, write_report
from tests.evaluation.robustness.walks import small_budget


@pytest.fixture(scope="module")
def evaluated(_trained, digits) -> tuple[Robustness, np.ndarray]:
    x, y = digits.x_test[:20], digits.y_test[:20].copy()
    y[0] = (y[0] + 1) % 10  # one that is misclassified
    budget = small_budget(check_samples=4, queries=2)
    return robustness(_trained, x, y, eps=0.1, budget=budget, batch_size=8, card={"training": "a <few> epochs"}), x


class Balanced(HTMLParser):
    """Check that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_numbers_belong_together(evaluated):
    result, _ = evaluated
    rows = result.stages
    assert (rows[0].attacked, rows[-1].robust_accuracy) == (19, result.robust_accuracy)
    for before, after in pairwise(rows):
        assert after.attacked == before.attacked - before.broken
    assert sum(row.broken for row in rows) == result.broken.sum() > 0
    for number, row in enumerate(rows):
        curve = result.after_steps(number)
        assert curve[-1] == pytest.approx(row.robust_accuracy.value)
        assert (np.diff(curve) <= 0).all()
    costs, left = result.after_forwards()
    assert (left[0], left[-1]) == (result.clean.value, pytest.approx(result.robust_accuracy.value))
    assert costs[-1] == result.full_cost
    half = left[np.searchsorted(costs, result.full_cost / 2, side="right") - 1]
    assert result.last_doubling == pytest.approx(half - left[-1])
    np.testing.assert_allclose(result.forwards, 1 + np.nansum(result.stage_forwards, axis=0))


def test_the_page_says_what_was_found(evaluated):
    result, x = evaluated
    page = html_page(result, x, "a <net>")
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    assert "Robustness of a &lt;net&gt;" in page
    assert "a &lt;few&gt; epochs" in page
    assert f"{result.robust_accuracy.value:.1%}" in page
    assert f"Verdict: {result.verdict}." in page
    assert page.count("<svg") == 2
    for text in (*(row.name for row in result.stages), *(each.name for each in result.flags), *result.card):
        assert escape(text) in page
    assert not re.search(r'(src|href)="http', page)


def test_the_page_of_the_documentation_has_every_check(evaluated):
    page = Path(__file__).parents[3] / "docs" / "how_to" / "report_robustness.md"
    verdict = r"(invalid|upper bound only|a note)(?:; [^|]+)?"
    rows = re.findall(rf"^\| ([^|]+) \| [^|]+ \| {verdict} \|$", page.read_text(), flags=re.MULTILINE)
    verdicts = {each.name: "a note" if each.verdict is None else str(each.verdict) for each in evaluated[0].flags}
    assert dict(rows) == verdicts


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_page_and_the_text_name_what_fired(evaluated, verdict):
    result, x = evaluated
    flags = (flag("fine check", 0, 1, Verdict.INVALID, "no meaning"), flag("bad check", 2, 1, verdict, "its meaning"))
    result = replace(result, flags=flags)
    page, text = html_page(result, x, "net"), text_summary(result)
    assert result.verdict is verdict
    assert "its meaning" in page
    assert "no meaning" not in page
    assert f"{verdict}: bad check: 2 (at most 1), FIRED; its meaning" in text
    assert "fine check" not in text


@pytest.mark.parametrize("shape", [(3, 3, 5, 6), (3, 2, 3, 2, 5, 6), (3, 4, 2, 5, 6), (3, 7)])
def test_inputs_of_any_shape_have_a_page(evaluated, shape):
    result, _ = evaluated
    x = np.random.default_rng(0).random((len(result.broken), *shape[1:]), dtype=np.float32)
    page = html_page(replace(result, x_adv=x), x, "net")
    assert page.count("<svg") == (2 if len(shape) in (4, 5) else 1)


def test_files_are_written_and_read(evaluated, tmp_path):
    result, x = evaluated
    page, numbers, arrays = write_report(result, x, tmp_path / "out", "net")
    assert page.read_text().startswith("<!DOCTYPE html>")
    record = json.loads(numbers.read_text())
    assert record["robust_accuracy"]["value"] == result.robust_accuracy.value
    assert record["verdict"] == result.verdict.value
    assert record["samples"]["stage"] == result.stage.tolist()
    assert record["samples"]["margin"][0] is None  # it was never attacked
    assert [row["broken"] for row in record["stages"]] == [row.broken for row in result.stages]
    assert len(record["flags"]) == len(result.flags)
    with np.load(arrays) as archive:
        np.testing.assert_array_equal(archive["x_adv"], result.x_adv)
    assert sorted(file.name for file in page.parent.iterdir()) == ["examples.npz", "report.html", "robustness.json"]
    first = page.read_bytes()
    write_report(result, x, tmp_path / "out", "net")
    assert page.read_bytes() == first


def strict(text: str) -> Any:
    """Return what a file of JSON holds; NaN and infinity are none of it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_null_in_files_and_words_in_texts(evaluated, tmp_path, value):
    result, x = evaluated
    fired = flag("bad check", value, 1, Verdict.INVALID, "its meaning")
    margin = np.where(result.broken, result.margin, value)
    result = replace(result, flags=(fired,), margin=margin, card={"loss": value})
    page, numbers, _ = write_report(result, x, tmp_path, "net")
    record = strict(numbers.read_text())
    assert record["flags"][0]["value"] is None
    assert record["card"] == {"loss": None}
    np.testing.assert_array_equal([each is None for each in record["samples"]["margin"]], ~result.broken)
    assert "<td>not a number</td>" in page.read_text()
    assert "bad check: not a number (at most 1), FIRED" in text_summary(result)
    again = Flag.from_json(strict(json.dumps(fired.to_json(), allow_nan=False)))
    assert str(again) == str(fired)
    assert np.isnan(again.value)


def test_a_check_that_did_not_run_stays_one():
    idle = not_run("a check", 1, Verdict.INVALID, "its meaning", "no reason")
    assert Flag.from_json(idle.to_json()) == idle
    assert str(idle) == "a check: not run; no reason"


def test_scalars_of_numpy_are_written(evaluated, tmp_path):
    result, x = evaluated
    eps = np.float32(0.1)
    budget = small_budget(eps, check_samples=4, queries=2)
    odd = Flag("a check", np.float32(2), np.float64(1), np.True_, Verdict.INVALID, "its meaning")
    card = {"epochs": np.int64(3), "lr": np.array([0.5, 0.25]), "path": tmp_path, "tensor": torch.ones(2)}
    result = replace(result, budget=budget, flags=(odd,), card=card, draws=np.int64(1))
    numbers = write_report(result, x, tmp_path, "net")[1]
    record = strict(numbers.read_text())
    assert record["eps"] == record["threat"]["eps"] == float(eps)
    assert record["flags"][0] == {**odd._asdict(), "value": 2, "threshold": 1, "fired": True, "verdict": "invalid"}
    assert record["card"] == {"epochs": 3, "lr": [0.5, 0.25], "path": str(tmp_path), "tensor": [1, 1]}


def test_an_eps_of_numpy_is_evaluated_and_written(classifier, digits, tmp_path):
    x, y, eps = digits.x_test[:6], digits.y_test[:6], np.float32(0.1)
    budget = small_budget(eps, check_samples=2, check_steps=1, unbounded_steps=1, queries=1)
    result = robustness(classifier, x, y, eps=eps, budget=budget, batch_size=6, folder=tmp_path / "pieces")
    record = strict(write_report(result, x, tmp_path, "net")[1].read_text())
    assert record["eps"] == float(eps)


def test_plain_values_are_those_of_json():
    numbers = [np.longdouble(0.5), np.float16(0.5), np.uint8(3), np.bool_(True), np.array(np.inf), np.datetime64("NaT")]
    assert plain(numbers) == [0.5, 0.5, 3, True, None, "NaT"]
    assert plain({1: (None, Verdict.INVALID, np.array(["a"]))}) == {"1": [None, "invalid", ["a"]]}


def test_the_margin_of_a_sample_that_counts_as_robust_is_not_negative(evaluated):
    result, _ = evaluated
    margin = np.full(len(result.margin), -1, np.float32)
    margin[~result.correct] = np.nan
    found = replace(result, margin=margin).margin
    np.testing.assert_array_equal(found, np.where(result.robust, 0, margin))
    assert found.dtype == np.float32
    assert (margin[result.robust] == -1).all()  # the caller's array is as it was
