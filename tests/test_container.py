"""The Dockerfile: read as text. Where it can be built, building it shows more."""

import configparser
import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mles_tx.cli import main as command
from mles_tx.service.options import Options

ROOT = Path(__file__).resolve().parents[1]


class DockerfileTests(SynchronousTestCase):
    """What it says is true of this checkout."""

    def setUp(self) -> None:
        text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
        pairs = (line.split(None, 1) for line in text.splitlines() if line.strip())
        self.instructions = [(name, " ".join(rest.split())) for name, rest in pairs]
        self.setup = configparser.ConfigParser()
        self.setup.read(ROOT / "setup.cfg", "utf-8")

    def values(self, wanted: str) -> list[str]:
        """What stands behind an instruction, each time it is there."""
        return [rest for name, rest in self.instructions if name == wanted]

    def copied(self) -> set[str]:
        """What is copied from the checkout."""
        lines = [rest.split() for rest in self.values("COPY") if not rest.startswith("--from")]
        return {source for *sources, _ in lines for source in sources}

    def words(self, wanted: str) -> list[str]:
        """The words of a command that no shell takes apart."""
        (text,) = self.values(wanted)
        words: list[str] = json.loads(text[text.index("[") :])
        return words

    def test_copied(self) -> None:
        """All it copies is in the checkout, and is let through to the builder; folders keep their names."""
        ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
        for source in self.copied():
            self.assertTrue((ROOT / source).exists(), source)
            through = [line for line in ignored if fnmatch(source, line.lstrip("!"))]
            self.assertEqual(through[-1], f"!{source}")
            if (ROOT / source).is_dir():
                self.assertIn(f"{source} {source}", self.values("COPY"))

    def test_whole_package(self) -> None:
        """All the package is made from is copied."""
        options = self.setup["options"]
        names = [*options["packages"].split(), *options["py_modules"].split()]
        needed = {name.split(".")[0] for name in names} | {"page", "static", "pyproject.toml", "setup.cfg"}
        needed |= {self.setup["metadata"]["license_files"], self.setup["metadata"]["long_description"].split()[1]}
        self.assertEqual(self.copied(), needed)

    def test_python(self) -> None:
        """It uses a version of Python that the package is for."""
        for rest in self.values("FROM"):
            if rest == "node:24-slim AS page":
                continue  # fetches what browsers need
            version = re.match(r"python:(\d+\.\d+)-slim\b", rest)
            assert version is not None
            self.assertIn(f"Programming Language :: Python :: {version[1]}", self.setup["metadata"]["classifiers"])

    def test_commands(self) -> None:
        """It starts a command of the package, with options that the server takes and that order no certificate."""
        entry, arguments = self.words("ENTRYPOINT"), self.words("CMD")
        scripts = self.setup["options.entry_points"]["console_scripts"]
        self.assertEqual(entry, [scripts.split("=")[0].strip(), "serve"])
        options = Options({})
        options.parseOptions(arguments)
        config = options.config()
        self.assertEqual(
            (config.domains, config.acme_names, config.listen_interfaces[0]), (("localhost",), (), "0.0.0.0")
        )
        self.assertEqual(self.values("EXPOSE"), [f"80 {config.listen_port}"])

    def test_health(self) -> None:
        """It is asked how it does with a command of the package."""
        (check,) = self.values("HEALTHCHECK")
        program, subcommand = json.loads(check[check.index("[") :])
        self.assertEqual(program, self.words("ENTRYPOINT")[0])
        if subcommand not in [name for name, *_ in command._Options.subCommands]:
            raise SkipTest(f"{program} {subcommand} is not there yet")

    def test_user(self) -> None:
        """It runs as a user without privileges, to whom its state belongs."""
        (user,) = self.values("USER")
        self.assertGreater(int(user), 1000)
        (made,) = [rest for rest in self.values("RUN") if rest.startswith("useradd ")]
        (state,) = json.loads(self.values("VOLUME")[0])
        self.assertIn(f"--uid {user} --home-dir {state} --create-home", made)
        self.assertIn(f"STATE_DIRECTORY={state}", self.values("ENV")[0])
        self.assertEqual(self.values("STOPSIGNAL"), ["SIGTERM"])

    def test_lint(self) -> None:
        """A linter for such files finds nothing."""
        linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
        if linter is None:
            raise SkipTest("hadolint is not installed")
        ran = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
        self.assertEqual((ran.returncode, ran.stdout + ran.stderr), (0, ""))
