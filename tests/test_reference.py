"""The reference has every public class and function, and its overview every public module."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

import pytest

from tests.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"
PUBLIC = re.findall(r"`(art_snn[\w.]*)`(?=[^|\n]*\|)", (REFERENCE / "index.md").read_text(encoding="utf-8"))
PAGES = [page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md") if page.name != "internals.md"]
DIRECTIVE = re.compile(r"^ *\.\. auto(\w+):: ([\w.]+)((?:\n +:.*)*)", flags=re.MULTILINE)


def resolve(path: str) -> object:
    """Return the object of a dotted path."""
    module, _, name = path.rpartition(".")
    try:
        return import_module(path)
    except ModuleNotFoundError:
        return getattr(import_module(module), name)


def members(module: object, options: str) -> set[str]:
    """Return the names that automodule shows."""
    listed = re.search(r":members:(.*)", options)
    if not listed:
        return set()
    if listed[1].strip():
        return set(re.split(r",\s*", listed[1].strip()))
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return set(getattr(module, "__all__", [name for name in own if name[0] != "_"]))


def documented() -> list[object]:
    """Return all objects that the public pages document."""
    found: list[object] = []
    for page in PAGES:
        module = None
        for kind, path, options in DIRECTIVE.findall(page):
            if kind == "module":
                module = import_module(path)
                found += [vars(module)[name] for name in members(module, options) if name in vars(module)]
            elif "." in path:
                found.append(resolve(path))
            elif kind in ("class", "function"):
                found.append(getattr(module, path))
    return found


def test_the_overview_names_the_wings_that_users_import():
    assert {"art_snn", "art_snn.attacks", "art_snn.rules", "art_snn.plots", "art_snn.training"} <= set(PUBLIC)


@pytest.mark.parametrize("module", [name for name in PUBLIC if hasattr(import_module(name), "__all__")])
def test_every_public_name_is_documented(module):
    shown = {id(each) for each in documented()}
    names = import_module(module).__all__
    public = {name: getattr(import_module(module), name) for name in names}
    named = {name: value for name, value in public.items() if inspect.isclass(value) or inspect.isfunction(value)}
    assert named
    assert not [name for name, value in named.items() if id(value) not in shown]


def test_each_page_of_the_reference_is_in_its_overview():
    text = (REFERENCE / "index.md").read_text(encoding="utf-8")
    pages = {page.stem for page in REFERENCE.glob("*.md")} - {"index", "compatibility"}
    assert pages == set(re.findall(r"^(\w+)$", text.split("```{toctree}")[1], flags=re.MULTILINE))
