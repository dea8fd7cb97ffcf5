"""What the documentation tells a user to install is what pyproject.toml brings."""

from __future__ import annotations

import re
import sys

import pytest

from tests.compatibility.rows import ROWS
from tests.pages import PAGES, ROOT, blocks, imported, name

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

TEXTS = [*PAGES, *(ROOT / "art_snn").rglob("*.py")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEVELOPERS = ("test", "docs", "dev")
MODULES = {"adversarial-robustness-toolbox": "art", "opencv-python-headless": "cv2", "scikit-learn": "sklearn"}
INSTALL = r"pip install ((?:[-\w.]+|\"[^\"]*\"|'[^']*')(?: +(?:[-\w.:/]+|\"[^\"]*\"))*)"
PROGRAMS = {"ffmpeg"}
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"  # PyTorch's own index


def packages(needs: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", need)[0] for need in needs}


def modules(needs: list[str]) -> set[str]:
    return {MODULES.get(package, package) for package in packages(needs)}


def for_users() -> set[str]:
    """The modules that a user gets with the package, or with an extra that is made for users."""
    needs = [need for name, extra in EXTRAS.items() if name not in DEVELOPERS for need in extra]
    return modules([*PROJECT["dependencies"], *needs])


def test_every_command_to_install_works_from_a_checkout():
    found = 0
    for path in TEXTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            for words in re.findall(
                r"pip install ((?:[-\w.]+|\"[^\"]*\"|'[^']*')(?: +(?:[-\w.:/]+|\"[^\"]*\"))*)", line
            ):
                found += 1
                where = f"{path.relative_to(ROOT)}: pip install {words}"
                for word in re.findall(r"\"[^\"]*\"|'[^']*'|\S+", words):
                    extra = re.fullmatch(r'"\.\[([\w,]+)\]"', word)
                    if extra:
                        assert set(extra[1].split(",")) <= set(EXTRAS), where
                    else:
                        known = word in (".", "-e", "--upgrade", "--index-url", CPU_BUILDS)
                        known = known or word in packages(PROJECT["dependencies"])
                        assert known or words.startswith(". "), where
    assert found >= 10


def test_what_a_class_of_art_needs_is_in_an_extra_for_users():
    needed = {package for row in ROWS for package in row.needs}
    assert "multiprocess" in needed
    assert needed - PROGRAMS <= for_users()


def test_what_the_blocks_of_the_documentation_import_is_installed():
    standard = sys.stdlib_module_names
    for page in PAGES:
        for block in blocks(page, "python"):
            # dask[distributed] brings distributed.
            for package in imported(block) - set(standard) - {"art_snn"}:
                assert package in for_users() | {"distributed"}, f"{name(page)} imports {package}"


def test_cifar10_dvs_can_be_read():
    # tonic reads its files with aedat, which tonic does not bring.
    assert {"tonic", "aedat"} <= packages(EXTRAS["events"])
