"""Media types by file name: the same on every machine, whatever its own tables say."""

from mimetypes import MimeTypes

__all__ = ["media_type"]

#: Python's own table, without the machine's files; then what browsers are particular about.
_TYPES = MimeTypes().types_map[True] | {
    ".apk": "application/vnd.android.package-archive",
    ".gz": "application/gzip",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".otf": "font/otf",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}

#: Types that are text and say so themselves; those under text/ need no mention.
_TEXT = frozenset(("application/json", "application/manifest+json", "application/xml", "image/svg+xml"))


def media_type(name: str) -> str:
    """The Content-Type for a file name; text is UTF-8, what is unknown is bytes."""
    _, dot, extension = name.rpartition(".")
    found = _TYPES.get(dot + extension.lower(), "application/octet-stream")
    if found.startswith("text/") or found in _TEXT:
        return f"{found}; charset=utf-8"
    return found
