"""``art-snn --version``."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import art_snn
from art_snn.__main__ import main
from art_snn.commands import versions


def shown(capsys) -> dict[str, str]:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert not left.value.code
    return dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())


def test_versions_are_those_that_run(capsys):
    found = shown(capsys)
    assert found["art-snn"] == art_snn.__version__
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert found["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"platform", "device", "torchvision", "adversarial-robustness-toolbox"} <= set(found)


def test_optional_packages_have_a_line_where_they_are_installed(capsys, monkeypatch):
    installed = {"sinabs": "3.1.3", "numpy": "2.0"}

    def version(name):
        if name in installed:
            return installed[name]
        raise versions.PackageNotFoundError(name)

    monkeypatch.setattr(versions, "version", version)
    found = shown(capsys)
    assert found["sinabs"] == "3.1.3"
    assert found["torchvision"] == "is not installed"
    assert "norse" not in found


def test_a_gpu_is_named(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert shown(capsys)["device"] == "Some GPU, CUDA 13.0"


def test_versions_import_nothing_that_the_package_does_not_need():
    code = "import sys, art_snn; from art_snn.commands import versions; versions.versions_text(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torchvision", "matplotlib", "tonic", "spikingjelly", "norse"} & set(done.stdout.split())
