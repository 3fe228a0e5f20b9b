"""Fetches what the bundled page takes from others: ``python page/fetch.py``.

npm installs the packages of ``package-lock.json``, and refuses what does not have the digest written there. The modules
the page uses, those they import and their licences are then copied to ``static/localhost/vendor``, with a list of them,
``index.json``. Nothing happens when that list shows that they are there already.

It needs nothing but Python and npm: it runs before anything is installed.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["MODULES", "VENDOR", "FetchError", "fetch", "install", "is_fetched"]

_HERE = Path(__file__).resolve().parent

#: Where the page looks for them.
VENDOR = _HERE.parent / "static" / "localhost" / "vendor"

#: What the page imports, by package.
MODULES = {
    "@noble/ciphers": ("chacha.js",),
    "@noble/hashes": ("blake2.js", "scrypt.js"),
    "qr": ("index.js",),
    "siphash": ("lib/siphash.js",),
}

#: Modules in the older way of Node.js: the end of them that exports, and what browsers understand instead.
_COMMONJS = re.compile(r"^module\.exports = (\w+);\s*\Z", re.MULTILINE)

#: An import of another module, at the beginning of a statement; its module.
_IMPORT = re.compile(r"""^(?:import|export)\b[^'";]*?["']([^"']+)["'];?$""", re.MULTILINE)

#: Seconds for npm.
_PATIENCE = 600

_LIST = "index.json"


class FetchError(Exception):
    """They are not to be had; the text says why, in a line."""


def is_fetched(vendor: Path = VENDOR) -> bool:
    """Whether what `package-lock.json` names is there already."""
    try:
        listed = json.loads((vendor / _LIST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    found = {name: package["integrity"] for name, package in listed.items()}
    wanted = {name: package["integrity"] for name, package in _locked().items()}
    return found == wanted and all(set(MODULES[name]) <= set(listed[name]["files"]) for name in MODULES)


def fetch(vendor: Path = VENDOR, installed: Path | None = None) -> None:
    """Put them where the page looks for them, all or none.

    Args:
        vendor: that place.
        installed: a directory ``node_modules`` in which npm has installed them; None: let npm do it.

    Raises:
        FetchError: npm is missing or did not succeed, or a package is not what it was.
    """
    if installed is not None:
        _copy(installed, vendor)
        return
    with tempfile.TemporaryDirectory(prefix="mles-tx-page-") as scratch:
        _copy(install(_HERE, Path(scratch)), vendor)


def install(described: Path, directory: Path) -> Path:
    """Let npm install packages, and nothing of them run.

    Args:
        described: where their ``package.json`` and ``package-lock.json`` are.
        directory: where they go.

    Returns:
        The directory ``node_modules`` they are in.

    Raises:
        FetchError: npm is missing or did not succeed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError("npm is not here; it comes with Node.js")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(described / name, directory)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"npm did not end within {_PATIENCE} s") from error
    if ran.returncode:
        lines = (ran.stderr or ran.stdout).strip().splitlines() or [f"exit code {ran.returncode}"]
        raise FetchError(f"npm failed: {lines[0]}")
    return directory / "node_modules"


def _locked() -> dict[str, dict[str, Any]]:
    """The packages of the lock file, by name."""
    packages = json.loads((_HERE / "package-lock.json").read_text("utf-8"))["packages"]
    return {path.removeprefix("node_modules/"): package for path, package in packages.items() if path}


def _copy(installed: Path, vendor: Path) -> None:
    """Copy what is needed of the packages, beside the old copy first."""
    listed = {}
    try:
        vendor.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".vendor-", dir=vendor.parent) as scratch:
            made = Path(scratch) / vendor.name
            for name, package in _locked().items():
                files = _copy_package(installed / name, made / name, package["version"], MODULES[name])
                listed[name] = {field: package[field] for field in ("version", "integrity", "license")}
                listed[name]["files"] = files
            (made / _LIST).write_text(json.dumps(listed, indent=1) + "\n", "utf-8")
            shutil.rmtree(vendor, ignore_errors=True)
            made.rename(vendor)
    except OSError as error:
        if not is_fetched(vendor):  # another process may have been faster
            raise FetchError(str(error)) from error


def _copy_package(source: Path, destination: Path, version: str, modules: tuple[str, ...]) -> list[str]:
    """Copy modules of a package, those they import, and its licence; returns the names of all modules."""
    if json.loads((source / "package.json").read_text("utf-8"))["version"] != version:
        raise FetchError(f"{source} has another version than {version}")
    waiting, names = list(modules), set[str]()
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        text = _COMMONJS.sub(r"export default \1;\n", (source / name).read_text("utf-8"))
        for imported in _IMPORT.findall(text):
            if not imported.startswith("./"):
                raise FetchError(f"{source / name} imports {imported}, which a browser would not find")
            waiting.append((Path(name).parent / imported).as_posix())
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        (destination / name).write_text(text, "utf-8")
    for licence in source.glob("LICENSE*"):
        shutil.copyfile(licence, destination / licence.name)
    return sorted(names)


def main(arguments: list[str]) -> int:
    """Fetch, and say what was done; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fetch what the bundled page takes from others.")
    parser.add_argument("--installed", type=Path, metavar="DIR", help="node_modules in which npm has installed it")
    installed = parser.parse_args(arguments).installed
    if is_fetched():
        (VENDOR / _LIST).touch()  # make compares times
        return 0
    try:
        fetch(installed=installed)
    except FetchError as error:
        print(f"the page has no encryption and no QR codes, and says so: {error}", file=sys.stderr)
        return 1
    print(f"fetched what the page takes from others: {', '.join(MODULES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
