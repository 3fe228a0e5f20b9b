"""The page as it stands in the files: what a browser would only show now and then."""

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PAGE = Path(__file__).resolve().parents[2] / "static" / "localhost"

#: Ways for a text to become markup or a program.
_MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|srcdoc")


class SourcesTests(SynchronousTestCase):
    """Modules, markup, style and what installs the page."""

    def setUp(self) -> None:
        files = (path for path in PAGE.rglob("*") if path.is_file() and "vendor" not in path.relative_to(PAGE).parts)
        self.files = {path.relative_to(PAGE).as_posix(): path for path in files}
        self.modules = {name: path.read_text("utf-8") for name, path in self.files.items() if name.endswith(".js")}
        self.markup = (PAGE / "index.html").read_text("utf-8")

    def test_policy(self) -> None:
        """The policy of the page starts from nothing, and has no exception; there is nothing inline to need one."""
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', self.markup)
        directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
        self.assertEqual(directives["default-src"], "'none'")
        self.assertEqual(directives["script-src"], "'self'")
        sources = {source for name, value in directives.items() if name.endswith("-src") for source in value.split()}
        self.assertEqual(sources, {"'none'", "'self'", "blob:"})
        self.assertEqual([name for name, value in directives.items() if "blob:" in value], ["img-src"])
        self.assertNotIn("unsafe", policy)
        self.assertNotRegex(self.markup, r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)")

    def test_no_markup_from_texts(self) -> None:
        """No module makes markup or programs of texts."""
        for name, text in self.modules.items():
            self.assertIsNone(_MARKUP.search(text), name)

    def test_no_other_host(self) -> None:
        """Nothing is loaded from elsewhere."""
        for name, path in self.files.items():
            if path.suffix in (".js", ".html", ".css", ".webmanifest"):
                addresses = re.findall(r"https?://[\w.-]+", path.read_text("utf-8"))
                self.assertEqual(set(addresses) - {"http://www.w3.org"}, set(), name)

    def test_offline_list(self) -> None:
        """The service worker keeps all files of the page, and none that is not there."""
        worker = self.modules["sw.js"]
        listed = re.findall(r"'([\w.-]+\.(?:js|svg|png|webmanifest|css))'", worker)
        (modules,) = re.findall(r"\.\.\.\[\n(.*?)\]", worker, re.DOTALL)
        listed += [f"chat/{name}.js" for name in re.findall(r"'([\w-]+)'", modules)]
        self.assertEqual(sorted(listed), sorted(self.files.keys() - {"index.html", "sw.js"}))

    def test_manifest(self) -> None:
        """What the page is installed by names icons that are there."""
        manifest = json.loads(self.files["manifest.webmanifest"].read_text())
        for icon in manifest["icons"]:
            self.assertIn(icon["src"], self.files)
        for size in (192, 512):
            png = self.files[f"icon-{size}.png"].read_bytes()
            self.assertEqual((int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")), (size, size))

    def test_elements(self) -> None:
        """Every element a module asks for is in the page, and every one with a name is asked for or labelled."""
        ids = set(re.findall(r'\sid="([\w-]+)"', self.markup))
        asked = {found for text in self.modules.values() for found in re.findall(r"byId\('([\w-]+)'\)", text)}
        self.assertEqual(asked - ids, set())
        self.assertGreater(len(asked), 20)

    def test_modules(self) -> None:
        """Each module says first what it is, imports modules that are there, and is short."""
        for name, text in self.modules.items():
            self.assertTrue(text.startswith("// "), name)
            self.assertLess(text.count("\n"), 300, name)
            for imported in re.findall(r"""(?:from|import\() ?'(\.[^']+)'""", text):
                target = (PAGE / name).parent.joinpath(imported).resolve().relative_to(PAGE).as_posix()
                self.assertTrue(target in self.files or target.startswith("vendor/"), f"{name}: {imported}")
