"""Files in the bundled page: pictures are shown, everything else is saved, and what is too large is refused."""

import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from .browsers import PageTestCase
from .clients import Member
from .support import LOCAL

MIB = 1024 * 1024


class FileTests(PageTestCase):
    """Two windows and another client."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.shared_server(LOCAL)
        self.folder = Path(self.enterContext(TemporaryDirectory()))

    def picture(self, side: int, name: str = "picture.png") -> Path:
        """A picture that does not get smaller by compression: 3 bytes for a pixel."""
        path = self.folder / name
        Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(path, compress_level=0)
        return path

    @staticmethod
    def received(member: Member) -> tuple[dict[str, object], bytes]:
        """The next file another client gets, put together as docs/clients.md says, and its head."""
        first: dict[str, object] = {}
        parts: dict[int, bytes] = {}
        while True:
            frame = member.receive()
            assert isinstance(frame, bytes)
            line, _, data = frame.partition(b"\n")
            head = json.loads(line)
            first = first or head
            parts[head.get("part", 0)] = data
            if len(parts) == head.get("parts", 1):
                return first, b"".join(parts[number] for number in sorted(parts))

    def test_picture(self) -> None:
        """A picture of 1 MiB arrives as it is, and is shown to the others, its sender, and who comes later."""
        path = self.picture(590)
        self.assertGreater(path.stat().st_size, MIB - 8 * 1024)
        data = path.read_bytes().ljust(MIB, b"\0")  # readers of PNG ignore what follows
        path.write_bytes(data)
        bob = self.member(self.server, "bob", self.room)
        alice = self.open(self.server, uid="alice").joined()
        carol = self.open(self.server, uid="carol").joined()
        alice.attach(path)
        head, came = self.received(bob)
        self.assertEqual((head["file"], head["type"], head["uid"]), ("picture.png", "image/png", "alice"))
        self.assertEqual((head["size"], head["parts"]), (MIB, 4))
        self.assertEqual(came, data)
        later = self.open(self.server, uid="dave").joined()
        for page in (alice, carol, later):
            page.wait("document.querySelector('.picture img')?.naturalWidth === 590")
            self.assertEqual(page.ask("document.querySelectorAll('.said').length"), 1)
        carol.click(".picture")
        carol.wait("document.querySelector('#viewer').open && document.querySelector('#viewed').naturalWidth === 590")

    def test_sealed(self) -> None:
        """With a secret, files are sealed as well: the server and who has none see bytes only."""
        path = self.folder / "notes.txt"
        path.write_bytes(b"only for us\n" * 30_000)
        bob = self.member(self.server, "bob", self.room)
        alice = self.open(self.server, f"{self.room}&secret=x", uid="alice").joined()
        carol = self.open(self.server, f"{self.room}&secret=x", uid="carol").joined()
        eve = self.open(self.server, uid="eve").joined()
        alice.attach(path)
        carol.wait("document.querySelector('.file')?.innerText.includes('352 KiB')")
        for _ in range(2):
            frame = bob.receive()
            while isinstance(frame, str):
                frame = bob.receive()
            self.assertNotIn(b"only for us", frame)
            self.assertNotIn(b"notes.txt", frame)
        wanted = "(row) => row.innerText.includes('that this page cannot show)')"
        eve.wait(f"[...document.querySelectorAll('#messages li:not(.day)')].filter({wanted}).length === 2")

    def test_no_programs(self) -> None:
        """What could be a program is saved and never opened, whatever it calls itself; names hide nothing."""
        bob = self.member(self.server, "bob", self.room)
        page = self.open(self.server, uid="alice").joined()
        svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
        for name, kind, data in (
            ("drawing.svg", "image/svg+xml", svg),
            ("page.html", "text/html", b"<script>alert(1)</script>"),
            ("cat\u202egnp.exe", "image/png", b"MZ"),
        ):
            bob.send(json.dumps({"file": name, "type": kind, "uid": "bob"}).encode() + b"\n" + data)
        page.wait("document.querySelectorAll('.file').length === 3")
        self.assertEqual(page.ask("document.querySelectorAll('#messages img').length"), 0)
        names = page.ask("[...document.querySelectorAll('.file')].map(({ download }) => download)")
        self.assertEqual(names, ["drawing.svg", "page.html", "cat\ufffdgnp.exe"])

    def test_broken_picture(self) -> None:
        """What only begins like a picture is there to be saved."""
        bob = self.member(self.server, "bob", self.room)
        page = self.open(self.server, uid="alice").joined()
        bob.send(b'{"file": "x.png", "uid": "bob"}\n\x89PNG\r\n\x1a\nnothing more')
        page.wait("document.querySelector('a.file')?.innerText.includes('x.png')")

    def test_too_large(self) -> None:
        """A file that is too large is refused with words; a picture is made smaller, and says so before it is sent."""
        bob = self.member(self.server, "bob", self.room)
        page = self.open(self.server, uid="alice").joined()
        large = self.folder / "large.bin"
        large.write_bytes(bytes(5 * MIB))
        page.find("#chooser").send_keys(str(large))
        page.wait("document.querySelector('#problem').innerText !== ''")
        self.assertEqual(
            page.find("#problem").text, "large.bin is too large: a file may have 4.0 MiB, and this one has 5.0 MiB."
        )
        page.attach(self.picture(1200, "photo.png"))
        head, came = self.received(bob)
        self.assertEqual((head["file"], head["type"], came[:3]), ("photo.jpg", "image/jpeg", b"\xff\xd8\xff"))
        page.wait("document.querySelector('.picture img')?.naturalWidth === 1200")

    def test_pasted(self) -> None:
        """A picture that is pasted waits beside the text, and may be taken away again."""
        bob = self.member(self.server, "bob", self.room)
        page = self.open(self.server, uid="alice").joined()
        paste = """
        (() => {
          const data = new DataTransfer();
          data.items.add(new File(['hello'], arguments[0]));
          const target = document.querySelector('#text');
          target.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
        })()
        """
        for name in ("one.txt", "two.txt"):
            page.ask(paste, name)
        page.wait("document.querySelectorAll('#staged li').length === 2")
        page.click("[aria-label='Do not send one.txt']")
        page.say("with it")
        self.assertIn("with it", str(bob.receive()))
        head, came = self.received(bob)
        self.assertEqual((head["file"], came), ("two.txt", b"hello"))
        self.assertTrue(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(head["time"])))
