"""What Autobahn's server protocol is told to do, and what it is told to leave alone.

Each of its options is here, also where it is what Autobahn would choose: none is set anywhere else. It must not know
what is done with the frames.
"""
# ruff: noqa: N815 - the names are Autobahn's

import re

from mles_tx.protocol.header import MAX_HEADER_BYTES

__all__ = ["AutobahnOptions"]


class _Silence:
    """Takes Autobahn's log events and keeps none: they quote the peer, and one would be made for every read."""

    def _nothing(self, *args: object, **kwargs: object) -> None:
        pass

    trace = debug = info = warn = error = critical = failure = _nothing


class _Unheard:
    """A future that nobody waits for."""

    def callback(self, result: object) -> None:
        pass


class AutobahnOptions:
    """Autobahn's options as attributes of a class, to be put before Autobahn's own protocol among the bases.

    It would otherwise copy them for each connection, and format them for a log nobody reads (half of the cost of a
    join).
    """

    CONFIG_ATTRS: list[str] = []
    logOctets = False
    logFrames = False
    trackTimings = False
    versions = (13,)
    webStatus = False
    utf8validateIncoming = True
    requireMaskedClientFrames = True
    maskServerFrames = False
    applyMask = True
    maxFramePayloadSize = 0  # the limit for messages is looked at as soon as a frame begins
    maxMessagePayloadSize = MAX_HEADER_BYTES  # until the first frame is known to be good
    autoFragmentSize = 0
    failByDrop = False
    echoCloseCodeReason = True
    openHandshakeTimeout = 0  # Autobahn's timers follow a global reactor; ours the one we are given
    closeHandshakeTimeout = 0
    tcpNoDelay = True
    serveFlashSocketPolicy = False
    flashSocketPolicy = ""
    allowedOrigins = ("*",)
    allowedOriginsPatterns = (re.compile(""),)
    allowNullOrigin = True
    maxConnections = 0
    trustXForwardedFor = 0
    autoPingInterval = 0
    autoPingTimeout = 0
    autoPingSize = 12
    autoPingRestartOnAnyTraffic = True

    def perMessageCompressionAccept(self, offers: object) -> None:
        """Take no offer: a compressed frame could not be shared, and a small one may grow without bound."""

    log = _Silence()
    is_open = is_closed = _Unheard()

    # What it would find out in an upgrade, when it is the usual one.
    websocket_version = 13
    websocket_extensions: list[object] = []
    websocket_extensions_in_use: list[object] = []
