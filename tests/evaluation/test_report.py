"""Tables, files and plots of rows."""

from __future__ import annotations

import json

import pandas as pd

from art_snn.attacks import FGSM, PGD, APGDSpec, ClipOnly, SAPGDSpec
from art_snn.evaluation import evaluate_rules
from art_snn.evaluation.report import plot, steps_text, text_table, write_csv, write_json
from art_snn.rules import HART
from tests.evaluation.plans import grid_row


def test_report_of_rows(classifier, digits, tmp_path):
    x, y = digits.x_test[:20], digits.y_test[:20]
    rows = list(evaluate_rules(classifier, x, y, rules=["hart"], attacks=[FGSM(eps=0.2), PGD(eps=0.2)]))
    assert "HART" in text_table(rows)
    write_json(rows, {"seed": 0}, tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["settings"] == {"seed": 0}
    assert document["rows"] == [row.to_json() for row in rows]
    assert document["rows"][0]["clean_accuracy"] == rows[0].clean_accuracy.value
    assert document["rows"][0]["clean_accuracy_n"] == 20
    write_csv(rows, tmp_path / "a.csv")
    frame = pd.read_csv(tmp_path / "a.csv")
    assert frame["robust_accuracy"].tolist() == [row.robust_accuracy.value for row in rows]
    for ending, start in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        plot(rows, "title", tmp_path / f"a{ending}")
        assert (tmp_path / f"a{ending}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 5


def test_rules_and_attacks_with_several_settings_are_drawn_apart(classifier, digits, tmp_path):
    x, y = digits.x_test[:20], digits.y_test[:20]
    rules, attacks = [HART(gamma=0.3), HART(gamma=1.0), "stbp"], [FGSM(eps=0.1), PGD(eps=0.1), PGD(eps=0.2), ClipOnly()]
    rows = list(evaluate_rules(classifier, x, y, rules=rules, attacks=attacks))
    plot(rows, "title", tmp_path / "a.svg")
    texts = (tmp_path / "a.svg").read_text()
    assert texts.count("<!-- HART -->") == 0
    for text in ("HART(gamma=0.3)", "HART(gamma=1.0)", "STBP", "FGSM", "PGD, ε=0.1", "PGD, ε=0.2", "clip only"):
        assert f"<!-- {text} -->" in texts


def test_rows_without_a_gradient_have_an_empty_place():
    (line,) = text_table([grid_row(zero_gradients=None, gamma=None)]).splitlines()[2:]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[0] == "HART"
    assert cells[1] == cells[6] == ""


def test_steps_are_said_in_words():
    assert steps_text([FGSM(eps=0.1), PGD(eps=0.1), PGD(eps=0.2)]) == "7 steps of 0.025, 0.05"
    assert steps_text([PGD(eps=0.1, eps_step=0.01, steps=3), PGD(eps=0.2, eps_step=0.01, steps=3)]) == "3 steps of 0.01"
    assert steps_text([FGSM(eps=0.1), ClipOnly()]) == ""
    assert steps_text([PGD(eps=0.1), SAPGDSpec(steps=50), APGDSpec(steps=7)]) == "7 steps of 0.025; 50 steps"
