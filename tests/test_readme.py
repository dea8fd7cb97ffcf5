"""What README.md shows is true."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("default")
def test_example_runs_and_reports_a_success_rate(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip() and "import" not in line]) <= 15
    exec(compile(code, "README.md", "exec"), {})
    share = re.search(r"ASR ([\d.]+)% \[", capsys.readouterr().out)
    assert 0 < float(share[1]) <= 100


def test_files_that_are_linked_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert len(links) >= 3
    assert not [link for link in links if not (README.parent / link).exists()]
