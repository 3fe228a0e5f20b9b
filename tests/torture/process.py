"""What a process uses: memory, processor time, descriptors and threads, as the kernel tells."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What some processes use at the moment, together.

    Attributes:
        memory: resident bytes.
        cpu: seconds of processor time since their start.
        descriptors: how many are open.
        threads: how many run.
    """

    memory: int
    cpu: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, *pids: int) -> Self:
        """Look now.

        Raises:
            FileNotFoundError: one of them is gone.
        """
        memory = cpu = descriptors = threads = 0
        for pid in pids:
            place = Path(f"/proc/{pid}")
            status = (place / "status").read_text()
            if (resident := re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)) is None:
                raise FileNotFoundError(f"{place}: it has ended, and nobody has waited for it yet")
            memory += int(resident[1]) * 1024
            threads += int(re.findall(r"^Threads:\s+(\d+)$", status, re.MULTILINE)[0])
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            cpu += int(fields[11]) + int(fields[12])
            descriptors += len(list((place / "fd").iterdir()))
        return cls(memory, cpu / os.sysconf("SC_CLK_TCK"), descriptors, threads)
