"""Media types by file name: the same on every machine, whatever its own tables say."""

from mimetypes import MimeTypes

__all__ = ["is_compressible", "is_json", "media_type"]

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

#: Types that are no text and get smaller all the same: by a tenth or more. Pictures, sounds, archives and web fonts are
#: compressed already.
_COMPRESSIBLE = frozenset(
    (
        "application/rtf",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/xhtml+xml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/x-icon",
    )
)


def media_type(name: str) -> str:
    """The Content-Type for a file name; text is UTF-8, what is unknown is bytes."""
    _, dot, extension = name.rpartition(".")
    found = _TYPES.get(dot + extension.lower(), "application/octet-stream")
    if found.startswith("text/") or found in _TEXT:
        return f"{found}; charset=utf-8"
    return found


def is_compressible(media: str) -> bool:
    """Whether what has that Content-Type gets smaller."""
    name = media.partition(";")[0]
    return name.startswith("text/") or name in _TEXT or name in _COMPRESSIBLE


def is_json(media: str) -> bool:
    """Whether a Content-Type means JSON (RFC 6839 section 3.1)."""
    name = media.partition(";")[0]
    return name == "application/json" or name.endswith("+json")
