"""Where the suite's Python comes from, and whether a run of it was one."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .suite import NoPython2, Suite, SuiteFailed, find_python2


class FindPython2Tests(SynchronousTestCase):
    """On a machine with some Pythons; those here are scripts that say what a Python would."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.environ = {"HOME": str(self.home), "PATH": str(self.home / "bin")}

    def python(self, path: str, says: str) -> str:
        """Something that claims to be a Python of a version."""
        python = self.home / path
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(f"#!/bin/sh\nprintf '%s' '{says}'\n")
        python.chmod(0o755)
        return str(python)

    def test_path(self) -> None:
        """One on the PATH is found, and taken before those of pyenv."""
        self.python(".pyenv/versions/2.7.18/bin/python2.7", "2.7")
        python = self.python("bin/python2", "2.7")
        self.assertEqual(find_python2(self.environ), python)

    def test_pyenv(self) -> None:
        """One of pyenv is found, in the home directory or where PYENV_ROOT says; its stand-in is passed over."""
        self.python("bin/python2.7", "pyenv: python2.7: command not found")
        python = self.python(".pyenv/versions/2.7.18/bin/python2.7", "2.7")
        self.assertEqual(find_python2(self.environ), python)
        elsewhere = self.python("elsewhere/versions/2.7.9/bin/python2.7", "2.7")
        self.assertEqual(find_python2(self.environ | {"PYENV_ROOT": str(self.home / "elsewhere")}), elsewhere)

    def test_named(self) -> None:
        """The one that is named is taken, and no other in its place."""
        self.python("bin/python2.7", "2.7")
        named = self.python("some/python", "2.7")
        self.assertEqual(find_python2(self.environ | {"MLES_PYTHON2": named}), named)
        for wrong in (self.python("bin/python3", "3.11"), str(self.home / "missing")):
            with self.assertRaises(NoPython2) as raised:
                find_python2(self.environ | {"MLES_PYTHON2": wrong})
            self.assertIn(wrong, str(raised.exception))

    def test_none(self) -> None:
        """Without one, how to get it is said."""
        self.python("bin/python2", "3.11")
        with self.assertRaises(NoPython2) as raised:
            find_python2(self.environ)
        self.assertIn("pyenv install 2.7", str(raised.exception))
        self.assertIn("MLES_PYTHON2", str(raised.exception))


class RunTests(SynchronousTestCase):
    """A run; in the place of the suite's Python is a script that does what the suite would."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.reports = self.directory / "reports"
        self.prepared = self.directory / "prepared"
        self.prepared.mkdir(parents=True)

    def run_script(self, script: str) -> list[str]:
        """The cases of which a run knows something; the script is in the directory of the reports."""
        python = self.directory / "python"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        outcomes = Suite(python).run("it", "ws://127.0.0.1:1", ["1.*"], ["1.2"], self.reports)
        return [outcome.case for outcome in outcomes]

    def prepare(self, *cases: str) -> None:
        """A report that a script may copy."""
        entry = {"behavior": "OK", "behaviorClose": "OK", "duration": 1, "reportfile": "it.json"}
        (self.prepared / "index.json").write_text(json.dumps({"it": dict.fromkeys(cases, entry)}))
        told = dict.fromkeys(("result", "expected", "received", "resultClose", "remoteCloseCode", "remoteCloseReason"))
        (self.prepared / "it.json").write_text(json.dumps(told | {"expectation": "", "expectedClose": {}}))

    def test_specification(self) -> None:
        """The suite is told whom to test, with what, as a client of Mles, and where to write."""
        self.prepare("1.1", "1.3")
        script = """cp ../prepared/* . && cp "$6" ../told.json && echo "Cases = [u'1.1', u'1.3']" """
        self.assertEqual(self.run_script(script), ["1.1", "1.3"])
        self.assertEqual(
            json.loads((self.directory / "told.json").read_text()),
            {
                "outdir": str(self.reports),
                "servers": [{"agent": "it", "url": "ws://127.0.0.1:1", "protocols": ["mles-websocket"]}],
                "cases": ["1.*"],
                "exclude-cases": ["1.2"],
                "exclude-agent-cases": {},
            },
        )

    def test_incomplete(self) -> None:
        """A run that ends before its last case, or at once, is none; what the suite said is told."""
        self.prepare("1.1")
        for script in ("""cp ../prepared/* . && echo "Cases = [u'1.1', u'1.3']" """, "echo Cases that are none"):
            with self.assertRaises(SuiteFailed) as raised:
                self.run_script(script)
            self.assertIn("\nCases ", str(raised.exception))

    def test_old_report(self) -> None:
        """A report that is there already is not taken for one of this run."""
        self.prepare("1.1")
        self.run_script("""cp ../prepared/* . && echo "Cases = [u'1.1']" """)
        with self.assertRaises(SuiteFailed):
            self.run_script("""echo "Cases = [u'1.1']" """)
