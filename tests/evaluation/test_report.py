"""Tables, files and plots of rows."""

from __future__ import annotations

from art_snn.evaluation import evaluate_rules
from art_snn.evaluation.report import flat, plot, text_table, write_csv, write_json


def test_report_of_rows(classifier, digits, tmp_path):
    rows = list(evaluate_rules(classifier, digits.x_test[:20], digits.y_test[:20], rules=["hart"], eps=0.2))
    assert "HART" in text_table(rows)
    record = flat(rows[0])
    assert record["clean_accuracy"] == rows[0].clean_accuracy.value
    assert record["clean_accuracy_n"] == 20
    write_json(rows, {"seed": 0}, tmp_path / "a.json")
    write_csv(rows, tmp_path / "a.csv")
    for ending, start in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        plot(rows, "title", tmp_path / f"a{ending}")
        assert (tmp_path / f"a{ending}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 5
