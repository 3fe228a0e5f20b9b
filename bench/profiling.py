"""Where our server spends its time under one workload: it runs under cProfile."""

import pstats
import sys
from pathlib import Path
from typing import TextIO

from .build import Programs
from .generator import measure
from .running import Effort
from .servers import start_ours
from .workloads import Workload

__all__ = ["profile"]

_FUNCTIONS = 30


def profile(programs: Programs, directory: Path, workload: Workload, effort: Effort, output: TextIO) -> Path:
    """Run a workload once, and print the most expensive functions by their own time.

    Returns:
        the file with all of the profile, for pstats.

    Raises:
        GeneratorError, ServerError: it went wrong.
    """
    file = directory / f"{workload.name}.prof"
    target = start_ours(directory, workload.history, (sys.executable, "-m", "cProfile", "-o", str(file)))
    assert target.process is not None
    try:
        measure(programs, target, workload, effort.seconds, effort.warm_up)
    finally:
        target.process.stop()
    pstats.Stats(str(file), stream=output).sort_stats("tottime").print_stats(_FUNCTIONS)
    return file
