"""The command line: ``art-snn`` or ``python -m art_snn``."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool

from art_snn.commands import evaluate, paper, results, robustness, train
from art_snn.commands.options import OneLineParser
from art_snn.commands.versions import ShowVersions
from art_snn.errors import ArtSnnError

# What an ordinary mistake raises: one line, no traceback.
_EXPECTED = (ArtSnnError, ImportError, OSError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the command's name; the process's own by default.

    Returns:
        Exit code: 0 for success, 1 for a robustness that is invalid and nothing else, 2 for a wrong option or file, a
            training that diverged, a worker that was killed or an error with a traceback, 130 if the user stopped it.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = make_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except _EXPECTED as error:
        print(f"art-snn {options.command}: error: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        reason = "a worker was killed, most likely for lack of memory; use fewer --jobs, and the same command resumes"
        print(f"art-snn {options.command}: error: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except Exception:  # Python itself would leave with 1
        traceback.print_exc()
        return 2
    return code


def make_parser() -> OneLineParser:
    """Return the parser of all commands; what it parses has ``run``, which takes it."""
    parser = OneLineParser(prog="art-snn", description="Robustness of spiking neural networks with ART.")
    parser.add_argument("--version", action=ShowVersions, help="print the versions that a bug report needs, and leave")
    commands = parser.add_subparsers(dest="command", required=True)
    evaluate.add_parser(commands)
    robustness.add_parser(commands)
    train.add_parser(commands)
    paper.add_parser(commands)
    results.add_parsers(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
