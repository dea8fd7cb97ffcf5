"""Configuration of the documentation: ``sphinx-build -W -b html docs docs/_build/html``."""

import re
import shutil
from pathlib import Path

from sphinx.util.nodes import make_refnode

import art_snn

project = "art_snn"
author = "The art_snn developers"
copyright = "the art_snn developers"
release = version = art_snn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "results/*/*.md"]

html_theme = "furo"
html_title = f"art_snn {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]

# Single backticks in docstrings name Python objects.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebook holds its outputs; the tests run it

bibtex_bibfiles = ["references.bib"]

# Sphinx reads below this folder only, and the notebook lives where people look for notebooks.
_here = Path(__file__).parent
_pages = _here / "jupyter_execute"
_pages.mkdir(exist_ok=True)
for _notebook in (_here.parent / "notebooks").glob("*.ipynb"):
    shutil.copy2(_notebook, _pages)


def _escape_shapes(app, what, name, obj, options, lines):
    """Escape the star of shapes such as (N, *F), which would start emphasis; leave literals alone."""
    for i, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [re.sub(r", \*(?=\w)", r", \\*", part) for part in parts[::2]]
        lines[i] = "``".join(parts)


def _by_last_name(app, env, node, contnode):
    """Resolve a name that is documented under another module, such as art_snn.adapt, if only one object ends in it."""
    domain = env.get_domain("py")
    last = node.get("reftarget", "").rpartition(".")[2]
    found = [name for name, entry in domain.objects.items() if name.rpartition(".")[2] == last and not entry.aliased]
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    target = domain.objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], target.docname, target.node_id, contnode, found[0])


def setup(app):
    app.connect("autodoc-process-docstring", _escape_shapes)
    app.connect("missing-reference", _by_last_name)
