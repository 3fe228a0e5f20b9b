"""Messages as lines."""

import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import Message
from mles_tx.cli.history_lines import BadLine, channel_table, exported, imported, shown
from mles_tx.protocol.frames import encode_message
from mles_tx.stores.schema import ChannelRow
from tests.channels.fakes import hello, said

NOW = 1_800_000_000_000_000

GOOD = {"channel": "example", "n": 5, "uid": "alice", "text": "hi"}

#: What is different from a good line, and why it is refused then; None: left away.
BAD = (
    ({"channel": ""}, "channel or uid is not what a client could send"),
    ({"channel": "grüße"}, "channel or uid is not what a client could send"),
    ({"channel": 7}, "channel or uid is not what a client could send"),
    ({"channel": None}, "not the fields channel, n, uid and text or data, perhaps join"),
    ({"uid": "a\nb"}, "channel or uid is not what a client could send"),
    ({"uid": ["alice"]}, "channel or uid is not what a client could send"),
    ({"n": 0}, "n is no time of the past in microseconds"),
    ({"n": -5}, "n is no time of the past in microseconds"),
    ({"n": True}, "n is no time of the past in microseconds"),
    ({"n": 5.0}, "n is no time of the past in microseconds"),
    ({"n": "5"}, "n is no time of the past in microseconds"),
    ({"n": NOW + 1}, "n is no time of the past in microseconds"),
    ({"n": 10**40}, "n is no time of the past in microseconds"),
    ({"text": 7}, "text is no text, or data no base64"),
    ({"text": "\ud800"}, "text is no text, or data no base64"),
    ({"text": None}, "not the fields channel, n, uid and text or data, perhaps join"),
    ({"text": None, "data": "a"}, "text is no text, or data no base64"),
    ({"text": None, "data": "a b="}, "text is no text, or data no base64"),
    ({"text": None, "data": 7}, "text is no text, or data no base64"),
    ({"data": "aGk="}, "not the fields channel, n, uid and text or data, perhaps join"),
    ({"more": 1}, "not the fields channel, n, uid and text or data, perhaps join"),
    ({"join": 1}, "not the fields channel, n, uid and text or data, perhaps join"),
    ({"text": "x" * 1_048_577}, "a message has at most 1048576 bytes"),
)


class ExportTests(SynchronousTestCase):
    """Lines for programs."""

    def test_fields(self) -> None:
        """A line has the fields that are documented, and no others."""
        join = Message(encode_message(hello("bob"), False), "bob", 3, is_join=True)
        binary = Message(encode_message(b"\0\xff", True), "alice", 3, is_join=False)
        for message, fields in (
            (said("grüße"), {"uid": "alice", "text": "grüße"}),
            (join, {"uid": "bob", "text": hello("bob").decode(), "join": True}),
            (binary, {"uid": "alice", "data": base64.b64encode(b"\0\xff").decode()}),
        ):
            line = exported("example", 7, message)
            self.assertEqual(json.loads(line), {"channel": "example", "n": 7, **fields})
            self.assertNotIn("\n", line)

    @settings(deadline=None, database=None)
    @given(
        payload=st.one_of(st.text(), st.binary()),
        channel=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1),
        kind=st.sampled_from((("alice", True), ("alice", False), ("", False))),
    )
    def test_back(self, payload: str | bytes, channel: str, kind: tuple[str, bool]) -> None:
        """What was exported can be imported, and is the same."""
        is_binary = isinstance(payload, bytes)
        data = payload if isinstance(payload, bytes) else payload.encode()
        message = Message(encode_message(data, is_binary), kind[0], 0, is_join=kind[1])
        self.assertEqual(imported(exported(channel, 9, message), NOW), (channel, 9, message))

    def test_bad(self) -> None:
        """Whatever is no exported message is refused, and it is said why."""
        self.assertEqual(imported(json.dumps(GOOD), NOW), ("example", 5, said("hi", origin=0)))
        for change, reason in BAD:
            fields = {name: value for name, value in (GOOD | change).items() if value is not None}
            error = self.assertRaises(BadLine, imported, json.dumps(fields), NOW)
            self.assertEqual(str(error), reason, f"{change}")
        for line, reason in (("", "not JSON"), ("{", "not JSON"), ("[" * 100_000, "not JSON"), ("[]", "not an object")):
            error = self.assertRaises(BadLine, imported, line, NOW)
            self.assertEqual(str(error), reason, line[:9])


class ShownTests(SynchronousTestCase):
    """Lines for people."""

    def test_messages(self) -> None:
        """Text is shown so that it does nothing to a terminal, other messages by their size."""
        join = Message(encode_message(hello("bob"), False), "bob", 3, is_join=True)
        binary = Message(encode_message(b"\0\xff", True), "alice", 3, is_join=False)
        for message, line in (
            (said("grüße"), "alice: grüße"),
            (said("a\x1b[31m\nb\u202e"), "alice: a\\x1b[31m\\nb\\u202e"),
            (join, "bob: joined"),
            (binary, "alice: (2 bytes)"),
            (said("old", uid=""), "(from a peer): old"),
        ):
            self.assertEqual(shown(1_700_000_000_999_999, message), f"2023-11-14T22:13:20Z  {line}")

    def test_channels(self) -> None:
        """Channels stand in a table, in their order."""
        rows = [ChannelRow("a b", 1_700_000_000_000_000, 7, 1234), ChannelRow("c", 1_700_000_001_000_000, 0, 0)]
        self.assertEqual(
            channel_table(rows),
            [
                "  messages        bytes  last said             channel",
                "         7         1234  2023-11-14T22:13:20Z  a b",
                "         0            0  2023-11-14T22:13:21Z  c",
            ],
        )
