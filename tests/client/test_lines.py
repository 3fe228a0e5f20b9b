"""What a chat says in a frame."""

import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.e2e import Cipher
from mles_tx.client.interfaces import Message
from mles_tx.client.lines import Kind, Line, clear_line, read, sealed_join, sealed_line

from .test_e2e import KEY, NONCE, SEALED

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

#: What others say in text frames, and what that is.
CLEAR = (
    ("hello", Line(Kind.SAID, "hello")),
    ("", Line(Kind.SAID, "")),
    ('{"text":"hi","uid":"bob","time":"2026-11-22T12:00:00.000Z"}', Line(Kind.SAID, "hi", "bob", NOON)),
    ('{"text":"hi","uid":"bob","time":"2026-11-22T13:00:00+01:00"}', Line(Kind.SAID, "hi", "bob", NOON)),
    ('{"text":"hi","uid":"bob","time":"2026-11-22T12:00:00"}', Line(Kind.SAID, "hi", "bob", NOON)),
    ('{"text":"hi","uid":"bob","time":"yesterday"}', Line(Kind.SAID, "hi", "bob")),
    ('{"text":"hi","uid":"bob","time":12}', Line(Kind.SAID, "hi", "bob")),
    ('{"text":"hi","uid":"bob","time":"0001-01-01T00:00:00+23:00"}', Line(Kind.SAID, "hi", "bob")),
    ('{"text":"hi","uid":"bob"}', Line(Kind.SAID, "hi", "bob")),
    ('{"uid":"bob","channel":"news"}', Line(Kind.JOINED, "", "bob")),
    ('{"uid":"bob","channel":"other"}', Line(Kind.SAID, '{"uid":"bob","channel":"other"}')),
    ('{"uid":1,"text":"hi"}', Line(Kind.SAID, '{"uid":1,"text":"hi"}')),
    ("{", Line(Kind.SAID, "{")),
    ('{"a":' * 3000, Line(Kind.SAID, '{"a":' * 3000)),
)

#: Plaintexts of sealed frames, and what they are.
PLAINTEXTS = (
    (b"2026-11-22T12:00:00Z alice: hello", Line(Kind.SAID, "hello", "alice", NOON, True)),
    (b"2026-11-22T12:00:00Z a b: x: y\nz", Line(Kind.SAID, "x: y\nz", "a b", NOON, True)),
    (b"2026-11-22T12:00:00Z alice: ", Line(Kind.SAID, "", "alice", NOON, True)),
    (b"2026-99-22T12:00:00Z alice: hello", Line(Kind.SAID, "hello", "alice", None, True)),
    (b"just words", Line(Kind.SAID, "just words", is_sealed=True)),
    (b'{"uid":"bob","channel":"news"}', Line(Kind.JOINED, "", "bob", is_sealed=True)),
    (b'{"uid":1}', Line(Kind.SAID, '{"uid":1}', is_sealed=True)),
    (b"\xff", Line(Kind.BINARY, "1 byte of binary data", is_sealed=True)),
)


def text_frame(text: str) -> Message:
    return Message(text.encode(), False, 0)


class LineTests(SynchronousTestCase):
    """Reading and writing lines."""

    def test_clear(self) -> None:
        """Lines of the page, plain text and first frames are told apart."""
        for text, line in CLEAR:
            self.assertEqual((text, read(text_frame(text), "news", None)), (text, line))

    def test_written_clear(self) -> None:
        """A line in the clear is what the page sends: text, uid and time in UTC with milliseconds."""
        local = NOON.astimezone(timezone(timedelta(hours=2)))
        self.assertEqual(
            clear_line("bob", 'hi "ä"', local), '{"text":"hi \\"ä\\"","uid":"bob","time":"2026-11-22T12:00:00.000Z"}'
        )

    def test_sealed(self) -> None:
        """What mles-client says is read, and anything else that was sealed."""
        cipher = Cipher(KEY)
        for plaintext, line in PLAINTEXTS:
            frame = Message(cipher.seal(plaintext), True, 0)
            self.assertEqual((plaintext, read(frame, "news", cipher)), (plaintext, line))

    def test_written_sealed(self) -> None:
        """A sealed line is what mles-client sends, to the byte; joining is told as it does."""
        cipher = Cipher(KEY, lambda _: NONCE)
        self.assertEqual(sealed_line(cipher, "alice", "hello", NOON), NONCE + SEALED)
        self.assertEqual(json.loads(cipher.open(sealed_join(cipher, "bob", "news"))), {"uid": "bob", "channel": "news"})

    def test_files(self) -> None:
        """A file of the page is named, in the clear and sealed; what only looks like one is binary data."""
        head = b'{"file":"cat.png","uid":"bob","time":"2026-11-22T12:00:00.000Z"}\n'
        part = b'{"file":"cat.png","uid":"bob","part":0,"parts":3}\n'
        for payload, text in (
            (head + b"\xff\x00\n", "cat.png, 3 bytes"),
            (head + b"text", "cat.png, 4 bytes"),
            (part + b"\xff", "cat.png, part 1 of 3"),
            (b'{"file":1,"uid":"bob"}\n\xff', "24 bytes of binary data"),
            (b'{"file":"' + b"x" * 5000, "5009 bytes of binary data"),
        ):
            line = read(Message(payload, True, 0), "news", None)
            self.assertEqual((payload[:60], line.text), (payload[:60], text))
        cipher = Cipher(KEY)
        line = read(Message(cipher.seal(head + b"text"), True, 0), "news", cipher)
        self.assertEqual(line, Line(Kind.FILE, "cat.png, 4 bytes", "bob", NOON, True))

    def test_not_opened(self) -> None:
        """Binary data without a secret, and frames of another one, are named as what they are."""
        frame = Message(b"x" * 50, True, 0)
        self.assertEqual(read(frame, "news", None), Line(Kind.BINARY, "50 bytes of binary data"))
        self.assertEqual(read(frame, "news", Cipher(KEY)).kind, Kind.SEALED)

    @given(st.text(min_size=1).filter(lambda text: not text.startswith("{")), st.text(alphabet="abc :", min_size=1))
    def test_round(self, text: str, uid: str) -> None:
        """What one chat says another one reads."""
        self.assertEqual(read(text_frame(clear_line(uid, text, NOON)), "news", None), Line(Kind.SAID, text, uid, NOON))
        cipher = Cipher(KEY)
        if ": " not in uid:
            sealed = Message(sealed_line(cipher, uid, text, NOON), True, 0)
            self.assertEqual(read(sealed, "news", cipher), Line(Kind.SAID, text, uid, NOON, True))

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Whatever a text frame holds, it is a line."""
        self.assertIsInstance(read(text_frame(text), "news", None), Line)
