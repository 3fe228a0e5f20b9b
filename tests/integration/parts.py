"""Programs of others that the tests need, from the system or, where that may be, fetched for this run."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SkipTest

from .support import INSTALL_SECONDS, build_directory

__all__ = ["debian_libraries", "debian_program", "installed_program", "shared_libraries"]

#: Where programs are, also those that only root usually runs.
_FOLDERS = ("usr/bin", "usr/sbin")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep other processes of the tests waiting: they would find half a program, or the list of packages locked."""
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def debian_program(package: str, name: str, *more: str) -> Path:
    """A program of a Debian package: the installed one, or else unpacked into a directory of the tests' own.

    Args:
        package: the package.
        name: the program.
        more: packages with what it needs besides, as libraries and modules, on a usual system.

    Raises:
        SkipTest: it is not to be had here.
    """
    installed = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if installed is not None:
        return Path(installed)
    unpacked = _unpacked(package, *more)
    if isinstance(unpacked, str):
        raise SkipTest(f"{package} is not installed, and {unpacked}")
    return next(path for folder in _FOLDERS if (path := unpacked / folder / name).exists())


@cache
@_one_at_a_time()
def installed_program(package: str, name: str) -> Path:
    """A program of a Debian package that needs too much else to be unpacked somewhere: root installs it for good.

    Raises:
        SkipTest: it is not to be had here.
    """
    installed = shutil.which(name)
    if installed is not None:
        return Path(installed)
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise SkipTest(f"{package} is not installed, and only root could do that, on Debian")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", package]
    # The lists may be missing, or old.
    fault = _run(install, Path("/")) and (_run(["apt-get", "update"], Path("/")) or _run(install, Path("/")))
    if fault is not None:
        raise SkipTest(f"{package} cannot be installed: {fault}")
    found = shutil.which(name)
    if found is None:
        raise SkipTest(f"{package} has no {name}")
    return Path(found)


def shared_libraries(program: Path) -> dict[str, str]:
    """The variables a program of ours needs in its environment to find its libraries; an installed one needs none."""
    folders = sorted(str(folder) for folder in (program.parents[1] / "lib").glob("*-linux-*"))
    return {"LD_LIBRARY_PATH": os.pathsep.join(folders)} if program.is_relative_to(build_directory()) else {}


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
@_one_at_a_time()
def _unpacked(package: str, *more: str) -> Path | str:
    """Where a package was unpacked, with more of them; or why it was not, which is found out once."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return "this is no Debian to fetch it from"
    directory = build_directory() / "debian" / package
    directory.mkdir(parents=True, exist_ok=True)
    fetch = ["apt-get", "download", package, *more]
    if _run(fetch, directory) is not None and os.geteuid() == 0:
        _run(["apt-get", "update"], directory)  # the lists may be missing, or old
    fault = _run(fetch, directory) if len(list(directory.glob("*.deb"))) < len(fetch) - 2 else None
    if fault is not None:
        return f"cannot be fetched: {fault}"
    for archive in directory.glob("*.deb"):
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
