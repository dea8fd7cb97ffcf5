"""The description that a package index shows: README.md without links and pictures that only a checkout has."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

FILES = "\n*Files that are named without a link are in the source distribution.*\n"


class IndexDescription(MetadataHookInterface):
    """Set the readme of a distribution."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write the description into the metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": index_description(text)}


def index_description(text: str) -> str:
    """Return a page in Markdown without pictures and links to files beside it; what a link says stays."""
    text = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?:|#)([^)]*)\)", r"\1 (`\2`)", text) + FILES
