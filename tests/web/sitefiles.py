"""A site with files of all kinds, in memory but for the files."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

from mles_tx.web.files import SiteFiles
from mles_tx.web.hosts import make_site
from tests.descriptors import descriptors

from .asking import Reply, WebTestCase, get

__all__ = ["SECRET", "WRITTEN", "SiteFilesTestCase"]

SECRET = b"not for everybody"

#: When the files were written: Sat, 02 Jan 2021 03:04:05 GMT.
WRITTEN = 1609556645


class SiteFilesTestCase(WebTestCase):
    """A site's directory."""

    def setUp(self) -> None:
        super().setUp()
        self.base = Path(tempfile.mkdtemp(prefix="mles-tx-test-"))
        self.addCleanup(shutil.rmtree, self.base)
        self.root = self.base / "site"
        self.site = make_site({"localhost": SiteFiles(self.root, self.stock())})

    def write(self, name: str, content: bytes) -> Path:
        """A file below the root, of a known time."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (WRITTEN, WRITTEN))
        return path

    def link(self, name: str, target: str | Path) -> None:
        """A symbolic link below the root."""
        (self.root / name).symlink_to(target)

    def fill(self) -> None:
        """A site with all that may and may not be served."""
        for name, content in (
            ("index.html", b"<p>index"),
            ("page.txt", b"page"),
            ("a..b.txt", b"two dots"),
            ("trailing.", b"a dot"),
            ("with space.txt", b"space"),
            ("100%.txt", b"percent"),
            ("plus+plus", b"plus"),
            ("semi;colon", b"semicolon"),
            ("bücher.txt", b"umlaut"),
            ("empty", b""),
            ("sub/index.html", b"<p>sub"),
            ("sub/deep/file", b"deep"),
            ("bare/file", b"file"),
            (".env", SECRET),
            (".git/config", SECRET),
            (".git/index.html", SECRET),
            ("sub/.htaccess", SECRET),
            ("..\\outside\\secret.txt", SECRET),
            ("sub\\index.html", SECRET),
            ("../outside/secret.txt", SECRET),
            ("../outside/index.html", SECRET),
            ("../site-of-another/secret.txt", SECRET),
        ):
            self.write(name, content)
        for link, target in (
            ("link", "page.txt"),
            ("absolute-link", self.root / "page.txt"),
            ("sub/up", "../page.txt"),
            ("link-to-sub", "sub"),
            ("link-to-dotfile", ".env"),
            ("link-to-git", ".git"),
            ("link-to-secret", "../outside/secret.txt"),
            ("link-to-outside", self.base / "outside"),
            ("link-to-root", "/"),
            ("link-to-parent", ".."),
            ("link-to-sibling", "../site-of-another/secret.txt"),
            ("loop", "loop"),
            ("dangling", "nowhere"),
            ("link-to-fifo", "fifo"),
            ("zero", "/dev/zero"),
            ("stdin", "/dev/stdin"),
        ):
            self.link(link, target)
        (self.root / "leaky").mkdir()
        self.link("leaky/index.html", "../../outside/index.html")
        os.mkfifo(self.root / "fifo")
        (self.root / "fifos").mkdir()
        os.mkfifo(self.root / "fifos" / "index.html")
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.bind(str(self.root / "socket"))

    def get(self, target: bytes, *headers: bytes, method: bytes = b"GET") -> Reply:
        """What a browser gets."""
        return self.ask(self.site, get(target, *headers, method=method))

    def assert_nothing_opened(self, before: int) -> None:
        """No more descriptors are open than before."""
        self.assertEqual(self.descriptors(), before)

    def descriptors(self) -> int:
        """How many descriptors this process has."""
        return len(descriptors())
