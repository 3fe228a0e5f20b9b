"""Giving up root: what can be looked up in this process, and what takes one of its own."""

import grp
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import mles_tx
from mles_tx.service.privileges import Account, PrivilegeError, become, find_account, hand_over, unusable

ROOT = Path(mles_tx.__file__).parents[1]

DAEMON = pwd.getpwnam("daemon")


class FindAccountTests(SynchronousTestCase):
    """Whom a text names."""

    def test_found(self) -> None:
        """By name or number, with the user's group or another one."""
        home = Path(DAEMON.pw_dir)
        account = Account(DAEMON.pw_uid, DAEMON.pw_gid, "daemon", home if home.is_dir() else None)
        group = grp.getgrnam("nogroup" if any(entry.gr_name == "nogroup" for entry in grp.getgrall()) else "nobody")
        other = Account(account.uid, group.gr_gid, "daemon", account.home)
        for text, found in (
            ("daemon", account),
            (str(DAEMON.pw_uid), account),
            (f"daemon:{group.gr_name}", other),
            (f"{DAEMON.pw_uid}:{group.gr_gid}", other),
            ("12345:54321", Account(12345, 54321)),
        ):
            self.assertEqual((text, find_account(text)), (text, found))

    def test_shown(self) -> None:
        """By its name, if it has one."""
        self.assertEqual([str(find_account(text)) for text in ("daemon", "12345:1")], ["daemon", "12345"])

    def test_no_home(self) -> None:
        """A home that is not there is none."""
        self.patch(pwd, "getpwnam", lambda name: pwd.struct_passwd((*DAEMON[:5], "/nonexistent/home", "")))
        self.assertIsNone(find_account("daemon").home)

    def test_not_found(self) -> None:
        """Who is not there, has no group, or is root cannot be meant."""
        user = "no such user on this machine; make one (useradd --system), or give another"
        group = "no such group on this machine; make one (groupadd --system), or give another"
        root = "that is root; give a user that has no privileges"
        for text, message in (
            ("", user),
            ("no-such-user", user),
            (":daemon", user),
            ("-1", user),
            ("1" * 12, user),
            ("12345", "a number without a name has no group: give USER:GROUP"),
            ("daemon:", group),
            ("daemon:no-such-group", group),
            ("root", root),
            ("0", root),
            ("0:1", root),
            ("root:daemon", root),
        ):
            error = self.assertRaises(PrivilegeError, find_account, text)
            self.assertEqual((text, str(error)), (text, message))


class BecomeTests(SynchronousTestCase):
    """Becoming somebody else."""

    def run_as_root(self, script: str) -> str:
        """What a process of root's prints."""
        if os.geteuid() != 0:
            raise SkipTest("this takes root")
        given = f"import os\nfrom mles_tx.service.privileges import *\n{script}"
        ran = subprocess.run([sys.executable, "-c", given], cwd=ROOT, capture_output=True, text=True, timeout=60)
        self.assertEqual(ran.stderr, "")
        return ran.stdout

    def test_for_good(self) -> None:
        """It has that user's numbers and groups alone, and no way back; once more, nothing happens."""
        out = self.run_as_root(
            "os.setgroups([0, 1, 2])\n"
            "account = find_account('daemon')\n"
            "become(account)\n"
            "print(os.getresuid(), os.getresgid(), os.getgroups())\n"
            "become(account)\n"
            "for back in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):\n"
            "    try:\n        back()\n    except PermissionError as error:\n        print(error.strerror)\n"
            "print(open('/proc/self/status').read())"
        )
        uid, gid = DAEMON.pw_uid, DAEMON.pw_gid
        groups = os.getgrouplist("daemon", gid)
        numbers, *refused, status = out.split("\n", 4)
        self.assertEqual(numbers, f"{(uid,) * 3} {(gid,) * 3} {groups}")
        self.assertEqual(refused, ["Operation not permitted"] * 3)
        self.assertIn("CapEff:\t0000000000000000", status)
        self.assertIn("CapPrm:\t0000000000000000", status)

    def test_number(self) -> None:
        """A number without a name has its one group."""
        out = self.run_as_root("become(find_account('12345:54321'))\nprint(os.getresuid(), os.getgroups())")
        self.assertEqual(out, "(12345, 12345, 12345) [54321]\n")

    def test_not_root(self) -> None:
        """Only root can."""
        out = self.run_as_root(
            "become(find_account('12345:54321'))\n"
            "try:\n    become(find_account('daemon'))\nexcept PrivilegeError as error:\n    print(error)"
        )
        self.assertEqual(out, "only root can become somebody else: start as root, or leave the option away\n")

    def test_forbidden(self) -> None:
        """A root that may not, as in some containers, is told what it takes."""
        if os.geteuid() != 0:
            raise SkipTest("this takes root")

        def refuse(*numbers: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "setgroups", refuse)
        error = self.assertRaises(PrivilegeError, become, Account(12345, 54321))
        self.assertEqual(
            str(error),
            "Operation not permitted; in a container, allow CAP_SETUID and CAP_SETGID, or start as that user",
        )

    def test_not_given_up(self) -> None:
        """When root could be taken back it does not go on."""
        if os.geteuid() != 0:
            raise SkipTest("this takes root")
        for name in ("setgroups", "setresgid", "setresuid"):
            self.patch(os, name, lambda *numbers: None)
        error = self.assertRaises(PrivilegeError, become, Account(12345, 54321))
        self.assertEqual(str(error), "root can be taken back, so it was not given up; start as that user")


class DirectoryTests(SynchronousTestCase):
    """What it needs to go on."""

    def setUp(self) -> None:
        self.directory = Path(self.enterContext(TemporaryDirectory(prefix="mles-")))
        self.me = Account(os.geteuid(), os.getegid())

    def test_hand_over(self) -> None:
        """Directories that are missing are made for the user alone; what is there stays as it is."""
        account = Account(12345, 54321) if os.geteuid() == 0 else self.me
        path = self.directory / "a" / "b"
        hand_over(path, account)
        for made in (path, path.parent):
            self.assertEqual(
                (made.stat().st_uid, made.stat().st_gid, stat.S_IMODE(made.stat().st_mode)),
                (account.uid, account.gid, 0o700),
            )
        self.assertEqual(self.directory.stat().st_uid, os.geteuid())
        path.chmod(0o750)
        hand_over(path, account)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o750)

    def test_cannot_be_made(self) -> None:
        """Below a file there is no directory."""
        (self.directory / "file").write_text("")
        self.assertRaises(OSError, hand_over, self.directory / "file" / "b", self.me)

    def test_unusable(self) -> None:
        """What root has left behind is found, wherever it lies; what is not there is no fault."""
        self.assertIsNone(unusable(self.directory / "missing"))
        self.assertIsNone(unusable(self.directory))
        (self.directory / "certificates").mkdir()
        for name in ("account.pem", "certificates/example.org.pem"):
            (self.directory / name).write_text("")
        self.assertIsNone(unusable(self.directory))
        for name in ("account.pem", "certificates/example.org.pem", "certificates", "."):
            path = self.directory / name
            self.assertEqual(self.seen_by_another(path), str(path))

    def seen_by_another(self, path: Path) -> str:
        """What a user finds unusable when something is closed to all but its owner."""
        if os.geteuid() != 0:
            raise SkipTest("this takes root")
        everything = [self.directory, *self.directory.rglob("*")]
        for one in everything:
            os.chown(one, 12345, 54321)
        os.chown(path, 0, 0)
        mode = path.stat().st_mode
        path.chmod(0o700)
        script = (
            "import sys\nfrom pathlib import Path\nfrom mles_tx.service.privileges import *\n"
            "become(find_account('12345:54321'))\nprint(unusable(Path(sys.argv[1])))"
        )
        ran = subprocess.run(
            [sys.executable, "-c", script, str(self.directory)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(ran.stderr, "")
        path.chmod(mode)
        return ran.stdout.strip()
