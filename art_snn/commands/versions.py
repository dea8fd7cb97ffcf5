"""What ``art-snn --version`` prints: the versions that matter in a bug report."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import art_snn

NEEDED = ("torchvision", "adversarial-robustness-toolbox", "numpy")
OPTIONAL = ("triton", "spikingjelly", "snntorch", "norse", "sinabs", "tonic", "dask")


class ShowVersions(argparse.Action):
    """Print the versions and leave, before the other options are looked at."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Leave with exit code 0."""
        print(versions_text())
        parser.exit()


def versions_text() -> str:
    """Return a line each for art_snn, Python, the platform, PyTorch, the device and packages; imports none of them."""
    lines = [
        f"art-snn {art_snn.__version__}",
        f"Python {platform.python_version()}",
        f"platform {platform.platform()}",
        f"torch {torch.__version__}",
        f"device {_device()}",
        *(f"{name} {_version(name) or 'is not installed'}" for name in NEEDED),
        *(f"{name} {_version(name)}" for name in OPTIONAL if _version(name)),
    ]
    return "\n".join(lines)


def _device() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return f"cpu, threads: {torch.get_num_threads()}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
