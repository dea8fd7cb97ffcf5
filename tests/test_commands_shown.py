"""The commands that README.md and the documentation show are known, with their options."""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec

import pytest

from art_snn.__main__ import make_parser
from tests.pages import PAGES, ROOT, command_lines, inline_code, name

# Programs that are not ours; their options are not looked at.
OTHERS = {"pip", "pytest", "pre-commit", "sphinx-build"}
OTHER_OPTIONS = {"--index-url", "--no-kernels", "--doctest-modules", "--nbmake", "--fail-on-warning"}
COMMANDS = [(name(page), words) for page in PAGES for words in command_lines(page)]
CODES = [(name(page), code) for page in PAGES for code in inline_code(page)]


def options() -> dict[str, set[str]]:
    """Each command of art-snn with its options."""
    (commands,) = (each for each in make_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return {command: set(parser._option_string_actions) for command, parser in commands.choices.items()}


def left_with(arguments: list[str]) -> int | str | None:
    """Return the exit code with which the words are parsed."""
    try:
        make_parser().parse_args(arguments)
    except SystemExit as left:
        return left.code
    return 0


def test_commands_are_found():
    shown = {words[1] for _, words in COMMANDS if words[0] == "art-snn" and len(words) > 1}
    assert set(options()) <= shown


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}" for page, words in COMMANDS])
def test_a_command_is_understood(page, words, capsys):
    program, *arguments = words
    if program == "art-snn":
        assert left_with(arguments) == 0, capsys.readouterr().err
    elif program == "python":
        module = arguments[1] if arguments[0] == "-m" else arguments[0].removesuffix(".py").replace("/", ".")
        assert find_spec(module)
    else:
        assert program in OTHERS


def test_benchmarks_that_are_named_exist():
    named = {match for _, code in CODES for match in re.findall(r"tests[./]benchmarks[./](\w+)", code)}
    assert len(named) >= 5
    assert not [each for each in named if not (ROOT / "tests" / "benchmarks" / f"{each}.py").is_file()]


def test_options_in_the_text_exist():
    known = options()
    everywhere = set().union(*known.values()) | OTHER_OPTIONS | {"--version"}
    wrong = []
    for page, code in CODES:
        command = re.match(r"art-snn (\w+)", code)
        allowed = known.get(command[1], set()) if command else everywhere
        wrong += [(page, code) for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code) if option not in allowed]
    assert not wrong
