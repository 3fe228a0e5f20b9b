"""`mles-tx pub`: its options, and what it says."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli import pub as command
from mles_tx.cli.client_running import Failed
from mles_tx.cli.input import InputReader
from mles_tx.cli.pub import PubOptions, payload, said
from mles_tx.client.e2e import Cipher
from mles_tx.protocol.header import MAX_MESSAGE_BYTES


def source(content: bytes) -> InputReader:
    """Input with some content."""
    pieces = [content, b""]
    return InputReader(0, lambda *_: pieces.pop(0) if pieces else b"")


def parsed(*arguments: str) -> PubOptions:
    """The options of a command line, on a machine without a file of settings."""
    options = PubOptions({})
    options.parseOptions([*arguments, "--config", "/dev/null"])
    return options


class OptionsTests(SynchronousTestCase):
    """What it understands."""

    def test_text(self) -> None:
        """Without a text, or with a dash, it reads standard input."""
        for arguments, text in ((("a", "hello"), "hello"), (("a",), None), (("a", "-"), None), (("a", ""), "")):
            self.assertEqual(parsed(*arguments)["message"], text)

    def test_bad(self) -> None:
        """What makes no sense is refused."""
        for arguments, text in (
            (("a", "b", "c"), "put it into quotes"),
            ((), "give CHANNEL"),
            (("a", "b", "--blob"), "--blob"),
            (("a", "--blob", "--text", "--binary"), "--text"),
            (("a", "--text"), "--blob"),
        ):
            self.assertIn(text, str(self.assertRaises(usage.UsageError, parsed, *arguments)))


class SaidTests(SynchronousTestCase):
    """What is to be said."""

    def setUp(self) -> None:
        def at_once(_: object, call: Any, *args: Any) -> Deferred[Any]:
            return succeed(call(*args))

        self.patch(command, "in_daemon_thread", at_once)

    def all_said(self, content: bytes, *arguments: str) -> list[bytes]:
        async def collect() -> list[bytes]:
            return [data async for data in said(None, parsed("news", *arguments), source(content))]

        return self.successResultOf(Deferred.fromCoroutine(collect()))

    def test_text(self) -> None:
        """A text on the command line is one message, an empty one too."""
        self.assertEqual((self.all_said(b"x\n", "hello"), self.all_said(b"", "")), ([b"hello"], [b""]))

    def test_lines(self) -> None:
        """Standard input has a message in each line, however the lines end."""
        self.assertEqual(self.all_said(b"one\ntwo\r\n\nlast"), [b"one", b"two", b"", b"last"])
        self.assertEqual(self.all_said(b""), [])

    def test_blob(self) -> None:
        """As a blob it is one message, also when there is nothing in it."""
        self.assertEqual(self.all_said(b"one\ntwo\n", "--blob"), [b"one\ntwo\n"])
        self.assertEqual(self.all_said(b"", "--blob"), [b""])

    def test_large(self) -> None:
        """The largest message is one; a larger one is refused with its place."""
        largest = b"x" * MAX_MESSAGE_BYTES
        self.assertEqual(self.all_said(largest + b"\nmore\n"), [largest, b"more"])
        for content, arguments, text in (
            (b"a\n" + largest + b"x\n", (), "line 2"),
            (largest + b"x", ("--blob",), "input"),
        ):

            async def collect(content: bytes = content, arguments: tuple[str, ...] = arguments) -> None:
                async for _ in said(None, parsed("news", *arguments), source(content)):
                    pass

            self.assertIn(text, str(self.failureResultOf(Deferred.fromCoroutine(collect()), Failed).value))


class PayloadTests(SynchronousTestCase):
    """What is sent for it."""

    def test_kinds(self) -> None:
        """Lines go as text, blobs as bytes, unless the options say otherwise."""
        for arguments, sent in (
            (("a",), "x"),
            (("a", "-b"), b"x"),
            (("a", "--blob"), b"x"),
            (("a", "--blob", "-t"), "x"),
        ):
            self.assertEqual((arguments, payload(parsed(*arguments), "me", b"x", None)), (arguments, sent))

    def test_no_text(self) -> None:
        """Bytes that are no text are not sent as one."""
        self.assertIn("--binary", str(self.assertRaises(Failed, payload, parsed("a"), "me", b"\xff", None)))

    def test_sealed(self) -> None:
        """With a secret a line says who and when, as mles-client has it; a blob is sealed as it is."""
        cipher = Cipher(bytes(32))
        line = payload(parsed("a"), "me", b"hello", cipher)
        assert isinstance(line, bytes)
        self.assertRegex(cipher.open(line), rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ me: hello$")
        blob = payload(parsed("a", "--blob"), "me", b"\xff", cipher)
        assert isinstance(blob, bytes)
        self.assertEqual(cipher.open(blob), b"\xff")

    def test_no_room(self) -> None:
        """What would be too large once it is sealed is refused."""
        largest = b"x" * MAX_MESSAGE_BYTES
        for arguments in (("a",), ("a", "--blob")):
            self.assertRaises(Failed, payload, parsed(*arguments), "me", largest, Cipher(bytes(32)))
