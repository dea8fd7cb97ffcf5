"""``python -m art_snn``."""

from __future__ import annotations

import subprocess
import sys


def test_module_runs_as_a_script():
    done = subprocess.run([sys.executable, "-m", "art_snn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("art-snn 0.")
