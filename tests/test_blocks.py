"""The blocks of README.md and of the documentation run, page by page, as a reader would type them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.adapters.test_page import LIBRARIES
from tests.pages import PAGES, blocks, imported, name

# What a block takes for granted, since the page is about a reader's own network.
GIVEN = {
    "docs/how_to/bring_your_own.md": """
from torch import nn
from art_snn import LIF
net = nn.Sequential(nn.Linear(64, 32), LIF(), nn.Linear(32, 10))
forward = lambda net, x: net(x.flatten(1).expand(4, -1, -1)).mean(0)
loss, input_shape, nb_classes = nn.CrossEntropyLoss(), (1, 8, 8), 10
"""
}


def own_blocks(page):
    """The blocks that need none of the adapted libraries; tests/adapters/test_page.py runs the others."""
    return [block for block in blocks(page, "python") if not imported(block) & set(LIBRARIES)]


WITH_BLOCKS = [page for page in PAGES if own_blocks(page)]


def test_pages_with_blocks_are_found():
    assert len(WITH_BLOCKS) >= 12
    assert {"README.md", *GIVEN} <= {name(page) for page in WITH_BLOCKS}


def test_only_one_page_needs_a_library():
    assert {name(page) for page in PAGES if len(own_blocks(page)) < len(blocks(page, "python"))} == set(GIVEN)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_has_a_known_language_and_none_is_indented(page):
    fences = re.findall(r"^( *)```(.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    languages = {language for _, language in fences if not language.startswith("{")}
    assert languages <= {"", "python", "bash", "console", "text"}
    assert not [indent for indent, _ in fences if indent]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name)
def test_blocks_of_a_page_run(page, tmp_path):
    script = tmp_path / "page.py"
    script.write_text("\n".join([GIVEN.get(name(page), ""), *own_blocks(page)]), encoding="utf-8")
    run = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
