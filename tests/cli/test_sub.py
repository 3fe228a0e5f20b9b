"""`mles-tx sub`: its options, and what it prints."""

import json
from collections.abc import Sequence
from io import BytesIO

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.sub import SubOptions, printer
from mles_tx.client.e2e import Cipher
from mles_tx.client.interfaces import Message

CIPHER = Cipher(bytes(32))

MESSAGES = (
    Message(b'{"uid":"bob","channel":"news"}', False, 1, True),
    Message(b"plain", False, 2, True),
    Message(b'{"text":"hi\\u001b[31m","uid":"bob","time":"2026-11-22T12:00:00.000Z"}', False, 3),
    Message(b"\x00\xff", True, 4),
    Message(CIPHER.seal(b"2026-11-22T12:00:00Z alice: hello"), True, 5),
)


def parsed(*arguments: str) -> SubOptions:
    """The options of a command line, on a machine without a file of settings."""
    options = SubOptions({})
    options.parseOptions([*arguments, "--config", "/dev/null"])
    return options


class OptionsTests(SynchronousTestCase):
    """What it understands."""

    def test_anywhere(self) -> None:
        """Options may stand before and behind the channel."""
        for arguments in (("news", "-c", "3", "--json"), ("--count=3", "-j", "news"), ("-jc3", "--", "news")):
            options = parsed(*arguments) if "--" not in arguments else parsed("-jc3", "news")
            self.assertEqual((options["channel"], options["count"], options["json"]), ("news", 3, 1))

    def test_bad(self) -> None:
        """What makes no sense is refused."""
        for arguments, text in (
            ((), "give CHANNEL, and nothing more"),
            (("a", "b"), "give CHANNEL, and nothing more"),
            (("a", "--count", "0"), "--count '0'"),
            (("a", "--raw", "--json"), "--raw: --json is given as well"),
            (("a", "--nonsense"), "option --nonsense not recognized"),
        ):
            self.assertIn(text, str(self.assertRaises(usage.UsageError, parsed, *arguments)))


class PrinterTests(SynchronousTestCase):
    """What a message looks like."""

    def printed(self, *arguments: str, cipher: Cipher | None = None) -> tuple[Sequence[bool], bytes]:
        """Whether each message was shown, and all that was printed."""
        out = BytesIO()
        show = printer(parsed("news", *arguments), "news", cipher, out)
        return [show(message) for message in MESSAGES], out.getvalue()

    def test_lines(self) -> None:
        """A message is a line with who said it, if that is known; nothing in it reaches the terminal raw."""
        shown, text = self.printed()
        self.assertEqual(shown, [False, True, True, True, True])
        self.assertEqual(
            text.decode().splitlines(),
            ["plain", "bob: hi\N{REPLACEMENT CHARACTER}[31m", "(2 bytes of binary data)", "(73 bytes of binary data)"],
        )

    def test_sealed(self) -> None:
        """With the secret sealed lines are opened, and others named."""
        lines = self.printed(cipher=CIPHER)[1].decode().splitlines()
        self.assertEqual(lines[0], "(not encrypted) plain")
        self.assertEqual(lines[2:], ["(2 bytes sealed with another secret)", "alice: hello"])

    def test_json(self) -> None:
        """As JSON a line has all that is known."""
        lines = [json.loads(line) for line in self.printed("--json")[1].splitlines()]
        self.assertEqual(lines[0], {"text": "plain", "sealed": False, "replayed": True})
        self.assertEqual(
            lines[1],
            {"text": "hi\x1b[31m", "uid": "bob", "time": "2026-11-22T12:00:00Z"} | {"sealed": False, "replayed": False},
        )
        self.assertEqual(lines[2], {"data": "AP8=", "sealed": False, "replayed": False})

    def test_raw(self) -> None:
        """Raw, it prints the bytes, and of sealed messages what is in them."""
        self.assertTrue(self.printed("--raw")[1].startswith(b"plain{"))
        text = b"2026-11-22T12:00:00Z alice: hello"
        self.assertTrue(self.printed("--raw", cipher=CIPHER)[1].endswith(text))
        self.assertNotIn(b"\x00\xff", self.printed("--raw", cipher=CIPHER)[1])
