"""The paper's tables as files."""

from __future__ import annotations

import pandas as pd
import pytest

from art_snn.paper.tables import long_table, write_rows, write_table
from tests.paper.rows import row


def test_rows_csv_has_all_but_the_curves(tmp_path):
    rows = [row(eps_step=2 / 255), row(rule="stbp", gamma=None, gamma_chosen="", gamma_curve=None, more="text")]
    frame = pd.read_csv(write_rows(rows, tmp_path / "out"))
    assert frame["rule"].tolist() == ["hart", "stbp"]
    assert set(frame) == {*rows[0], *rows[1], "gamma_values", "version_torch"} - {"gamma_curve", "versions"}
    assert frame["attack_success_rate"].tolist() == [one["attack_success_rate"] for one in rows]
    assert frame["eps"].tolist() == [8 / 255] * 2
    assert frame["gamma_values"].tolist() == [3, 0]


def test_rows_go_to_the_tables_that_the_paper_has_them_in():
    rows = [
        row(rule=rule, setting=setting, eps=eps / 255, defence=defence)
        for rule in ("hart", "rga", "cba", "rate")
        for setting in ("white-box", "black-box")
        for eps in (4, 8)
        for defence in ("none", "fgsm")
    ]
    assert {n: len(long_table(n, rows)) for n in range(1, 6)} == {1: 4, 2: 8, 3: 8, 4: 4, 5: 8}
    assert set(long_table(1, rows)["rule"]) == {"cba", "rate"}
    assert set(long_table(5, rows)["published"].dropna().round(2)) == set()  # the paper has 0.5 and 1 there, not 0.9
    paper_pgd = {"setting": "black-box", "attack": "pgd", "eps_step": 2 / 255}
    five = long_table(5, [row(decay=1.0, eps=4 / 255, rule="rga", **paper_pgd)])
    assert five["published"].tolist() == [56.78]
    with pytest.raises(ValueError, match="table must be one of 1, 2, 3, 4, 5, got 6"):
        long_table(6, rows)


def test_tables_are_written_in_three_formats(tmp_path):
    control = row(attack="clip-only", rule="", eps=0.0, architecture="vgg_dvs", dataset="N-MNIST", hits=20)
    files = write_table(2, [row(), control], tmp_path / "out")
    assert [file.name for file in files] == ["table2.md", "table2.tex", "table2.csv"]
    markdown, latex = (file.read_text() for file in files[:2])
    assert "| CIFAR-10 | VGG-11" in markdown
    assert "97.24 (-22.2)" in markdown
    assert "Gamma of HART: tuned on a split of its own." in markdown
    assert r"95 \% confidence intervals" in latex
    assert "Gamma of HART: tuned on a split of its own." in latex.partition("tabular}")[2]
    assert "Control for N-MNIST, T=8, lambda 0.9: clipping counts to [0, 1] alone flips 10.0 [6.6, 14.9] %" in markdown
    assert latex.startswith("% White box")
    assert "\\toprule" in latex
    assert pd.read_csv(files[2])["ours"].tolist() == [75.0]
    empty = write_table(3, [], tmp_path / "out")
    assert "Table 3" in empty[0].read_text()
