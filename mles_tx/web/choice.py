"""What is sent for a path: which file, in which coding, with which headers.

What was chosen once is known, and holds as long as the files are the same. It must not know what a client has already,
nor where bodies come from.
"""

import stat
import time
from dataclasses import dataclass

from cachetools import LRUCache
from twisted.web.http import datetimeToString

from .bodies import BodyKey
from .lookup import MAX_KNOWN_BYTES, Found, Root, Stamp
from .negotiation import IDENTITY
from .policy import Field, cache_control
from .types import is_compressible, is_json, media_type

__all__ = ["Choice", "Choices", "Codings"]

#: Bytes of a file that is worth compressing: a smaller one travels in the packet of its headers.
_MIN_COMPRESSED_BYTES = 512

#: Bytes of a file that is compressed while somebody waits: 100 ms. Ready-made files may be of any size.
_MAX_COMPRESSED_BYTES = 4 * 1024 * 1024

#: Seconds a ready-made file may be older than the one it was made from: copying does not keep their order.
_SLACK_SECONDS = 2

#: What the ready-made file in a coding is called behind the name.
_SUFFIXES = {"zstd": ".zst", "br": ".br", "gzip": ".gz"}

#: Choices a site remembers, one for a path and a set of codings. An entry takes about 2 KiB.
_KNOWN_CHOICES = 4096

#: How often a file that moves is looked for.
_TRIES = 2

#: Groups of codings, the most wanted first.
Codings = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What is sent for a path to clients that take certain codings.

    Attributes:
        asked: the file that was asked for.
        sent: the file whose bytes are sent: the same, or a ready-made one beside it.
        directory: what they are in: it changes when a ready-made file comes or goes.
        coding: how the bytes are coded when they are sent.
        is_made: whether that is done here.
        tag: the entity tag, strong, in its quotes.
        modified: when the file was modified, in whole seconds since 1970.
        fields: the headers, without the length; names in lower case.
        key: which body that is.
    """

    asked: Found
    sent: Found
    directory: Found
    coding: str
    is_made: bool
    tag: bytes
    modified: int
    fields: tuple[Field, ...]
    key: BodyKey

    def is_unchanged(self) -> bool:
        """Whether the same would be chosen now; that `asked` is as it was is known already."""
        return self.directory.is_unchanged() and (self.sent is self.asked or self.sent.is_unchanged())


class Choices:
    """Chooses for one site.

    Args:
        root: where its files are.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._known: LRUCache[tuple[bytes, Codings], Choice] = LRUCache(_KNOWN_CHOICES)

    def choose(self, target: bytes, codings: Codings) -> Choice | bool:
        """What to send for a path.

        Args:
            target: the path as in a request: percent-encoded, beginning with a slash, without a query.
            codings: what the client takes, as `acceptable_codings` has it.

        Returns:
            The choice; True: the slash behind a directory is missing; False: nothing is there.
        """
        key = target, codings
        for _ in range(_TRIES):
            found = self._root.find(target)
            if isinstance(found, bool):
                return found
            known = self._known.get(key)
            if known is not None and known.asked is found and known.is_unchanged():
                return known
            try:
                choice = _choose(target, found, codings)
            except OSError:  # its directory has gone or was renamed since it was found
                self._root.forget(target)
                continue
            if len(target) <= MAX_KNOWN_BYTES:
                self._known[key] = choice
            return choice
        return False


def _choose(target: bytes, found: Found, codings: Codings) -> Choice:
    parent = found.path.parent
    directory = Found(parent, str(parent), Stamp.of(parent.stat()))
    media = media_type(found.path.name)
    ready = {coding: made for coding, suffix in _SUFFIXES.items() if (made := _ready_made(found, suffix)) is not None}
    may_make = is_compressible(media) and _MIN_COMPRESSED_BYTES <= found.stamp.size <= _MAX_COMPRESSED_BYTES
    coding = _best(codings, ready, may_make)
    sent = ready.get(coding, found)
    modified = found.stamp.mtime_ns // 1_000_000_000
    suffix = "" if coding == IDENTITY else f"-{coding}"
    tag = f'"{sent.stamp.mtime_ns:x}-{sent.stamp.size:x}{suffix}"'.encode("ascii")
    fields = [
        (b"content-type", media.encode("ascii")),
        (b"etag", tag),
        (b"cache-control", cache_control(target)),
        (b"accept-ranges", b"bytes"),
    ]
    if modified <= time.time():  # a date to come says nothing (RFC 9110 section 8.8.2.1)
        fields.append((b"last-modified", datetimeToString(modified)))
    if coding != IDENTITY:
        fields.append((b"content-encoding", coding.encode("ascii")))
    if ready or is_compressible(media):
        fields.append((b"vary", b"Accept-Encoding"))
    if is_json(media):
        fields.append((b"access-control-allow-origin", b"*"))
    is_made = coding != IDENTITY and sent is found
    key = str(sent.path), coding if is_made else IDENTITY, sent.stamp
    return Choice(found, sent, directory, coding, is_made, tag, modified, tuple(fields), key)


def _ready_made(found: Found, suffix: str) -> Found | None:
    """The file in another coding beside it, unless it was made before the file was changed."""
    path = found.path.with_name(found.path.name + suffix)
    try:
        status = path.lstat()
    except OSError:
        return None
    is_old = status.st_mtime_ns < found.stamp.mtime_ns - _SLACK_SECONDS * 1_000_000_000
    return Found(path, str(path), Stamp.of(status)) if stat.S_ISREG(status.st_mode) and not is_old else None


def _best(codings: Codings, ready: dict[str, Found], may_make: bool) -> str:
    """The coding to send in: of those a client wants equally, a ready-made one, or else the first."""
    for group in codings:
        for coding in group:
            if coding in ready:
                return coding
        for coding in group:
            if coding == IDENTITY or may_make:
                return coding
    return IDENTITY
