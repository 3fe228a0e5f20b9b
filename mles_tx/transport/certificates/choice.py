"""Which of the certificates a client is shown."""

from collections.abc import Sequence

from OpenSSL import SSL
from zope.interface import implementer

from mles_tx.transport.contexts import ICertificates

from .names import covers
from .pairs import Pair

__all__ = ["FixedCertificates"]


@implementer(ICertificates)
class FixedCertificates:
    """Certificates that stay the same until others are given.

    Args:
        pairs: at least one; the first is shown to whoever names no server, or one that none of them is for.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = tuple(pairs)

    def show(self, pairs: Sequence[Pair]) -> None:
        """Show others from the next handshake on; at least one."""
        self._pairs = tuple(pairs)

    def context_for(self, server_name: str | None) -> SSL.Context:
        if server_name is not None:
            for pair in self._pairs:
                if covers(pair.names, server_name):
                    return pair.context
        return self._pairs[0].context
