"""What is sent for a path."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.choice import Choice, Choices
from mles_tx.web.lookup import Root
from mles_tx.web.negotiation import IDENTITY_ONLY, acceptable_codings

#: When the files were written: Sat, 02 Jan 2021 03:04:05 GMT.
WRITTEN = 1609556645

ANY = b"gzip, deflate, br, zstd"

LONG = b"a text " * 100


class ChoiceTestCase(SynchronousTestCase):
    """A site in a directory of its own."""

    def setUp(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="mles-tx-test-")).resolve()
        self.addCleanup(shutil.rmtree, self.base)
        self.path = self.base / "site"
        self.choices = Choices(Root(self.path))

    def write(self, name: str, content: bytes = LONG, age: float = 0) -> Path:
        """A file of the site, so many seconds older than usual."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (WRITTEN - age, WRITTEN - age))
        return path

    def choose(self, target: bytes, accepted: bytes | None = ANY) -> Choice:
        """What is chosen: something."""
        choice = self.choices.choose(target, acceptable_codings(accepted))
        assert isinstance(choice, Choice), choice
        return choice

    def fields(self, choice: Choice) -> dict[str, str]:
        """Its headers."""
        self.assertEqual(len(dict(choice.fields)), len(choice.fields))
        return {name.decode(): value.decode() for name, value in choice.fields}


class CodingTests(ChoiceTestCase):
    """In which coding a file is sent."""

    def chosen(self, target: bytes, accepted: bytes | None) -> str:
        """The coding, and whether it is made or ready."""
        choice = self.choose(target, accepted)
        kind = " made" if choice.is_made else "" if choice.sent is choice.asked else f" {choice.sent.path.suffix}"
        self.assertEqual(self.fields(choice).get("content-encoding", "identity"), choice.coding)
        self.assertEqual(self.fields(choice)["vary"], "Accept-Encoding")
        return choice.coding + kind

    def test_made(self) -> None:
        """Of what a client wants equally zstd is made first, then br, then gzip; else what it wants most."""
        self.write("app.js")
        for accepted, expected in (
            (None, "identity"),
            (b"", "identity"),
            (b"identity", "identity"),
            (b"deflate", "identity"),
            (b"gzip", "gzip made"),
            (b"gzip, br", "br made"),
            (b"gzip, br, zstd", "zstd made"),
            (b"*", "zstd made"),
            (b"*;q=0", "identity"),
            (b"gzip;q=1, br;q=0.9", "gzip made"),
            (b"zstd;q=0, *", "br made"),
            (b"gzip;q=0.5, identity", "identity"),
            (b"gzip, identity", "gzip made"),
            (b"identity;q=0", "identity"),
            (b"identity;q=0, gzip;q=0.1", "gzip made"),
        ):
            self.assertEqual((accepted, self.chosen(b"/app.js", accepted)), (accepted, expected))

    def test_ready_made(self) -> None:
        """Of what a client wants equally a ready-made file comes before one that had to be made."""
        self.write("app.js")
        self.write("app.js.gz", b"gz")
        for accepted, expected in (
            (ANY, "gzip .gz"),
            (b"*", "gzip .gz"),
            (b"gzip", "gzip .gz"),
            (b"br", "br made"),
            (b"br, gzip;q=0.9", "br made"),
            (b"gzip;q=0", "identity"),
            (b"identity, gzip;q=0.9", "identity"),
            (b"identity, gzip", "gzip .gz"),
            (None, "identity"),
        ):
            self.assertEqual((accepted, self.chosen(b"/app.js", accepted)), (accepted, expected))
        self.write("app.js.br", b"br")
        self.assertEqual(self.chosen(b"/app.js", ANY), "br .br")
        self.write("app.js.zst", b"zst")
        self.assertEqual(self.chosen(b"/app.js", ANY), "zstd .zst")
        self.assertEqual(self.chosen(b"/app.js", b"gzip, br"), "br .br")

    def test_ready_made_of_any_kind(self) -> None:
        """A ready-made file is used for any type and any size."""
        self.write("picture.png", b"")
        self.write("picture.png.br", b"br")
        self.write("large.txt", bytes(5_000_000))
        self.write("large.txt.gz", b"gz")
        self.assertEqual(self.chosen(b"/picture.png", ANY), "br .br")
        self.assertEqual(self.chosen(b"/large.txt", ANY), "gzip .gz")
        self.assertEqual(self.chosen(b"/large.txt", b"br"), "identity")

    def test_index(self) -> None:
        """The index of a directory has ready-made files like any other."""
        self.write("sub/index.html")
        self.write("sub/index.html.br", b"br")
        self.assertEqual(self.chosen(b"/sub/", ANY), "br .br")

    def test_stale(self) -> None:
        """One that was made before the file was changed is not used; two seconds are nothing."""
        self.write("app.js")
        for age, expected in ((-10, "br .br"), (0, "br .br"), (2, "br .br"), (2.5, "zstd made"), (3600, "zstd made")):
            self.write("app.js.br", b"br", age)
            self.assertEqual((age, self.chosen(b"/app.js", ANY)), (age, expected))

    def test_not_regular(self) -> None:
        """What stands there and is no file is not used: a link, a directory, a FIFO."""
        self.write("app.js")
        self.write("elsewhere.br", b"br")
        ready = self.path / "app.js.br"
        for make in (
            lambda: ready.symlink_to("elsewhere.br"),
            lambda: ready.symlink_to("/etc/passwd"),
            lambda: ready.symlink_to("app.js.br"),
            lambda: os.mkfifo(ready),
        ):
            make()
            self.assertEqual(self.chosen(b"/app.js", ANY), "zstd made")
            ready.unlink()
        ready.mkdir()
        self.assertEqual(self.chosen(b"/app.js", ANY), "zstd made")

    def test_not_worth_it(self) -> None:
        """Small files, very large ones, and what is compressed already are sent as they are."""
        for name, size, expected in (
            ("a.txt", 0, "identity"),
            ("b.txt", 511, "identity"),
            ("c.txt", 512, "zstd"),
            ("d.txt", 4 * 1024 * 1024, "zstd"),
            ("e.txt", 4 * 1024 * 1024 + 1, "identity"),
            ("f.png", 5000, "identity"),
            ("g.woff2", 5000, "identity"),
            ("h.wasm", 5000, "zstd"),
            ("i.unknown", 5000, "identity"),
        ):
            self.write(name, bytes(size))
            self.assertEqual((name, self.choose(b"/" + name.encode()).coding), (name, expected))


class FieldTests(ChoiceTestCase):
    """The headers of what is sent."""

    def test_table(self) -> None:
        """Type, tag, time, Cache-Control, Vary, and for JSON who may read it."""
        text, both = {"vary": "Accept-Encoding"}, {"vary": "Accept-Encoding", "content-encoding": "zstd"}
        for name, size, accepted, expected in (
            ("page.html", 7, ANY, {"content-type": "text/html; charset=utf-8"} | text),
            ("app.mjs", 700, ANY, {"content-type": "text/javascript; charset=utf-8"} | both),
            ("app.mjs", 700, None, {"content-type": "text/javascript; charset=utf-8"} | text),
            ("code.wasm", 700, ANY, {"content-type": "application/wasm"} | both),
            ("picture.png", 700, ANY, {"content-type": "image/png"}),
            ("MlesTalk.apk", 700, ANY, {"content-type": "application/vnd.android.package-archive"}),
            ("unknown", 700, ANY, {"content-type": "application/octet-stream"}),
            (
                "data.json",
                700,
                ANY,
                {"content-type": "application/json; charset=utf-8", "access-control-allow-origin": "*"} | both,
            ),
            (
                "site.webmanifest",
                7,
                None,
                {"content-type": "application/manifest+json; charset=utf-8", "access-control-allow-origin": "*"} | text,
            ),
            (
                "app.3f2a9c1b.css",
                700,
                None,
                {
                    "content-type": "text/css; charset=utf-8",
                    "cache-control": "public, max-age=31536000, immutable",
                }
                | text,
            ),
        ):
            self.write(name, bytes(size))
            coding = "-zstd" if expected.get("content-encoding") else ""
            whole = {
                "accept-ranges": "bytes",
                "cache-control": "no-cache",
                "etag": f'"{WRITTEN * 10**9:x}-{size:x}{coding}"',
                "last-modified": "Sat, 02 Jan 2021 03:04:05 GMT",
                **expected,
            }
            self.assertEqual((name, self.fields(self.choose(b"/" + name.encode(), accepted))), (name, whole))

    def test_tags(self) -> None:
        """Each coding of a file has a tag of its own, and so has each state of it."""
        path = self.write("app.js")
        tags = [self.choose(b"/app.js", accepted).tag for accepted in (None, b"gzip", b"br", b"zstd")]
        self.write("app.js.br", b"br", -1)
        tags.append(self.choose(b"/app.js", b"br").tag)
        self.write("app.js.br", b"br", -2)
        tags.append(self.choose(b"/app.js", b"br").tag)
        path.write_bytes(LONG + b"!")
        os.utime(path, (WRITTEN, WRITTEN))
        tags.append(self.choose(b"/app.js", None).tag)
        os.utime(path, ns=(0, WRITTEN * 10**9 + 1))
        tags.append(self.choose(b"/app.js", None).tag)
        self.assertEqual(len(set(tags)), len(tags))
        self.assertEqual([tag for tag in tags if not (tag.startswith(b'"') and tag.endswith(b'"'))], [])

    def test_time_of_a_ready_made_file(self) -> None:
        """The time that is shown is the asked file's: it is what has changed or not."""
        self.write("app.js")
        self.write("app.js.br", b"br", -3600)
        choice = self.choose(b"/app.js")
        self.assertEqual(choice.modified, WRITTEN)
        self.assertEqual(self.fields(choice)["last-modified"], "Sat, 02 Jan 2021 03:04:05 GMT")

    def test_time_to_come(self) -> None:
        """A time to come is not shown; nor does one before 1970 do any harm."""
        path = self.write("app.js")
        os.utime(path, (time.time() + 3600,) * 2)
        self.assertNotIn("last-modified", self.fields(self.choose(b"/app.js")))
        os.utime(path, (-10, -10))
        self.assertEqual(self.fields(self.choose(b"/app.js"))["last-modified"], "Wed, 31 Dec 1969 23:59:50 GMT")

    def test_vary(self) -> None:
        """It depends on Accept-Encoding whatever this client takes, once there is a choice."""
        self.write("picture.png")
        self.assertNotIn("vary", self.fields(self.choose(b"/picture.png", None)))
        self.write("picture.png.br", b"br")
        for accepted in (None, ANY):
            self.assertEqual(self.fields(self.choose(b"/picture.png", accepted))["vary"], "Accept-Encoding")


class KnownTests(ChoiceTestCase):
    """Choices that are remembered."""

    def test_same(self) -> None:
        """As long as nothing has changed the choice is the same object, for each set of codings."""
        self.write("app.js")
        self.assertIs(self.choose(b"/app.js"), self.choose(b"/app.js", b"zstd, br, gzip"))
        self.assertIsNot(self.choose(b"/app.js"), self.choose(b"/app.js", b"gzip"))

    def test_changes(self) -> None:
        """Whatever is changed is seen at once: the file, a ready-made file that comes, changes or goes."""
        path = self.write("app.js")
        self.assertEqual(self.choose(b"/app.js").coding, "zstd")
        ready = self.write("app.js.gz", b"gz")
        self.assertEqual(self.choose(b"/app.js").sent.path, ready)
        ready.write_bytes(b"another")
        self.assertEqual(self.choose(b"/app.js").sent.stamp.size, 7)
        ready.unlink()
        self.assertEqual(self.choose(b"/app.js").coding, "zstd")
        path.write_bytes(b"short")
        self.assertEqual(self.choose(b"/app.js").coding, "identity")
        path.unlink()
        self.assertIs(self.choices.choose(b"/app.js", IDENTITY_ONLY), False)

    def test_directory_that_is_renamed(self) -> None:
        """A release that is moved aside while the link follows it is served on, from its new place."""
        self.write("one/app.js")
        self.write("one/app.js.gz", b"gz")
        link = self.path / "current"
        link.symlink_to("one")
        self.assertEqual(self.choose(b"/current/app.js").coding, "gzip")
        (self.path / "one").rename(self.path / "two")
        link.unlink()
        link.symlink_to("two")
        for _ in range(2):
            self.assertEqual(self.choose(b"/current/app.js").sent.path, self.path / "two" / "app.js.gz")

    def test_directory_that_is_hidden(self) -> None:
        """What was served and is now in a hidden directory, or outside, is served no more through a link."""
        for place in (self.path / ".old", self.base / "outside"):
            self.write("one/page.txt")
            link = self.path / "current"
            link.symlink_to("one")
            self.choose(b"/current/page.txt")
            (self.path / "one").rename(place)
            link.unlink()
            link.symlink_to(place)
            self.assertIs(self.choices.choose(b"/current/page.txt", IDENTITY_ONLY), False)
            link.unlink()

    def test_missing(self) -> None:
        """Nothing is nothing, and a directory lacks its slash, as the root says."""
        self.write("sub/index.html")
        self.assertIs(self.choices.choose(b"/sub", IDENTITY_ONLY), True)
        self.assertIs(self.choices.choose(b"/missing", IDENTITY_ONLY), False)

    def test_memory_is_bounded(self) -> None:
        """However many paths are asked for in however many ways, few are remembered, and no long ones."""
        self.write("abcdefghijkl.txt")
        for number in range(4500):
            name = b"".join(
                b"%%%02x" % byte if number >> bit & 1 else b"%c" % byte for bit, byte in enumerate(b"abcdefghijkl")
            )
            self.choose(b"/" + name + (b".txt" if number < 4096 else b".%74xt"), b"gzip" if number % 2 else b"br")
        self.assertEqual(len(self.choices._known), 4096)
        self.write("deep/" * 300 + "page.txt")
        self.choose(b"/deep" * 300 + b"/page.txt")
        self.assertNotIn(b"/deep" * 300 + b"/page.txt", [target for target, _ in self.choices._known])

    def test_busy_directory(self) -> None:
        """In a directory where something changes all the time the right thing is found each time."""
        self.write("app.js")
        for number in range(1000):
            self.write(f"other-{number}", b"")
            self.assertEqual(self.choose(b"/app.js").coding, "zstd")
