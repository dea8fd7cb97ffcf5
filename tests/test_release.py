"""One version everywhere, and distributions that a package index would take."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import art_snn
from tests.pages import ROOT

VERSION = art_snn.__version__


def first(pattern: str, file: str) -> str:
    return re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)[1]


def test_the_changelog_and_the_citation_have_the_version():
    releases = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert releases[0] == ("Unreleased", "")
    assert releases[1][0] == VERSION == first(r"^version: (\S+)$", "CITATION.cff")
    assert releases[1][1] == first(r"^date-released: (\d{4}-\d\d-\d\d)$", "CITATION.cff")


def test_the_version_is_written_in_one_place_of_the_code():
    texts = [path.read_text(encoding="utf-8") for path in [ROOT / "pyproject.toml", *(ROOT / "art_snn").rglob("*.py")]]
    assert sum(f'"{VERSION}"' in text for text in texts) == 1


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The wheel and the source distribution, built from what git would check out."""
    if not find_spec("hatchling"):
        pytest.skip("hatchling is not installed")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_holds_the_package_alone_and_all_of_it(distributions):
    with zipfile.ZipFile(distributions[0]) as wheel:
        names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {"art_snn", f"art_snn-{VERSION}.dist-info"}
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "art_snn").rglob("*") if path.is_file()}
    here = {name for name in here if "__pycache__" not in name}
    assert here == {name for name in names if name.startswith("art_snn/")}
    assert "art_snn/py.typed" in names
    assert len([name for name in names if re.fullmatch(r"art_snn/paper/\w+\.csv", name)]) >= 1


def test_the_source_distribution_builds_the_same_wheel(distributions, tmp_path):
    wheel, sdist = distributions
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert {"tests", "docs", "notebooks", "README.md", "LICENSE", "CITATION.cff"} <= {p.name for p in source.iterdir()}
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(built, cwd=source, capture_output=True, check=True)
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"art_snn-{VERSION}.dist-info/METADATA")


def test_an_index_takes_the_metadata(distributions):
    packaging = pytest.importorskip("packaging.metadata")
    found = packaging.Metadata.from_email(metadata(distributions[0]), validate=True)
    assert (found.name, str(found.version), found.license_expression) == ("art-snn", VERSION, "MIT")
    assert found.summary
    assert found.description_content_type == "text/markdown"
    known = pytest.importorskip("trove_classifiers").classifiers
    assert set(found.classifiers) <= known


def test_the_description_has_no_link_that_an_index_cannot_follow(distributions):
    packaging = pytest.importorskip("packaging.metadata")
    text = packaging.Metadata.from_email(metadata(distributions[0])).description
    assert text.startswith("# art_snn\n")
    assert not re.findall(r"\]\((?!https?:|#)", text)
    assert "docs/how_to/bring_your_own.md" in text
    assert len(text) > 0.9 * len((ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_hook_takes_pictures_and_local_links_out():
    if not find_spec("hatchling"):
        pytest.skip("hatchling is not installed")
    code = "import sys, hatch_build; sys.stdout.write(hatch_build.index_description(sys.stdin.read()))"
    page = "![a plot](docs/a.png)\n\n[here](docs/a.md), [there](https://a.org), [below](#below)\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=page, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("here (`docs/a.md`), [there](https://a.org), [below](#below)\n")
