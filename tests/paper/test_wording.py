"""Rows of several experiments are refused where a table or figure would not tell them apart; names of data sets."""

from __future__ import annotations

import pytest

from art_snn.errors import ResultsError
from art_snn.evaluation import Choice
from art_snn.paper import epsilon_figure, gamma_figure, wide_table, write_table
from art_snn.paper.wording import SWEEP, check_comparable, network, renamed
from tests.paper.rows import record, row

OTHER_EXPERIMENTS = [
    ({"samples_sha256": "c" * 64}, "the digest of the samples is aaaaaaaa and cccccccc"),
    ({"target_sha256": "c" * 64}, "the digest of the target's weights is bbbbbbbb and cccccccc"),
    ({"source_sha256": "c" * 64}, "the digest of the weights that gradients come from is bbbbbbbb and cccccccc"),
    ({"reset": "soft"}, "the reset is 'hard' and 'soft'"),
    ({"seed": 3}, "the seed is 0 and 3"),
    ({"eps_step": 0.5}, "the attack's step is 0.00784"),
    ({"max_iter": 40}, "the attack's number of steps is 7 and 40"),
    ({"defence": "trades"}, "the target's defence is 'madry-pgd' and 'trades'"),
]


@pytest.mark.parametrize(("changes", "said"), OTHER_EXPERIMENTS)
def test_rows_that_differ_in_what_is_not_shown_are_refused(tmp_path, changes, said):
    same = {"attack": "pgd", "defence": "madry-pgd"}
    rows = [row(rule=rule, **same) for rule in ("stbp", "hart")]
    check_comparable(rows)
    rows.append(row(rule="hart", **{**same, **changes}))
    with pytest.raises(ResultsError, match="keep their results in separate folders") as caught:
        wide_table(2, rows)
    assert "CIFAR-10, VGG-11*, T=8, lambda 0.9, white-box PGD, 8/255: the rows are of two" in str(caught.value)
    assert said in str(caught.value)
    for write in (gamma_figure, epsilon_figure, lambda rows, folder: write_table(2, rows, folder)):
        with pytest.raises(ResultsError, match="of two experiments"):
            write(rows, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gamma_chosen": Choice.TUNED_ON_TEST.value}, "and 'tuned on the evaluation set'"),
        ({"gamma_chosen": "given", "gamma_curve": None, "gamma": 0.3}, "the rule is 'hart(0.5)' and 'hart(0.3)'"),
        ({"gamma_curve": [[0.5, 1, 2]] * 48}, "and 'tuned on a split of its own, all 48 values'"),
        ({"gamma": 0.7, "rule_repr": "HART(gamma=0.7)"}, "the rule is 'hart(0.5)' and 'HART(gamma=0.7)'"),
    ],
)
def test_rows_of_several_choices_of_gamma_are_refused(changes, said):
    rows = [row(rule="stbp"), row(), row(**changes)]
    with pytest.raises(ResultsError, match=r"HART.* CIFAR-10.*: the rows are of two experiments") as caught:
        wide_table(2, rows)
    assert said in str(caught.value)


def test_rows_that_a_table_does_not_show_are_not_compared(tmp_path):
    rows = [row(), row(setting="black-box"), row(setting="black-box", seed=3)]
    assert len(wide_table(2, rows)[1]) == 2
    with pytest.raises(ResultsError, match="the seed is 0 and 3"):
        write_table(3, rows, tmp_path)


def test_images_and_events_of_an_experiment_may_differ_in_how_gamma_was_chosen(tmp_path):
    events = {"architecture": "vgg_dvs", "dataset": "N-MNIST", "gamma_chosen": Choice.TUNED_ON_TRAIN.value}
    markdown = write_table(2, [row(), row(**events)], tmp_path)[0].read_text()
    assert "Gamma of HART on CIFAR-10: tuned on a split of its own." in markdown
    assert "Gamma of HART on N-MNIST: tuned on training samples." in markdown


def test_sweep_is_the_papers():
    assert SWEEP == 48


def test_networks_are_named_with_their_width():
    assert network(row(width=4)) == "VGG-11, 4 wide"
    assert network(record()) == "VGG-11"


def test_data_sets_are_renamed_by_their_kind():
    entries = [row(), row(architecture="vgg_dvs", dataset="recordings.npz")]
    assert [entry.dataset for entry in renamed(entries)] == ["CIFAR-10", "recordings.npz"]
    assert [entry.dataset for entry in renamed(entries, "images")] == ["images", "recordings.npz"]
    assert [entry.dataset for entry in renamed(entries, "", "events")] == ["CIFAR-10", "events"]
    assert renamed([record()], "images")[0].dataset == "images"
