"""What the options of the commands share."""

from __future__ import annotations

import argparse

import pytest

from art_snn.commands.options import OneLineParser, add_command, add_device, number, numbers, usage, whole, workers
from art_snn.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.1", 0.1), ("1e-3", 1e-3), ("-2", -2.0), (" 3 ", 3.0), ("8/255", 8 / 255), ("1e-1 / 2", 0.05)],
)
def test_numbers_are_those_that_float_takes(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (number, "much", "'much' is not a number"),
        (number, "8/", "'8/' is not a number"),
        (number, "1/2/3", "'1/2/3' is not a number"),
        (number, "1/0", "'1/0' is not a number"),
        (numbers, "0.1,x", "'x' is not a number"),
        (whole, "1.5", "'1.5' is not a whole number"),
        (workers, "0", "must be >= 1, or -1, got 0"),
        (workers, "-2", "must be >= 1, or -1, got -2"),
        (workers, "two", "'two' is not a whole number"),
    ],
)
def test_what_is_no_such_number_is_named(kind, text, message):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        kind(text)
    assert str(caught.value) == message


def test_numbers_are_separated_by_commas_each_once():
    assert numbers("8/255, 0.1,0.1") == [8 / 255, 0.1]


def test_workers_are_counted_or_all():
    assert [workers(text) for text in ("1", "8", "-1")] == [1, 8, -1]


def test_settings_out_of_range_become_usage_errors():
    with pytest.raises(UsageError, match=r"^--data it is not there$"), usage("--data "):
        raise DataError("it is not there")
    with pytest.raises(UsageError, match=r"^eps is 0$"), usage():
        raise ValueError("eps is 0")
    with pytest.raises(TypeError), usage():
        raise TypeError("no number at all")


def test_commands_share_their_first_lines(capsys):
    parser = OneLineParser(prog="tool")
    command = add_command(
        parser.add_subparsers(), "draw", lambda options: 3, summary="draw it", description="Draw it all."
    )
    add_device(command)
    options = parser.parse_args(["draw", "--device", "cpu"])
    assert options.run(options) == 3
    with pytest.raises(SystemExit) as left:
        parser.parse_args(["draw", "--device", "tpu"])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("tool draw: error: argument --device: invalid choice: 'tpu'")
    assert error.count("\n") == 1


def test_help_shows_defaults_that_say_something():
    commands = OneLineParser(prog="p").add_subparsers()
    parser = add_command(commands, "c", lambda _: 0, summary="s", description="d")
    parser.add_argument("--file", help="a file")
    parser.add_argument("--switch", action="store_true", help="a switch")
    parser.add_argument("--steps", default=0, help="steps")
    shown = parser.format_help()
    assert "(default: 0)" in shown
    assert shown.count("default:") == 1
