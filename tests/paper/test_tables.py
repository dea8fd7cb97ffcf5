"""The paper's tables as files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from art_snn.errors import ResultsError
from art_snn.evaluation.metrics import wilson_interval
from art_snn.paper.published import published_number
from art_snn.paper.tables import long_table, wide_table, write_rows, write_table
from tests.paper.rows import row


def test_rows_csv_has_all_but_the_curves(tmp_path):
    rows = [row(), row(rule="stbp", attack="pgd")]
    frame = pd.read_csv(write_rows(rows, tmp_path / "out"))
    assert frame["rule"].tolist() == ["hart", "stbp"]
    assert set(frame) == {*rows[0].to_json(), "gamma_values", "version_torch"} - {"gamma_curve", "versions"}
    assert frame["attack_success_rate"].tolist() == [0.75, 0.75]
    assert frame["eps"].tolist() == [8 / 255] * 2
    assert frame["gamma_values"].tolist() == [3, 0]


def test_difference_is_given_where_the_setting_is_the_papers():
    rows = [row(), row(rule="stbp", hits=100)]
    table = long_table(2, rows)
    assert table["published"].tolist() == [97.24, 89.91]
    np.testing.assert_allclose(table["difference"], [75 - 97.24, 50 - 89.91])
    assert set(table["published_clean_accuracy"]) == {93.03}
    header, lines = wide_table(2, rows)
    assert header[-2:] == ["STBP", "HART"]
    assert lines[0][:8] == ["CIFAR-10", "VGG-11", "8", "0.9", "white-box", "FGSM", "8/255", "80.0"]
    assert lines[0][-1] == "75.0 [68.6, 80.5]"
    assert lines[1][7:] == ["93.03", "published", "89.91 (-39.9)", "97.24 (-22.2)"]


def test_published_numbers_of_other_settings_are_left_out():
    rows = [row(time_steps=4), row(time_steps=4, rule="stbp")]
    table = long_table(2, rows)
    assert table["published"].isna().all()
    assert table["difference"].isna().all()
    (line,) = wide_table(2, rows)[1]
    assert line[8] == "ours"


def test_nothing_correct_leaves_ours_out():
    row_of_none = row(attack_success_rate=wilson_interval(0, 0))
    _, (ours, published) = wide_table(2, [row_of_none])
    assert (ours[-1], published[-1]) == ("", "97.24")
    assert long_table(2, [row_of_none])["ours"].isna().all()


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
    five = long_table(5, [row(decay=1.0, eps=4 / 255, rule="rga", setting="black-box", attack="pgd")])
    assert five["published"].tolist() == [56.78]
    with pytest.raises(ValueError, match="table must be 1, 2, 3, 4 or 5, got 6"):
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


def test_rules_from_outside_the_package_follow_those_of_the_paper():
    rules = ("toy", "rga", "another", "hart")
    rows = [row(rule=rule, setting=setting) for rule in rules for setting in ("white-box", "black-box")]
    for number in (2, 3, 5):
        assert wide_table(number, rows)[0][-4:] == ["RGA", "HART", "Another", "Toy"]
    assert wide_table(4, rows)[0][-2:] == ["RGA", "HART"]
    assert not wide_table(1, rows)[1]
    header, lines = wide_table(2, [row(rule="toy", attack="toy", attack_title="Toy attack")])
    assert header[-1] == "Toy"
    assert [line[5] for line in lines] == ["Toy attack"]
    assert lines[0][-1] == "75.0 [68.6, 80.5]"


def test_attacks_with_other_settings_are_not_mixed_nor_compared_with_the_papers():
    several = [row(attack="pgd"), row(attack="pgd", attack_repr="PGD(eps=0.03, restarts=5)")]
    with pytest.raises(ResultsError, match=r"the attack is .* and 'PGD"):
        wide_table(2, several)
    assert published_number(2, several[0]) is not None
    assert published_number(2, several[1]) is None
