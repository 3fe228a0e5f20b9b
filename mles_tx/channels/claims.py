"""Who may use a uid where several nodes are one server: the seam between a registry and the other nodes.

A registry knows the members of its own node. Before it takes one in it claims the uid on its channel, and when
the member has left it gives the claim back. A server of one node has no claims: there, the registry is enough.
"""

from typing import TYPE_CHECKING

from zope.interface import Interface

from mles_tx.protocol.closing import CloseReason

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["IClaims", "IHolders"]


class IHolders(Interface):
    """Who knows the members of this node."""

    def challenge(channel: str, uid: str) -> "Deferred[bool]":
        """Whether a member here has a uid and gives a sign of life within a few seconds; one that gives none is let
        go."""

    def expel(channel: str, uid: str, reason: CloseReason) -> None:
        """Let the member go that has a uid, if there is one: the uid belongs to another node's."""


class IClaims(Interface):
    """Who knows the members of all nodes."""

    def attach(holders: IHolders) -> None:
        """Begin; the node's own members are to be asked there."""

    def claim(channel: str, uid: str) -> "Deferred[bool]":
        """Claim a uid for a member that wants to join.

        Returns:
            A Deferred: False when a member of another node holds it and is alive. Cancelled or fired, the claim has to
            be released once.
        """

    def placed(channel: str) -> "Deferred[None] | None":
        """Whether what is said on a channel from now on, on any node, will come to the members of this one.

        Returns:
            None: it will. Else a Deferred that fires with None as soon as it does, or nothing can be known of the other
            nodes; it may be cancelled.
        """

    def release(channel: str, uid: str) -> None:
        """Take a claim back: the member has left, or has not joined after all."""
