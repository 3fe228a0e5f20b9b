"""The units that `mles-tx install-unit` prints, as systemd reads them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mles_tx.cli.unit_files import Unit, service_unit

from .parts import debian_program
from .processes import WAIT, server_environ

#: What a unit may be exposed to at the most, from 0 to 10, as `systemd-analyze security` counts; 2.0 and less is good.
_EXPOSURE = 2.0

_OPTIONS = ("--domains", "example.org", "--redirect", "--drain", "20")

#: Where Debian has the service manager itself.
_SYSTEMD = Path("/lib/systemd/systemd")


class UnitTests(SynchronousTestCase):
    """systemd's own judgement."""

    def setUp(self) -> None:
        self.directory = Path(self.enterContext(TemporaryDirectory(prefix="mles-")))
        self.analyze = str(debian_program("systemd", "systemd-analyze"))
        ran = self.run_command(self.analyze, "--version")
        if ran.returncode != 0:  # unpacked and not installed, it lacks its libraries
            raise SkipTest(f"systemd-analyze does not run here: {ran.stderr.strip()}")

    def run_command(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command that has ended."""
        environ = server_environ(self.directory, SYSTEMD_UNIT_PATH=f"{self.directory}:")
        return subprocess.run(
            command, cwd=self.directory, env=environ, capture_output=True, text=True, timeout=2 * WAIT
        )

    def install(self, *options: str, suffix: str = "service") -> Path:
        """A unit that has been printed to where systemd looks."""
        ran = self.run_command(
            str(Path(sys.executable).with_name("mles-tx")), "install-unit", *options, "--", *_OPTIONS
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        path = self.directory / f"mles-tx.{suffix}"
        path.write_text(ran.stdout)
        return path

    def assert_good(self, *units: Path) -> None:
        """systemd understands all of it, and finds what it starts."""
        ran = self.run_command(self.analyze, "verify", "--man=no", *(str(unit) for unit in units))
        about_ours = [line for line in ran.stderr.splitlines() if "mles" in line]
        self.assertEqual((ran.returncode, about_ours), (0, []), ran.stderr)

    def test_service(self) -> None:
        """The service is in order, and exposed to little."""
        unit = self.install()
        self.assert_good(unit)
        self.assert_exposed_to_little(unit)

    def test_activated(self) -> None:
        """The pair for socket activation is in order."""
        unit = self.install("--activated")
        self.assert_good(unit, self.install("--socket", suffix="socket"))
        self.assert_exposed_to_little(unit)

    def test_the_check_itself(self) -> None:
        """What is wrong is found."""
        unit = self.install()
        unit.write_text(unit.read_text().replace("DynamicUser=yes", "DynamicUser=perhaps"))
        ran = self.run_command(self.analyze, "verify", "--man=no", str(unit))
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("mles-tx.service", ran.stderr)

    def assert_exposed_to_little(self, unit: Path) -> None:
        ran = self.run_command(self.analyze, "security", "--offline=true", "--no-pager", str(unit))
        exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", ran.stdout)
        if exposure is None:
            raise SkipTest(f"this systemd does not judge files: {ran.stderr}")
        self.assertLessEqual(float(exposure[1]), _EXPOSURE)

    def test_words(self) -> None:
        """Whatever stands on the command line, systemd has it as it was."""
        if not _SYSTEMD.exists() or os.geteuid() != 0:
            raise SkipTest("this takes the service manager itself, and root to start it as somebody else")
        self.directory.chmod(0o755)
        words = ["a b", "100%", "$HOME", "${HOME}", "", ";", "it's", 'a "b"', "back\\slash", "-x", "%%n", "grüße", "#"]
        program = self.directory / "a program $x 5%"
        program.symlink_to("/bin/echo")
        unit = Unit("mles-tx", [str(program), *words], "me", 15, False, False, False)
        (self.directory / "mles-tx.service").write_text(service_unit(unit))
        runtime = self.directory / "run"
        runtime.mkdir()
        os.chown(runtime, 65534, 65534)
        environ = {"SYSTEMD_UNIT_PATH": f"{self.directory}:", "XDG_RUNTIME_DIR": str(runtime), "LANG": "C.UTF-8"}
        ran = subprocess.run(
            [str(_SYSTEMD), "--test", "--user", "--unit=mles-tx.service", "--log-target=console"],
            env={**environ, "HOME": "/"},
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=2 * WAIT,
        )
        line = re.search(rf"Command Line: (\"?{re.escape(str(self.directory))}.*)", ran.stdout + ran.stderr)
        assert line is not None, ran.stdout + ran.stderr
        read = [word.replace("\\$", "$") for word in shlex.split(line[1])]
        # Variables are looked for when it is started, and not in the program's name.
        self.assertEqual([read[0], *(word.replace("$$", "$") for word in read[1:])], [str(program), *words])
