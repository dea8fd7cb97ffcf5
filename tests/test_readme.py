"""What README.md shows is true."""

import re
from pathlib import Path

import pytest

from art_snn import get_rule, rule_names

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("default")
def test_example_runs_and_reports_a_success_rate(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip() and "import" not in line]) <= 15
    exec(compile(code, "README.md", "exec"), {})
    share = re.search(r"ASR ([\d.]+)% \[", capsys.readouterr().out)
    assert 0 < float(share[1]) <= 100


@pytest.mark.parametrize("page", ["README.md", "docs/explanation/pitfalls.md"])
def test_what_robustness_leaves_is_in_the_results(page):
    text = " ".join((README.parent / page).read_text(encoding="utf-8").split())
    usual, ours = re.search(r"PGD with 7 steps.*? ([\d.]+) %.*?art_snn\.robustness`.*?([\d.]+) %", text).groups()
    results = (README.parent / "docs" / "results" / "robustness.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| none \| [^|]+\| {usual}% [^|]+\|[^|]+\| {ours}% ", results, flags=re.MULTILINE)


def test_files_that_are_linked_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert len(links) >= 3
    assert not [link for link in links if not (README.parent / link).exists()]


def test_first_lines_name_the_libraries():
    start = " ".join(README.read_text(encoding="utf-8").splitlines()[:10])
    assert not [name for name in ("SpikingJelly", "snnTorch", "norse", "sinabs", "ART") if name not in start]


def test_every_rule_is_named():
    titles = {type(get_rule(name)).title for name in rule_names()}
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert not [title for title in titles if title not in text]
