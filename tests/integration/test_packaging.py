"""The package as users get it: built from a clean checkout, installed into an environment of its own, and run there."""

import shutil
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from .clients import join_frame
from .support import LOCAL, SECURE, IntegrationTestCase, build_directory, copy_checkout

#: Files the wheel has to have, besides the modules.
WANTED = (
    "mles_tx/py.typed",
    "mles_tx/static/localhost/index.html",
    "mles_tx/static/localhost/chat/session.js",
    "twisted/plugins/mles_plugin.py",
)

#: Those that it has from npm.
FETCHED = (
    "mles_tx/static/localhost/vendor/index.json",
    "mles_tx/static/localhost/vendor/@noble/ciphers/chacha.js",
    "mles_tx/static/localhost/vendor/@noble/ciphers/LICENSE",
)


class PackagingTests(IntegrationTestCase):
    """From a checkout to a running server."""

    def test_wheel(self) -> None:
        """The wheel installs with what it needs; from any directory twistd knows it, and it serves page and members."""
        directory = build_directory() / "packaging"
        copy_checkout(directory / "checkout")
        self.run_to_end(
            [sys.executable, "-m", "build", "--wheel", "--outdir", str(directory), "checkout"], cwd=directory
        )
        (wheel,) = directory.glob("*.whl")
        environment = directory / "environment"
        self.run_to_end([sys.executable, "-m", "venv", str(environment)], cwd=directory)
        binaries = environment / "bin"
        self.run_to_end([str(binaries / "python"), "-m", "pip", "install", "--quiet", str(wheel)], cwd=directory)
        (directory / "checkout").rename(directory / "checkout that is gone")
        self._check_files(binaries)
        elsewhere = directory / "elsewhere"
        elsewhere.mkdir()
        self.assertRegex(
            self.run_to_end([str(binaries / "twistd"), "--help"], cwd=elsewhere), r"(?m)^ +mles +A Mles v2 server"
        )
        for name, *arguments in (LOCAL, SECURE):
            self._check_server(str(binaries / name), *arguments)
        if not self.is_complete:
            raise SkipTest("npm is not here: the wheel was built without what the page takes from it, and is fine else")

    def _check_files(self, binaries: Path) -> None:
        """What is installed is there, tests and build files are not, and the metadata fit together."""
        python = str(binaries / "python")
        listed = self.run_to_end([python, "-m", "pip", "show", "--files", "mles_tx"], cwd=binaries)
        files = {line.strip() for line in listed.splitlines()}
        self.is_complete = shutil.which("npm") is not None
        wanted = (*WANTED, *FETCHED) if self.is_complete else WANTED
        self.assertEqual([name for name in wanted if name not in files], [])
        self.assertEqual([name for name in files if name.startswith(("page/", "tests/", "static/"))], [])
        self.run_to_end([python, "-m", "pip", "check"], cwd=binaries)

    def _check_server(self, *command: str) -> None:
        server = self.start_server(*command, environ={"PYTHONPATH": ""})
        page = self.raw(server).request()
        self.assertEqual((page.status, page.header("Content-Type")), (200, "text/html; charset=utf-8"))
        self.assertEqual(
            page.body, (build_directory() / "packaging/checkout that is gone/static/localhost/index.html").read_bytes()
        )
        alice = self.member(server, "alice")
        bob = self.member(server, "bob")
        self.assertEqual(bob.receive(), join_frame("alice", self.channel))
        bob.send("installed")
        self.assertEqual(alice.receive(), "installed")
        self.assert_healthy(server)
