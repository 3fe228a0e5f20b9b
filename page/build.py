"""The step of setuptools that copies the package, with what the bundled page takes from others fetched before.

Where that fails, the package is built without, and says so.
"""

import subprocess
import sys
from pathlib import Path

from setuptools.command.build_py import build_py

__all__ = ["BuildPy"]


class BuildPy(build_py):
    """Fetch, then copy."""

    def run(self) -> None:
        subprocess.run([sys.executable, str(Path(__file__).with_name("fetch.py"))], check=False)
        super().run()
