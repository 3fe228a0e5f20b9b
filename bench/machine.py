"""What the figures were measured on."""

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import OpenSSL.SSL

from .build import Programs

__all__ = ["facts"]


def facts(programs: Programs) -> dict[str, str | int]:
    """The machine and the versions, by name."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "mles_tx": f"{version('mles_tx')} {_commit()}".strip(),
        "twisted": version("twisted"),
        "autobahn": version("autobahn"),
        "openssl of the Python servers": OpenSSL.SSL.OpenSSL_version(OpenSSL.SSL.OPENSSL_VERSION).decode(),
        "openssl of the floor and the load generator": _output([str(programs.generator), "-v"]),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
    }


def _cpu_model() -> str:
    match = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _commit() -> str:
    root = Path(__file__).parents[1]
    command = ["git", "-c", "safe.directory=*", "-C", str(root), "describe", "--always", "--dirty"]
    return _output(command) if (root / ".git").exists() else ""


def _output(command: list[str]) -> str:
    """What a program prints; nothing, when it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
