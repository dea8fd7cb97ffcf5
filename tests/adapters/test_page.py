"""The blocks of the page 'Bring your own SNN' run, each library's where it is installed."""

from __future__ import annotations

import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "bring_your_own.md"
SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")
LIBRARIES = ("spikingjelly", "snntorch", "norse", "sinabs")


def blocks(section: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)


def test_every_library_has_a_block():
    found = [section.splitlines()[0].lower() for section in SECTIONS[1:] if blocks(section)]
    assert found == list(LIBRARIES)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.filterwarnings("ignore")
def test_a_librarys_block_runs_and_its_attack_changes_answers(library, capsys):
    if find_spec(library) is None or (library == "spikingjelly" and not find_spec("spikingjelly.activation_based")):
        pytest.skip(f"{library} is not installed")
    torch.manual_seed(0)
    (section,) = (section for section in SECTIONS if section.lower().startswith(library))
    code = "\n".join([blocks(SECTIONS[0])[1], *blocks(section)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, str(PAGE), "exec"), {})
    share = float(capsys.readouterr().out)
    assert 0 < share <= 1
