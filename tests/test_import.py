"""What importing the package loads."""

from __future__ import annotations

import subprocess
import sys


def test_import_needs_no_torchvision():
    code = "import sys, art_snn; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_import_needs_no_matplotlib():
    code = "import sys, art_snn; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
