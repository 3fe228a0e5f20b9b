"""What a server's admin endpoint tells about it."""

import re
import urllib.error
import urllib.request

__all__ = ["metric", "readiness"]

_PATIENCE = 60.0


def metric(port: int, name: str) -> float:
    """A metric, whatever its labels; not a number when there is none."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_PATIENCE).read().decode()
    found = re.search(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def readiness(port: int) -> int:
    """The status with which it says whether it is ready."""
    try:
        return int(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=_PATIENCE).status)
    except urllib.error.HTTPError as error:
        return error.code
