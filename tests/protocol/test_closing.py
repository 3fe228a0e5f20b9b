"""Tests of the table of reasons to end a connection."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.closing import NO_FAULT, CloseReason, ProtocolViolation, may_retry

#: What RFC 6455 section 7.4 and the IANA registry let an endpoint put into a close frame, below 3000.
_REGISTERED = {1000, 1001, 1002, 1003, *range(1007, 1015)}

#: What clients and operators have come to know; a change here is one they have to hear of.
_KNOWN = {
    "left": 1000,
    "server_stopping": 1001,
    "protocol_error": 1002,
    "header_not_text": 1003,
    "connection_lost": 1006,
    "invalid_utf8": 1007,
    "message_too_large": 1009,
    "header_too_large": 1009,
    "too_many_fragments": 1009,
    "internal_error": 1011,
    "server_restarting": 1012,
    "too_slow": 1013,
    "server_full": 1013,
    "not_stored": 1013,
    "no_header": 4000,
    "ping_timeout": 4001,
    "not_let_in": 4002,
    "header_not_json": 4500,
    "header_duplicate_key": 4501,
    "header_uid": 4502,
    "header_channel": 4503,
    "header_auth": 4504,
    "header_history": 4505,
    "header_since": 4506,
    "header_receive": 4507,
    "header_resync": 4508,
    "auth_required": 4510,
    "auth_wrong": 4511,
    "uid_taken": 4512,
    "replaced": 4513,
}


class CloseReasonTests(SynchronousTestCase):
    """Every reason can be sent, told apart and acted upon."""

    def test_every_text_fits(self) -> None:
        """The text of each reason fits into a close frame and is plain ASCII."""
        for reason in CloseReason:
            self.assertTrue(1 <= len(reason.text.encode("ascii")) <= 123, reason.label)
            self.assertTrue(reason.text.isprintable(), reason.label)

    def test_every_code_may_be_sent(self) -> None:
        """Each code is one that an endpoint may send; 1006 alone stands for a link that just broke."""
        for reason in CloseReason:
            if reason is CloseReason.CONNECTION_LOST:
                self.assertEqual(reason.code, 1006, reason.label)
            else:
                self.assertTrue(reason.code in _REGISTERED or 4000 <= reason.code <= 4999, reason.label)

    def test_retry_by_range(self) -> None:
        """A client can tell from one of our own codes whether to try again: below 4500 yes, from there on no."""
        for reason in CloseReason:
            if reason.code >= 4000:
                self.assertEqual(reason.retry, reason.code < 4500, reason.label)

    def test_retry_by_registered_code(self) -> None:
        """Of the registered codes, those that are our trouble or a passing one invite to come back."""
        retried = {reason.label for reason in CloseReason if reason.code < 4000 and reason.retry}
        self.assertEqual(
            retried,
            {
                "server_stopping",
                "server_restarting",
                "connection_lost",
                "internal_error",
                "too_slow",
                "server_full",
                "not_stored",
            },
        )

    def test_nothing_twice(self) -> None:
        """No two reasons share a name or a text, and none of our own codes means two things."""
        reasons = list(CloseReason)
        self.assertEqual(list(CloseReason.__members__.values()), reasons)  # an alias would be one more
        self.assertEqual(len({reason.text for reason in reasons}), len(reasons))
        own = [reason.code for reason in reasons if reason.code >= 4000]
        self.assertEqual(len(set(own)), len(own))

    def test_labels_and_codes(self) -> None:
        """Logs and clients find the names and codes they know."""
        self.assertEqual({reason.label: reason.code for reason in CloseReason}, _KNOWN)

    def test_may_retry(self) -> None:
        """A code says by itself whether to try again, also one of somebody else's."""
        for reason in CloseReason:
            self.assertEqual(may_retry(reason.code), reason.retry, reason)
        again = [
            code for code in (1000, 1003, 1005, 1006, 1008, 1010, 1014, 1015, 3000, 3500, 4499, 4999) if may_retry(code)
        ]
        self.assertEqual(again, [1005, 1006, 1014, 1015, 3000, 4499])

    def test_no_fault(self) -> None:
        """Who leaves, loses its link or is there when the server ends has done nothing wrong; all others have."""
        self.assertEqual(
            {reason.label for reason in NO_FAULT},
            {"left", "connection_lost", "server_stopping", "server_restarting"},
        )


class ProtocolViolationTests(SynchronousTestCase):
    """A violation says which rule was broken."""

    def test_carries_its_reason(self) -> None:
        """Who catches a violation finds the reason to close with, and its label as the text."""
        violation = ProtocolViolation(CloseReason.AUTH_WRONG)
        self.assertIs(violation.reason, CloseReason.AUTH_WRONG)
        self.assertEqual(str(violation), "auth_wrong")
