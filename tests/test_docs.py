"""What the documentation says of files is true."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType

import art_snn
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "follow_x.md"

# Checks, flags, allocation, which graph a value has and how many steps run at the same time: no line, as the page says.
HAND_ON = {
    f"art_snn/{name}.py"
    for name in [
        "adapters/libraries",
        "classifier/gradient_checks",
        "classifier/inputs",
        "classifier/model_checks",
        "engine/fingerprints",
        "engine/graphs",
        "engine/linearity",
        "engine/paths",
        "engine/probing",
        "engine/stand_ins",
        "engine/steps",
        "engine/taps",
        "labels",
        "ranges",
        "rules/base",
        "snn/checkpointing",
        "snn/dynamics",
        "snn/fused",
        "snn/kernels",
        "snn/layouts",
        "snn/mended",
        "snn/modes",
        "snn/norms",
        "snn/surrogates",
    ]
}


def named_files() -> set[str]:
    return set(re.findall(r"`(art_snn/[\w/]+\.py)`", PAGE.read_text(encoding="utf-8")))


def test_the_way_of_a_gradient_is_at_most_ten_files_that_exist():
    files = named_files()
    assert 0 < len(files) <= 10
    assert not [file for file in files if not (ROOT / file).is_file()]
    assert "explanation/follow_x" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_the_way_of_a_gradient_goes_through_the_files_that_are_named():
    network, x = make_network("plain")
    classifier = small_classifier(network)
    package = Path(art_snn.__file__).parent
    visited = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and package in file.parents:
            visited.add(f"art_snn/{file.relative_to(package).as_posix()}")

    sys.setprofile(note)
    try:
        classifier.loss_gradient(x.numpy(), Y)
    finally:
        sys.setprofile(None)
    assert visited - HAND_ON == named_files()
