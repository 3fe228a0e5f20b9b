"""Why a connection ended: the closed table of reasons.

The name of a reason is also the field in the log. Codes follow RFC 6455 section 7.4.1 and the IANA
registry where one fits; of our own codes, 4000-4499 mean "try again" and 4500-4999 "do not try again
unchanged".

It must not know who closes, or how.
"""

from enum import Enum

__all__ = ["NO_FAULT", "CloseReason", "ProtocolViolation", "may_retry"]


class CloseReason(Enum):
    """A reason to end a connection.

    Attributes:
        code: the WebSocket close code, 1000 to 4999.
        text: what the close frame says; at most 123 bytes of ASCII (RFC 6455 section 5.5).
        retry: whether a client does well to connect again by itself.
        label: the name as it stands in logs: ``too_slow``.
    """

    # Members are one of a kind, and Python's own hash of their names takes ten times as long.
    __hash__ = object.__hash__

    LEFT = (1000, "left the channel", False)
    SERVER_STOPPING = (1001, "server is stopping", True)
    PROTOCOL_ERROR = (1002, "broken WebSocket frame", False)
    HEADER_NOT_TEXT = (1003, "first frame must be a text frame", False)
    CONNECTION_LOST = (1006, "connection lost", True)
    INVALID_UTF8 = (1007, "text frame is not valid UTF-8", False)
    MESSAGE_TOO_LARGE = (1009, "message is larger than 1048576 bytes", False)
    HEADER_TOO_LARGE = (1009, "first frame is larger than 16384 bytes", False)
    TOO_MANY_FRAGMENTS = (1009, "message has more than 16384 fragments", False)
    INTERNAL_ERROR = (1011, "internal server error", True)
    SERVER_RESTARTING = (1012, "server is restarting", True)
    TOO_SLOW = (1013, "reading too slowly; join again to catch up", True)
    SERVER_FULL = (1013, "server has as many channels as it can hold", True)
    NOT_STORED = (1013, "message could not be stored; try again", True)
    NO_HEADER = (4000, "no first frame within 30 seconds", True)
    PING_TIMEOUT = (4001, "pings were not answered", True)
    NOT_LET_IN = (4002, "could not be let in within 30 seconds; try again", True)
    HEADER_NOT_JSON = (4500, "first frame is not a JSON object", False)
    HEADER_DUPLICATE_KEY = (4501, "first frame has a key twice", False)
    HEADER_UID = (4502, "uid must be a non-empty string of printable ASCII", False)
    HEADER_CHANNEL = (4503, "channel must be a non-empty string of printable ASCII", False)
    HEADER_AUTH = (4504, "auth must be a string of 1 to 16 hex digits", False)
    HEADER_HISTORY = (4505, "history must be a whole number, 0 or more", False)
    HEADER_SINCE = (4506, "since must be a list of at most 8 strings of 16 hex digits", False)
    HEADER_RECEIVE = (4507, "receive must be true or false", False)
    HEADER_RESYNC = (4508, "resync must be a whole number, 0 to 999999", False)
    AUTH_REQUIRED = (4510, "this server needs auth in the first frame", False)
    AUTH_WRONG = (4511, "auth does not match uid, channel and key", False)
    UID_TAKEN = (4512, "uid is in use on this channel", False)
    REPLACED = (4513, "the same uid joined again while this link was silent", False)

    def __init__(self, code: int, text: str, retry: bool) -> None:
        self.code = code
        self.text = text
        self.retry = retry
        self.label = self._name_.lower()


#: How connections end when nothing is wrong. A lost one is the everyday life of a phone.
NO_FAULT = frozenset(
    (CloseReason.LEFT, CloseReason.CONNECTION_LOST, CloseReason.SERVER_STOPPING, CloseReason.SERVER_RESTARTING)
)

#: Codes of the table; those that stand there more than once agree.
_RETRY = {reason.code: reason.retry for reason in CloseReason}

#: What others close with, or what a connection seems closed with that had no close frame (RFC 6455 section 7.4.1).
_RETRY |= {1005: True, 1014: True, 1015: True}


def may_retry(code: int) -> bool:
    """Whether a client does well to connect again by itself after a close code, also one that is not in the table."""
    return _RETRY.get(code, 3000 <= code < 3500 or 4000 <= code < 4500)


class ProtocolViolation(Exception):
    """The peer broke a rule, and is to be told which.

    Attributes:
        reason: the `CloseReason` to close the connection with.
    """

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(reason.label)
        self.reason = reason
