"""What the page takes from npm: pinned, copied whole or not at all."""

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from page.fetch import MODULES, FetchError, fetch, is_fetched

ROOT = Path(__file__).resolve().parents[2]

#: Modules as they come, by package: one that imports another, and one in the way of Node.js.
SOURCES = {
    "@noble/ciphers/chacha.js": "/**\n * import { x } from '@noble/x.js';\n */\nimport { a, } from \"./utils.js\";\n",
    "@noble/ciphers/utils.js": "export const a = 1;\n",
    "@noble/ciphers/aes.js": "export const unused = 1;\n",
    "@noble/hashes/blake2.js": "import * as u64 from './_u64.js';\n",
    "@noble/hashes/scrypt.js": '// prettier-ignore\nimport { a,\n  b } from "./_u64.js";\n',
    "@noble/hashes/_u64.js": "export {};\n",
    "qr/index.js": "export default 1;\n",
    "siphash/lib/siphash.js": "var SipHash = 1;\nmodule.exports = SipHash;\n",
}


class FetchTests(SynchronousTestCase):
    """From what npm has installed to what the page imports."""

    def setUp(self) -> None:
        scratch = Path(self.enterContext(TemporaryDirectory()))
        self.installed, self.vendor = scratch / "node_modules", scratch / "page" / "vendor"
        for name, text in SOURCES.items():
            self.write(name, text)
        for name, package in self.locked().items():
            self.write(f"{name}/package.json", json.dumps({"version": package["version"]}))
            self.write(f"{name}/LICENSE", f"that of {name}")

    def write(self, name: str, text: str) -> None:
        """Put a file among the packages."""
        path = self.installed / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @staticmethod
    def locked(place: str = "page") -> dict[str, Any]:
        """The packages of a lock file."""
        packages = json.loads((ROOT / place / "package-lock.json").read_text())["packages"]
        return {path.removeprefix("node_modules/"): package for path, package in packages.items() if path}

    def test_copied(self) -> None:
        """The modules are there with those they import and their licences, and no others; browsers read all."""
        fetch(self.vendor, self.installed)
        there = {path.relative_to(self.vendor).as_posix() for path in self.vendor.rglob("*") if path.is_file()}
        licences = {f"{name}/LICENSE" for name in MODULES}
        self.assertEqual(there, SOURCES.keys() - {"@noble/ciphers/aes.js"} | licences | {"index.json"})
        self.assertEqual(
            (self.vendor / "siphash/lib/siphash.js").read_text(), "var SipHash = 1;\nexport default SipHash;\n"
        )
        listed = json.loads((self.vendor / "index.json").read_text())
        self.assertEqual(listed["@noble/ciphers"]["files"], ["chacha.js", "utils.js"])
        self.assertTrue(is_fetched(self.vendor))

    def test_again(self) -> None:
        """An older copy is replaced."""
        self.vendor.mkdir(parents=True)
        (self.vendor / "index.json").write_text('{"qr": {"integrity": "another", "files": []}}')
        (self.vendor / "old.js").touch()
        self.assertFalse(is_fetched(self.vendor))
        fetch(self.vendor, self.installed)
        self.assertTrue(is_fetched(self.vendor))
        self.assertFalse((self.vendor / "old.js").exists())

    def test_other_version(self) -> None:
        """Another version than the one that is pinned is not taken, and what was there stays."""
        fetch(self.vendor, self.installed)
        self.write("qr/package.json", '{"version": "0.0.1"}')
        with self.assertRaisesRegex(FetchError, r"qr has another version than \d"):
            fetch(self.vendor, self.installed)
        self.assertTrue(is_fetched(self.vendor))
        self.assertEqual([path.name for path in self.vendor.parent.iterdir()], ["vendor"])

    def test_bare_import(self) -> None:
        """A module that browsers would look for in vain is not taken."""
        self.write("qr/index.js", "import { x } from 'elsewhere';\n")
        with self.assertRaisesRegex(FetchError, "index.js imports elsewhere, which a browser would not find"):
            fetch(self.vendor, self.installed)

    def test_missing(self) -> None:
        """A package that is not there is said."""
        with self.assertRaisesRegex(FetchError, "No such file"):
            fetch(self.vendor, self.installed / "nowhere")

    def test_no_npm(self) -> None:
        """Without npm it says what is missing, in a line."""
        self.patch(os, "environ", {**os.environ, "PATH": ""})
        with self.assertRaisesRegex(FetchError, r"^npm is not here; it comes with Node\.js$"):
            fetch(self.vendor)

    def test_failing_npm(self) -> None:
        """When npm fails, its first line is passed on."""
        npm = self.installed.parent / "npm"
        npm.write_text("#!/bin/sh\necho 'npm error code EINTEGRITY' >&2\necho more >&2\nexit 1\n")
        npm.chmod(0o755)
        self.patch(shutil, "which", lambda _: str(npm))
        with self.assertRaisesRegex(FetchError, r"^npm failed: npm error code EINTEGRITY$"):
            fetch(self.vendor)

    def test_pinned(self) -> None:
        """Every package has one version and the digest of it, and no address it would be fetched from."""
        for place in ("page", "tests/integration/accessibility"):
            wanted = json.loads((ROOT / place / "package.json").read_text())["dependencies"]
            locked = self.locked(place)
            self.assertEqual(wanted, {name: package["version"] for name, package in locked.items()})
            for package in locked.values():
                self.assertRegex(package["integrity"], r"^sha512-[\w+/]{86}==$")
                self.assertNotIn("resolved", package)
        self.assertEqual(self.locked().keys(), MODULES.keys())
