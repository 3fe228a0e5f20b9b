"""Which files a real server writes, where, and who may read them: what SECURITY.md says, and nothing else."""

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from .processes import Server, server_environ
from .support import IntegrationTestCase

_SERVE = ("mles-tx", "serve", "--port", "0")


class FilesTests(IntegrationTestCase):
    """A server whose home, state, temporary and working directories are empty."""

    def written(self, *command: str) -> dict[str, str]:
        """What is there when somebody has joined and spoken, each with its mode."""
        scratch = Path(self.enterContext(TemporaryDirectory()))
        for name in ("home", "tmp"):
            (scratch / name).mkdir(mode=0o700)
        server = Server(command, server_environ(scratch / "home", TMPDIR=str(scratch / "tmp")))
        self.addCleanup(server.stop)
        if not server.is_secure:
            member = self.member(server, "alice")
            member.send("hello")
            member.settle()
        found = {}
        for top, prefix in ((scratch, ""), (server.directory, "./")):
            for path in top.rglob("*"):
                mode = f"{stat.S_IMODE(path.lstat().st_mode):o}"
                found[f"{prefix}{path.relative_to(top)}"] = mode
        self.assertEqual({name: found.pop(name) for name in ("home", "tmp")}, {"home": "700", "tmp": "700"})
        return found

    def test_nothing(self) -> None:
        """A server that speaks no TLS and remembers in memory writes nothing at all."""
        self.assertEqual(self.written(*_SERVE), {})

    def test_certificates(self) -> None:
        """One with a certificate of its own making keeps that in the cache directory, for its owner alone."""
        found = self.written(*_SERVE, "--domains", "localhost", "--per-ip-limit", "0")
        cache = "home/state/mles_tx"
        self.assertTrue(found)
        for name, mode in found.items():
            self.assertTrue(name.startswith("home/state"), name)
            if name.startswith(cache):
                self.assertEqual(mode, "600" if "." in Path(name).name else "700", name)

    def test_history(self) -> None:
        """One with a history in a file has that, its lock and its journal there, for its owner alone."""
        found = self.written(*_SERVE, "--history", "sqlite:history.db")
        self.assertLessEqual(set(found), {f"./history.db{suffix}" for suffix in ("", ".lock", "-wal", "-shm")})
        self.assertTrue({"./history.db", "./history.db.lock"} <= set(found))
        self.assertEqual(set(found.values()), {"600"})

    def test_under_twistd(self) -> None:
        """twistd writes its own pid file beside that, and nothing when it is told to write none."""
        self.assertEqual(self.written("twistd", "-n", "--pidfile=", "mles", "--port", "0"), {})
