"""What a command says where its words are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from art_snn.__main__ import main


def one_line_error(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command says on leaving with exit code 2, which is one line and no traceback."""
    try:
        code = main(words)
    except SystemExit as left:  # argparse itself
        code = left.code
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    return error
