"""Fuzzing as long as one likes, guided by what the code does with the bytes: ``python -m tests.fuzz --target NAME``.

What is found is written to the directory of `--found`; put it into the corpus together with what mends it.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

from . import CORPUS, TARGETS, target

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Fuzz one subject; ends the process: with code 0 when the time is over and nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Try bytes that nobody thinks of.")
    parser.add_argument("--target", choices=TARGETS, required=True, help="what is tried")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for how long; default: 60")
    parser.add_argument("--found", type=Path, default=Path("_fuzz_found"), metavar="DIR", help="where findings go")
    given = parser.parse_args(arguments)
    given.found.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["mles_tx"]):
        subject = target(given.target)
    with TemporaryDirectory() as seeds:
        for number, seed in enumerate(subject.seeds()):
            (Path(seeds) / f"{number}").write_bytes(seed)
        kept = CORPUS / given.target
        # What it learns goes into the first directory, and is not kept.
        options = [
            f"-max_total_time={given.seconds}",
            f"-artifact_prefix={given.found}/{given.target}-",
            "-max_len=4096",
        ]
        directories = [seeds, *([str(kept)] if kept.is_dir() else [])]
        atheris.Setup([sys.argv[0], *options, *directories], subject.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
