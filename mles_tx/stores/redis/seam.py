"""Between a link and who uses it: what they say to each other. It must not know how a link is made."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

from .scripts import Script

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["ILink", "ILinked", "LinkDownError", "is_unable"]

#: Words with which Redis says that it can do nothing at the moment. Any other error concerns one channel.
_UNABLE = frozenset(
    (
        *("OOM", "READONLY", "MISCONF", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN"),
        *("NOSCRIPT", "NOAUTH", "NOPERM", "NOREPLICAS", "UNKILLABLE"),
    )
)


def is_unable(error: str) -> bool:
    """Whether an error of Redis concerns everything, and not one channel."""
    return not _UNABLE.isdisjoint(error.replace("-", " ").split())


class LinkDownError(Exception):
    """There is no connection to Redis at the moment."""


class ILinked(Interface):
    """Who uses a link."""

    def link_up() -> None:
        """Commands can be given; what was asked before is forgotten."""

    def link_down() -> None:
        """They cannot any more."""

    def hearing(announcements: bytes) -> None:
        """From now on everything that is announced there is heard."""

    def deaf() -> None:
        """Nothing is heard any more, and what was listened to has to be asked for again."""

    def hearing_again() -> None:
        """What is announced can be heard again."""

    def heard(announcements: bytes, data: bytes) -> None:
        """Something was announced."""


class ILink(Interface):
    """A way to a Redis."""

    is_up: bool = Attribute("Whether commands can be given.")
    is_hearing: bool = Attribute("Whether announcements are heard.")
    own_announcements: bytes = Attribute("Where other nodes ask this one: it is always listened to.")
    fault: str = Attribute("Why the link is down or was; empty: it never was.")
    clock_offset: float | None = Attribute("Seconds the clock of Redis is ahead of ours; None: not known yet.")

    def start(linked: ILinked) -> None:
        """Connect, and keep doing so.

        Raises:
            OSError, ValueError: the file with authorities to trust cannot be used.
        """

    def stop() -> "Deferred[None]":
        """Disconnect; fires when nothing is left."""

    def call(*command: bytes | str | int) -> "Deferred[Any]":
        """Give a command; answers come in order. Fails with `LinkDownError`, or with what Redis answers."""

    def run(script: Script, keys: Sequence[str], *arguments: bytes | str | int) -> "Deferred[Any]":
        """Run one of the scripts of the link."""

    def listen(announcements: Iterable[bytes]) -> None:
        """Hear what is announced in some places; nothing happens while nothing can be heard."""

    def ignore(announcements: bytes) -> None:
        """Hear it no more."""

    def drop(why: str) -> None:
        """Give the connection for commands up, and try anew."""
