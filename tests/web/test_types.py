"""Media types by file name."""

import mimetypes

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.types import is_compressible, is_json, media_type

#: File name, Content-Type.
TYPES = (
    ("index.html", "text/html; charset=utf-8"),
    ("INDEX.HTML", "text/html; charset=utf-8"),
    ("style.css", "text/css; charset=utf-8"),
    ("app.js", "text/javascript; charset=utf-8"),
    ("app.mjs", "text/javascript; charset=utf-8"),
    ("read.me.txt", "text/plain; charset=utf-8"),
    ("notes.md", "text/markdown; charset=utf-8"),
    ("table.csv", "text/csv; charset=utf-8"),
    ("data.json", "application/json; charset=utf-8"),
    ("app.js.map", "application/json; charset=utf-8"),
    ("old.cjs", "text/javascript; charset=utf-8"),
    ("map.geojson", "application/geo+json; charset=utf-8"),
    ("linked.jsonld", "application/ld+json; charset=utf-8"),
    ("page.xhtml", "application/xhtml+xml; charset=utf-8"),
    ("news.atom", "application/atom+xml; charset=utf-8"),
    ("sitemap.xml", "text/xml; charset=utf-8"),
    ("site.webmanifest", "application/manifest+json; charset=utf-8"),
    ("picture.svg", "image/svg+xml; charset=utf-8"),
    ("picture.png", "image/png"),
    ("picture.jpg", "image/jpeg"),
    ("picture.jpeg", "image/jpeg"),
    ("picture.gif", "image/gif"),
    ("picture.webp", "image/webp"),
    ("favicon.ico", "image/x-icon"),
    ("talk.mp3", "audio/mpeg"),
    ("film.mp4", "video/mp4"),
    ("paper.pdf", "application/pdf"),
    ("code.wasm", "application/wasm"),
    ("letters.otf", "font/otf"),
    ("letters.ttf", "font/ttf"),
    ("letters.woff", "font/woff"),
    ("letters.woff2", "font/woff2"),
    ("MlesTalk.apk", "application/vnd.android.package-archive"),
    ("archive.zip", "application/zip"),
    ("archive.tar.gz", "application/gzip"),
    ("README", "application/octet-stream"),
    ("html", "application/octet-stream"),
    ("name.", "application/octet-stream"),
    ("page.html.unknown", "application/octet-stream"),
    ("", "application/octet-stream"),
)


class MediaTypeTests(SynchronousTestCase):
    """What a browser is told a file is."""

    def test_types(self) -> None:
        """Each file is announced as what its name says; text says that it is UTF-8, unknown files are bytes."""
        self.assertEqual([(name, media_type(name)) for name, _ in TYPES], list(TYPES))

    def test_machine_has_no_say(self) -> None:
        """A type that this machine knows and others do not makes no difference."""
        self.addCleanup(mimetypes.init)
        mimetypes.add_type("text/x-of-this-machine", ".ofthismachine")
        self.assertEqual(mimetypes.guess_type("a.ofthismachine")[0], "text/x-of-this-machine")
        self.assertEqual(media_type("a.ofthismachine"), "application/octet-stream")

    def test_compressible(self) -> None:
        """Text, and what is stored without a compression of its own, gets smaller; pictures and archives do not."""
        for name, expected in (
            ("index.html", True),
            ("app.mjs", True),
            ("data.json", True),
            ("site.webmanifest", True),
            ("news.atom", True),
            ("picture.svg", True),
            ("code.wasm", True),
            ("favicon.ico", True),
            ("letters.ttf", True),
            ("letters.woff2", False),
            ("picture.png", False),
            ("film.mp4", False),
            ("archive.tar.gz", False),
            ("MlesTalk.apk", False),
            ("README", False),
        ):
            self.assertEqual((name, is_compressible(media_type(name))), (name, expected))

    def test_json(self) -> None:
        """JSON is what has that type, or one made of it."""
        for name, expected in (
            ("data.json", True),
            ("app.js.map", True),
            ("site.webmanifest", True),
            ("map.geojson", True),
            ("app.js", False),
            ("picture.svg", False),
            ("README", False),
        ):
            self.assertEqual((name, is_json(media_type(name))), (name, expected))
