"""The blocks of the page 'Attack research code' run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from art_snn.snn import readers

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "research_code.md"


@pytest.mark.filterwarnings("default")
def test_the_page_runs_and_its_attack_works(monkeypatch, capsys):
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    monkeypatch.setattr("art_snn.adapters.registered._REGISTERED", {})
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 5
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out
    assert re.search(r"fires otherwise than its parameters say in .* with reset='hard', 0.0% would", printed)
    clean, attacked = (int(re.search(rf"{name}: (\d+)% right", printed)[1]) for name in ("clean", "attacked"))
    assert clean >= 80
    assert attacked <= clean - 10
