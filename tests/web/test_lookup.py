"""Which file stands for a path. What may and may not be found is in `test_files` as well, from outside."""

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web import lookup
from mles_tx.web.lookup import Found, Root, Stamp, open_regular
from tests.descriptors import descriptors


class LookupTestCase(SynchronousTestCase):
    """A root in a directory of its own."""

    def setUp(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="mles-tx-test-")).resolve()
        self.addCleanup(shutil.rmtree, self.base)
        self.path = self.base / "site"
        self.path.mkdir()
        self.root = Root(self.path)

    def write(self, name: str, content: bytes = b"content") -> Path:
        """A file below the root."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def found(self, target: bytes) -> Found:
        """What is found at a path: a file."""
        found = self.root.find(target)
        assert isinstance(found, Found), found
        return found


class RootTests(LookupTestCase):
    """Paths and files."""

    def test_paths(self) -> None:
        """Names are decoded once, directories have their index, and one that lacks its slash is told."""
        for name in ("index.html", "a/index.html", "a/b/index.html", "a/b/page one.txt", "empty/file", "100%41"):
            self.write(name)
        for target, expected in (
            (b"/", "index.html"),
            (b"/index.html", "index.html"),
            (b"/a/", "a/index.html"),
            (b"/a/b/", "a/b/index.html"),
            (b"/%61/%62/", "a/b/index.html"),
            (b"/a/b/page%20one.txt", "a/b/page one.txt"),
            (b"/a/b/page one.txt", "a/b/page one.txt"),
            (b"/100%2541", "100%41"),
            (b"/a", True),
            (b"/a/b", True),
            (b"/%61", True),
            (b"/empty", False),
            (b"/empty/", False),
            (b"/a/b/c", False),
            (b"/index.html/", False),
            (b"/a%2fb/", False),
            (b"/a//b/", False),
            (b"/./a/", False),
            (b"/a/../a/", False),
            (b"/%2e%2e/site/index.html", False),
        ):
            found = self.root.find(target)
            where = str(found.path.relative_to(self.path)) if isinstance(found, Found) else found
            self.assertEqual((target, where), (target, expected))

    def test_known(self) -> None:
        """What was found is known: the same file is the same answer, and takes one look."""
        self.write("page.txt")
        found = self.found(b"/page.txt")
        looks: list[object] = []

        def look(path: str) -> os.stat_result:
            looks.append(path)
            return Path(path).stat()

        self.patch(lookup, "_stat", look)
        self.assertIs(self.root.find(b"/page.txt"), found)
        self.assertEqual(looks, [str(self.path / "page.txt")])

    def test_changed(self) -> None:
        """A file that was written to, replaced, removed or made something else is looked for anew."""
        path = self.write("page.txt", b"first")
        first = self.found(b"/page.txt")
        path.write_bytes(b"longer")
        second = self.found(b"/page.txt")
        self.assertNotEqual(first.stamp, second.stamp)
        os.utime(path, ns=(0, second.stamp.mtime_ns))
        other = self.write("other.txt", b"length")
        os.utime(other, ns=(0, second.stamp.mtime_ns))
        other.replace(path)
        third = self.found(b"/page.txt")
        self.assertEqual((third.stamp.size, third.stamp.mtime_ns), (second.stamp.size, second.stamp.mtime_ns))
        self.assertNotEqual(third.stamp, second.stamp)
        path.unlink()
        self.assertIs(self.root.find(b"/page.txt"), False)
        os.mkfifo(path)
        self.assertIs(self.root.find(b"/page.txt"), False)
        path.unlink()
        path.mkdir()
        self.assertIs(self.root.find(b"/page.txt"), False)
        self.write("page.txt/index.html")
        self.assertIs(self.root.find(b"/page.txt"), True)

    def test_link_that_is_turned(self) -> None:
        """A link that leads elsewhere from now on leads there at once; one that leads out is not followed."""
        self.write("old/page.txt", b"old")
        self.write("new/page.txt", b"new")
        (self.base / "page.txt").write_bytes(b"secret")
        link = self.path / "current"
        for target, expected in (("old", "old"), ("new", "new"), ("..", None), ("old", "old"), (".", None)):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
            found = self.root.find(b"/current/page.txt")
            self.assertEqual(found.path.read_text() if isinstance(found, Found) else None, expected)

    def test_root_that_is_turned(self) -> None:
        """The root may be a link that leads to another release tomorrow."""
        releases = [self.base / name for name in ("one", "two")]
        for release in releases:
            release.mkdir()
            (release / "page.txt").write_text(release.name)
        root = Root(self.base / "current")
        self.assertIs(root.find(b"/page.txt"), False)
        for release in releases:
            (self.base / "next").symlink_to(release)
            (self.base / "next").replace(self.base / "current")
            found = root.find(b"/page.txt")
            assert isinstance(found, Found)
            self.assertEqual(found.path, release / "page.txt")

    def test_many_paths(self) -> None:
        """Asking under many names, and long ones, fills no memory."""
        self.write("a/page.txt")
        for number in range(5000):
            name = b"".join(
                b"%%%02x" % byte if number >> bit & 1 else b"%c" % byte for bit, byte in enumerate(b"page.")
            )
            self.found(b"/%61/" + name + b"t%78%74" if number & 32 else b"/a/" + name + b"txt")
            self.root.find(b"/missing-%d" % number)
        (self.path / "here").symlink_to(".")
        self.found(b"/here" * 30 + b"/a/page.txt")
        self.assertLessEqual(len(self.root._known), 4096)
        self.write("deep/" * 300 + "page.txt")
        self.found(b"/deep" * 300 + b"/page.txt")
        self.assertNotIn(b"/deep" * 300 + b"/page.txt", self.root._known)

    def test_links_without_end(self) -> None:
        """A path through thousands of links is refused at once: the system follows forty."""
        (self.path / "l").symlink_to(".")
        self.write("page.txt")
        self.found(b"/l" * 39 + b"/page.txt")
        self.patch(Path, "resolve", None)  # it follows them one by one
        self.assertIs(self.root.find(b"/l" * 8000 + b"/page.txt"), False)

    def test_forget(self) -> None:
        """What has moved can be looked for anew, known or not."""
        self.write("page.txt")
        found = self.found(b"/page.txt")
        self.root.forget(b"/page.txt")
        self.root.forget(b"/nothing")
        again = self.found(b"/page.txt")
        self.assertIsNot(again, found)
        self.assertEqual(again, found)


class OpenTests(LookupTestCase):
    """Opening what was found."""

    def assert_closed(self, found: Found) -> None:
        """It cannot be opened, and nothing stays open."""
        before = descriptors()
        self.assertRaises(OSError, open_regular, found)
        self.assertEqual(descriptors(), before)

    def test_open(self) -> None:
        """A file that is as it was is opened, and no program that is started gets it."""
        self.write("page.txt")
        descriptor = open_regular(self.found(b"/page.txt"))
        self.addCleanup(os.close, descriptor)
        self.assertEqual(os.read(descriptor, 100), b"content")
        self.assertFalse(os.get_inheritable(descriptor))

    def test_replaced(self) -> None:
        """What stands there instead is not opened: another file, a longer one, a FIFO, a link, nothing."""
        path = self.write("page.txt")
        other = self.write("other.txt")
        found = self.found(b"/page.txt")
        path.write_bytes(b"another content")
        self.assert_closed(found)
        path.unlink()
        self.assert_closed(found)
        os.mkfifo(path)
        self.assert_closed(found)
        path.unlink()
        path.symlink_to(other)
        self.assert_closed(found)
        path.unlink()
        path.mkdir()
        self.assert_closed(found)

    def test_directory_that_is_swapped(self) -> None:
        """A directory on the way that has become a link out of the root leads to no file out there."""
        self.write("sub/page.txt", b"ours")
        outside = self.base / "outside"
        outside.mkdir()
        (outside / "page.txt").write_bytes(b"secret")
        found = self.found(b"/sub/page.txt")
        shutil.rmtree(self.path / "sub")
        (self.path / "sub").symlink_to(outside)
        self.assert_closed(found)

    def test_stamp(self) -> None:
        """A stamp has all that changes when a file does."""
        path = self.write("page.txt")
        status = path.stat()
        self.assertEqual(
            Stamp.of(status),
            (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
        )
