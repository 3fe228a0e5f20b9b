"""Programs of others that the tests need, from the system or, where that may be, fetched for this run."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SkipTest

from .support import INSTALL_SECONDS, build_directory

__all__ = ["debian_libraries", "debian_program"]


def debian_program(package: str, name: str) -> Path:
    """A program of a Debian package: the installed one, or else unpacked into a directory of the tests' own.

    Raises:
        SkipTest: it is not to be had here.
    """
    installed = shutil.which(name)
    if installed is not None:
        return Path(installed)
    unpacked = _unpacked(package)
    if isinstance(unpacked, str):
        raise SkipTest(f"{package} is not installed, and {unpacked}")
    return unpacked / "usr" / "bin" / name


def debian_libraries(*packages: str) -> str:
    """Where a program finds the libraries of Debian packages that are not installed, for `LD_LIBRARY_PATH`.

    Raises:
        SkipTest: they are not to be had here.
    """
    found = []
    for package in packages:
        unpacked = _unpacked(package)
        if isinstance(unpacked, str):
            raise SkipTest(f"{package} is not installed, and {unpacked}")
        found += sorted({str(path.parent) for path in unpacked.rglob("lib*.so.*")})
    return ":".join(found)


@cache
def _unpacked(package: str) -> Path | str:
    """Where the package was unpacked; or why it was not, which is found out once."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return "this is no Debian to fetch it from"
    directory = build_directory() / "debian" / package
    directory.mkdir(parents=True, exist_ok=True)
    if _run(["apt-get", "download", package], directory) is not None and os.geteuid() == 0:
        _run(["apt-get", "update"], directory)  # the lists may be missing, or old
    fault = _run(["apt-get", "download", package], directory) if not list(directory.glob("*.deb")) else None
    if fault is not None:
        return f"cannot be fetched: {fault}"
    (archive,) = directory.glob("*.deb")
    fault = _run(["dpkg", "-x", str(archive), "unpacked"], directory)
    if fault is not None:
        return f"cannot be unpacked: {fault}"
    return directory / "unpacked"


def _run(command: list[str], cwd: Path) -> str | None:
    """Run something to its end; its last line when it failed."""
    ran = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    return None if ran.returncode == 0 else (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
