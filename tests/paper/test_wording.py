"""What tells rows apart that are alike in all a table shows, in tables and in figures."""

from __future__ import annotations

import pytest

from art_snn.evaluation import Choice
from art_snn.paper.figures import epsilon_figure, gamma_figure
from art_snn.paper.tables import wide_table
from tests.paper.rows import drawn, row

TUNED_APART, TUNED_ON_TEST = Choice.TUNED_APART.value, Choice.TUNED_ON_TEST.value
INCOMPATIBLE = [
    ({"samples_sha256": "c" * 64}, "samples cccccccc"),
    ({"target_sha256": "c" * 64}, "weights cccccccc"),
    ({"source_sha256": "c" * 64}, "surrogate cccccccc"),
    ({"reset": "soft"}, "soft reset"),
    ({"seed": 3}, "seed 3"),
    ({"eps_step": 4 / 255}, "step 4/255"),
    ({"max_iter": 40}, "40 steps"),
    ({"defence": "trades"}, "trades"),
]


@pytest.mark.parametrize(("changes", "said"), INCOMPATIBLE)
def test_rows_of_other_experiments_have_lines_and_panels_of_their_own(tmp_path, changes, said):
    one = {"attack": "pgd", "defence": "madry-pgd"}
    rows = [row(rule=rule, hits=hits, **one) for rule, hits in (("stbp", 100), ("hart", 150))]
    rows += [row(rule="hart", hits=20, **{**one, **changes})]
    header, lines = wide_table(2, rows)
    ours = {line[header.index("variant")]: line[-2:] for line in lines if "ours" in line}
    assert len(ours) == 2
    assert ours.pop(said) == ["", "10.0 [6.6, 14.9]"]
    assert ours.popitem()[1] == ["50.0 [43.1, 56.9]", "75.0 [68.6, 80.5]"]
    for draw in (gamma_figure, epsilon_figure):
        _, svg = draw(rows, tmp_path)
        assert svg.read_text().count('<g id="axes_') == 2
        assert said in drawn(svg)


@pytest.mark.parametrize(
    ("changes", "policies"),
    [
        ({"gamma_chosen": TUNED_ON_TEST}, (TUNED_APART, TUNED_ON_TEST)),
        ({"gamma_chosen": "given", "gamma_curve": None, "gamma": 0.3}, (TUNED_APART, "given, 0.3")),
        ({"gamma_curve": [[0.5, 1, 2]] * 48}, (TUNED_APART, f"{TUNED_APART}, all 48 values")),
    ],
)
def test_choices_of_gamma_have_lines_of_their_own_that_share_the_other_rules(tmp_path, changes, policies):
    rows = [row(rule="stbp", hits=100, gamma=None, gamma_chosen="", gamma_curve=None), row(), row(hits=20, **changes)]
    header, lines = wide_table(2, rows)
    assert "variant" not in header
    ours = {line[header.index("gamma of HART")]: line[-2:] for line in lines if "ours" in line}
    assert ours == {
        policies[0]: ["50.0 [43.1, 56.9]", "75.0 [68.6, 80.5]"],
        policies[1]: ["50.0 [43.1, 56.9]", "10.0 [6.6, 14.9]"],
    }
    _, svg = epsilon_figure(rows, tmp_path)
    assert svg.read_text().count('<g id="axes_') == 1
    assert {f"HART, {policy}" for policy in policies} <= set(drawn(svg))
