"""Builds the C programs of the benchmark: the load generators, for members and for pages, and the floor."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BuildError", "Programs", "build", "remedy"]

_SOURCES = Path(__file__).parent
_FLAGS = ("-O2", "-Wall", "-Wextra")
_LIBRARIES = ("-lssl", "-lcrypto")


class BuildError(Exception):
    """They cannot be built; the text is one line and names the remedy."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the built programs are."""

    generator: Path
    web_generator: Path
    floor: Path


def build(directory: Path) -> Programs:
    """Compile them into a directory, with `$CC` or cc.

    Raises:
        BuildError: there is no compiler, or something it needs is missing.
    """
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None:
        raise BuildError("there is no C compiler: on Debian, apt-get install gcc libc6-dev libssl-dev (or set CC)")
    programs = Programs(directory / "loadgen", directory / "webload", directory / "floor")
    for program, sources in (
        (programs.generator, ("loadgen.c", "client.c", "dial.c", "measure.c")),
        (programs.web_generator, ("webload.c", "dial.c", "measure.c")),
        (programs.floor, ("floor.c",)),
    ):
        files = [str(_SOURCES / source) for source in sources]
        command = [compiler, *_FLAGS, "-o", str(program), *files, *_LIBRARIES]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            raise BuildError(remedy(ran.stderr))
    return programs


def remedy(output: str) -> str:
    """What to do about a compiler's complaints, in one line."""
    if "openssl/" in output or "-lssl" in output or "-lcrypto" in output:
        return "OpenSSL's headers or libraries are missing: on Debian, apt-get install libssl-dev"
    if ".h: No such file" in output or "crt1.o" in output or "-lc:" in output:
        return "the C library's headers are missing: on Debian, apt-get install libc6-dev"
    lines = [line for line in output.splitlines() if "error" in line] or output.splitlines() or ["no output"]
    return f"the load generator cannot be compiled: {lines[0]}"
