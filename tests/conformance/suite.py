"""The Autobahn|Testsuite: where its Python 2.7 is, its own environment, and a run of its fuzzing client.

The environment is made once, below `DIRECTORY` of the checkout, under a name that tells what is in it; whoever comes
while it is being made waits.
"""

import ast
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.integration.processes import Process

from .outcome import Outcome, read_report

__all__ = [
    "DIRECTORY",
    "INSTALL_SECONDS",
    "RUN_SECONDS",
    "NoPython2",
    "Suite",
    "SuiteFailed",
    "find_python2",
    "install",
]

#: Where everything is kept that the suite needs or makes: git ignores it, `make clean` removes it.
DIRECTORY = Path(__file__).parents[2] / ".conformance"

#: Seconds for what fetches packages from an index.
INSTALL_SECONDS = 600.0

#: Seconds for all cases against one target: a bound, not a measure.
RUN_SECONDS = 600.0

_REQUIREMENTS = Path(__file__).with_name("suite.txt")

#: The last line that makes environments for Python 2.7. It cannot live among our own packages: they want a newer
#: platformdirs than it does.
_VIRTUALENV = "virtualenv==20.21.1"

#: Settings that are meant for our own Python.
_SETTINGS = re.compile("PYTHON|VIRTUAL_ENV|COV|MAKE|MFLAGS")


class NoPython2(Exception):
    """There is no Python 2.7 here; the text says how to get one."""


class SuiteFailed(Exception):
    """The suite could not be installed, or did not do what it was told; the text has what it said."""


def find_python2(environ: Mapping[str, str] = os.environ) -> str:
    """A Python 2.7: the one that ``MLES_PYTHON2`` names, or else the first on the PATH or among pyenv's.

    Raises:
        NoPython2: there is none, or it is not one.
    """
    named = environ.get("MLES_PYTHON2")
    if named:
        if _is_python2(named, environ):
            return named
        raise NoPython2(f"MLES_PYTHON2 is {named}: no Python 2.7")
    pyenv = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME", "/"), ".pyenv"))
    on_path = (shutil.which(name, path=environ.get("PATH", "")) for name in ("python2.7", "python2"))
    of_pyenv = map(str, sorted(pyenv.glob("versions/2.7*/bin/python2.7"), reverse=True))
    for candidate in (*on_path, *of_pyenv):
        # What is on the PATH may be a stand-in of pyenv that only says what could be installed.
        if candidate is not None and _is_python2(candidate, environ):
            return candidate
    raise NoPython2(
        "the Autobahn|Testsuite runs on Python 2.7 only, and there is none here: install one (`pyenv install 2.7`,"
        " or a distribution's python2.7 with its headers), or name it in MLES_PYTHON2"
    )


def _is_python2(python: str, environ: Mapping[str, str]) -> bool:
    command = [python, "-c", "import sys, ssl; sys.stdout.write('%d.%d' % sys.version_info[:2])"]
    try:
        found = subprocess.run(command, env=_clean(environ), capture_output=True, timeout=60, check=False)
    except OSError:
        return False
    return found.stdout == b"2.7"


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not _SETTINGS.match(name)}


def install(python2: str, directory: Path = DIRECTORY) -> "Suite":
    """The suite in its environment, which is made unless it is there.

    Args:
        python2: a Python 2.7.
        directory: where the environment is kept.

    Raises:
        SuiteFailed: it cannot be installed.
    """
    wanted = f"{Path(python2).resolve()}\n{_REQUIREMENTS.read_text()}"
    environment = directory / f"suite-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    complete = environment / "complete"
    directory.mkdir(exist_ok=True)
    with _locked(directory / "lock"):
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)
            _make(environment, python2)
            complete.touch()
    return Suite(environment / "bin" / "python")


def _make(environment: Path, python2: str) -> None:
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    with TemporaryDirectory(prefix="mles-tx-suite-") as scratch:
        tool = Path(scratch, "tool")
        _succeed([sys.executable, *pip, "--no-warn-conflicts", "--target", str(tool), _VIRTUALENV])
        # The update it would begin goes on in the background.
        command = [sys.executable, "-m", "virtualenv", "--quiet", "--python", python2, "--no-periodic-update"]
        _succeed([*command, "--app-data", str(Path(scratch, "data")), str(environment)], PYTHONPATH=str(tool))
    _succeed([str(environment / "bin" / "python"), *pip, "--no-deps", "--requirement", str(_REQUIREMENTS)])


def _succeed(command: Sequence[str], **more: str) -> None:
    process = Process(command, _REQUIREMENTS.parent, _clean(os.environ) | more)
    try:
        code = process.wait(INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        process.stop()
    if code != 0:
        raise SuiteFailed(f"the Autobahn|Testsuite cannot be installed; it needs a C compiler, too:\n{process.output}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Suite:
    """The installed suite.

    Args:
        python: the Python of its environment.
    """

    def __init__(self, python: Path) -> None:
        self._python = python

    def run(self, name: str, url: str, cases: Sequence[str], excluded: Sequence[str], reports: Path) -> list[Outcome]:
        """Run cases of the suite against a server.

        Args:
            name: how the reports are to call the server.
            url: where it is; it is asked for the subprotocol of Mles.
            cases: what to run, with ``*`` for any rest: ``1.*``.
            excluded: what of these not to run.
            reports: a directory for the suite's own reports, ``index.html`` first.

        Returns:
            What came of each case, in the suite's order.

        Raises:
            SuiteFailed: there is a case of which nothing is known.
        """
        reports.mkdir(parents=True, exist_ok=True)
        (reports / "index.json").unlink(missing_ok=True)
        specification = {
            "outdir": str(reports),
            "servers": [{"agent": name, "url": url, "protocols": ["mles-websocket"]}],
            "cases": list(cases),
            "exclude-cases": list(excluded),
            "exclude-agent-cases": {},
        }
        file = reports / "fuzzingclient.json"
        file.write_text(json.dumps(specification))
        command = [str(self._python), "-m", "autobahntestsuite.wstest", "--mode", "fuzzingclient", "--spec", str(file)]
        client = Process(command, reports, _clean(os.environ))
        try:
            client.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            raise SuiteFailed(f"no end after {RUN_SECONDS:.0f} s:\n{client.output}") from None
        finally:
            client.stop()
        listed = re.search(r"^Cases = (\[.*\])$", client.output, re.MULTILINE)
        outcomes = read_report(reports, name)
        if listed is None or [outcome.case for outcome in outcomes] != ast.literal_eval(listed[1]):
            raise SuiteFailed(f"not all cases were run:\n{client.output}")
        return outcomes
