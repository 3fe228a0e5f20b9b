"""Media types by file name: the same on every machine, whatever its own tables say."""

from mimetypes import MimeTypes

__all__ = ["is_compressible", "is_json", "media_type"]

#: Python's own table, without the machine's files; then what browsers are particular about.
_TYPES = MimeTypes().types_map[True] | {
    ".apk": "application/vnd.android.package-archive",
    ".atom": "application/atom+xml",
    ".cjs": "text/javascript",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".gz": "application/gzip",
    ".ico": "image/x-icon",
    ".ics": "text/calendar",
    ".js": "text/javascript",
    ".jsonld": "application/ld+json",
    ".m4a": "audio/mp4",
    ".m4v": "video/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mkv": "video/matroska",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".otf": "font/otf",
    ".rss": "application/rss+xml",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xhtml": "application/xhtml+xml",
}

#: Types that are text, beside those under text/ and those that end in +json or +xml (RFC 6838 section 4.2.8).
_TEXT = frozenset(("application/json", "application/xml"))

#: Types that are no text and get smaller all the same: by a tenth or more. Pictures, sounds, archives and web fonts are
#: compressed already.
_COMPRESSIBLE = frozenset(
    (
        "application/rtf",
        "application/vnd.ms-fontobject",
        "application/wasm",
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
    return f"{found}; charset=utf-8" if _is_text(found) else found


def is_compressible(media: str) -> bool:
    """Whether what has that Content-Type gets smaller."""
    name = media.partition(";")[0]
    return _is_text(name) or name in _COMPRESSIBLE


def is_json(media: str) -> bool:
    """Whether a Content-Type means JSON (RFC 6839 section 3.1)."""
    name = media.partition(";")[0]
    return name == "application/json" or name.endswith("+json")


def _is_text(name: str) -> bool:
    return name.startswith("text/") or name.endswith(("+json", "+xml")) or name in _TEXT
