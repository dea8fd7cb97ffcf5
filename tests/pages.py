"""The pages that users read, README.md among them, and the code that they show."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    """Return a page's path below the root."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page that are in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def imported(block: str) -> set[str]:
    """Return the top packages that a block of Python imports."""
    nodes = list(ast.walk(ast.parse(block)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {each.split(".")[0] for each in names}


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command in a page's blocks for a shell."""
    lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    console = [line for block in blocks(page, "console") for line in block.replace("\\\n", " ").splitlines()]
    lines += [line.removeprefix("$ ") for line in console if line.startswith("$ ")]
    for line in lines:
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            if words:
                yield words


def inline_code(page: Path) -> list[str]:
    """Return what a page has between single backticks, outside fenced blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
