"""Modules of the bundled page, asked one by one in a real browser."""

import json
from collections.abc import Mapping
from typing import Any

from mles_tx.protocol.closing import CloseReason

from .browsers import PageTestCase
from .support import LOCAL

#: Notes what came over links: arguments are [digest or frame, kind, uid of the sender], and where links begin.
_MEMORY = """
(async () => {
  const { Memory } = await import('/chat/memory.js');
  const digest = arguments[1] ? (frame) => `<${frame}>` : null;
  const memory = new Memory(digest);
  const told = [];
  for (const step of arguments[0]) {
    if (step.replay !== undefined) { memory.replayBegins(step.replay); continue; }
    if (step.over) { memory.replayIsOver(); continue; }
    if (step.since !== undefined) { told.push(memory.since(step.since)); continue; }
    const message = { kind: step.time ? 'line' : step.kind ?? 'text', time: step.time ? new Date() : null };
    const identity = memory.identify(step.frame, message);
    const { isNew, wasKnown } = memory.note(identity, message, Boolean(step.own), Boolean(step.inReplay));
    told.push(`${step.frame}${isNew ? ' new' : ''}${wasKnown ? ' all before' : ''}`);
  }
  return told;
})()
"""


#: What is to be said again after steps: a text is said, a number is how many minutes pass.
_OUTBOX = """
(async () => {
  const { Outbox } = await import('/chat/outbox.js');
  const outbox = await Outbox.open();
  const now = Date.now;
  try {
    for (const step of arguments[0]) {
      if (typeof step === 'number') { const before = Date.now; Date.now = () => before() + step * 60_000; }
      else if (step === '(heard)') outbox.heard();
      else if (step === '(lost)') outbox.unsure('#room', 0);
      else if (step.startsWith('(arrived) ')) outbox.arrived('#room', step.slice(10));
      else outbox.sent(outbox.add('#room', step, step), 0);
    }
    outbox.unsure('#room', 0);
    return outbox.due('#room').map(({ frame }) => frame);
  } finally {
    Date.now = now;
  }
})()
"""


class ModuleTests(PageTestCase):
    """Each is imported into a page."""

    def setUp(self) -> None:
        super().setUp()
        self.page = self.open(self.shared_server(LOCAL), uid="alice")

    def call(self, module: str, call: str, *arguments: object) -> Any:
        """The value of a call of what a module exports."""
        return self.page.ask(f"(await import('/chat/{module}.js')).{call}", *arguments)

    def test_reasons(self) -> None:
        """Every reason to close a connection has words, and is tried again as the protocol says."""
        said = set()
        for reason in CloseReason:
            told = self.call("words", "explain(arguments[0], arguments[1], true)", reason.code, reason.text)
            self.assertEqual(told["isToRetry"], reason.retry, reason)
            self.assertNotIn("The server said", told["text"], reason)
            self.assertTrue(told["remedy"] or reason.retry, reason)
            said.add(told["text"])
        self.assertGreater(len(said), 20)
        told = self.call("words", "explain(4999, 'something new', true)")
        self.assertEqual((told["text"], told["isToRetry"]), ("The server said: something new.", False))

    def test_links(self) -> None:
        """A link leads to the channel and the secret it was made for, whatever stands in them."""
        for channel, secret in (("example", ""), ("a&secret=b #%/?", ""), ("x", "a&secret=b+ü %"), ("a b", "c d")):
            fragment = self.call("link", "fragmentOf(arguments[0])", {"channel": channel, "secret": secret})
            self.assertRegex(fragment, r"^#[!-~]*$")
            self.assertEqual(
                self.call("link", "readFragment(arguments[0])", fragment), {"channel": channel, "secret": secret}
            )
        self.assertEqual(self.call("link", "readFragment('#50%&more')"), {"channel": "50%&more", "secret": ""})

    def test_texts(self) -> None:
        """Web addresses in texts are found with what belongs to them, and nothing else is one."""
        for text, found in (
            ("see http://a.example/x?y=1#z.", ["http://a.example/x?y=1#z"]),
            ("(https://a.example/b_(c))", ["https://a.example/b_(c)"]),
            ("HTTPS://A.example, https://b.example!", ["HTTPS://A.example", "https://b.example"]),
            ("javascript:alert(1) data:text/html,x file:///x //a.example", []),
            ("https:// http://user@a.example https://[", []),
            ("https://a.example/" + ")" * 2000, ["https://a.example/"]),
            ("https://a.example/" + "x" * 3000, []),
            ("(see [https://a.example/(b)[c]])].", ["https://a.example/(b)[c]"]),
            ("http://[ " * 200 + "http://a.example", []),
        ):
            pieces = self.call("text", "pieces(arguments[0])", text)
            self.assertEqual([piece["text"] for piece in pieces if "href" in piece], found)
            self.assertEqual("".join(piece["text"] for piece in pieces), text)
        self.assertEqual(self.call("text", "harmless('a\\r\\nb\\u202ec\\u200dd')"), "a\nb\ufffdc\u200dd")
        self.assertEqual(self.call("text", "harmlessName('exe\\u202egpj\\n')"), "exe\ufffdgpj\ufffd")
        self.assertEqual(len(self.call("text", "harmlessName('x'.repeat(500))")), 80)

    def test_many_brackets(self) -> None:
        """No text of others freezes the page."""
        took = self.page.ask(
            """
            (async () => {
              const { pieces } = await import('/chat/text.js');
              const began = performance.now();
              pieces(`http://${')'.repeat(2040)} `.repeat(512));
              return performance.now() - began;
            })()
            """
        )
        self.assertLess(took, 1000)  # a bound, not a measure: it took many times as long

    def test_pictures(self) -> None:
        """Only what begins like a picture made of pixels is one."""
        for start, kind in (
            (b"\x89PNG\r\n\x1a\n", "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x1cftypavif", "image/avif"),
            (b"<svg xmlns=", None),
            (b"RIFF\0\0\0\0WAVEfmt ", None),
            (b"", None),
        ):
            found = self.call("files", "pictureType(new Uint8Array(arguments[0]))", list(start))
            self.assertEqual(found, kind, start)

    def test_parts(self) -> None:
        """Parts are put together in any order, once; parts of nothing are none."""
        take = """
        (async () => {
          const { Assembly } = await import('/chat/files.js');
          const assembly = new Assembly();
          const take = (part, parts, id = 'x', uid = 'bob') =>
            assembly.take({ uid, head: { id, part, parts }, bytes: new Uint8Array([part]) });
          const told = [take(2, 3), take(0, 3), take(0, 3), take(0, 3, 'x', 'eve'), take(1, 3)].map((file) =>
            file.blobParts?.map(([byte]) => byte) ?? file.done);
          return [told, [take(3, 3), take(-1, 3), take(0, 65), take(0.5, 3), take(0, 3, 7)]];
        })()
        """
        self.assertEqual(self.page.ask(take), [[1, 2, 2, 1, [0, 1, 2]], [None] * 5])
        # Halves of files that never come whole take 32 MiB at most: the oldest go.
        pile = """
        (async () => {
          const { Assembly } = await import('/chat/files.js');
          const assembly = new Assembly();
          const take = (part, id) =>
            assembly.take({ uid: 'bob', head: { id, part, parts: 2 }, bytes: new Uint8Array(1024 * 1024) });
          for (let number = 0; number < 33; number += 1) take(0, `${number}`);
          return [take(1, '0').done, take(1, '32').done];
        })()
        """
        self.assertEqual(self.page.ask(pile), [1, 2])

    def remember(self, *steps: Mapping[str, object], has_digest: bool = True) -> list[Any]:
        """What the memory tells to some steps."""
        told: list[Any] = self.page.ask(_MEMORY, list(steps), has_digest)
        return told

    def test_resumed(self) -> None:
        """After a break only what is new is new, also of texts that are equal."""
        before = [{"frame": text} for text in ("hi", "hi", "hi")]
        replay = [{"frame": text, "inReplay": True} for text in ("hi", "hi", "ho")]
        self.assertEqual(
            self.remember(*before, {"since": 3}, {"replay": 3}, *replay),
            ["hi new"] * 3 + [["<hi>"] * 3] + ["hi new", "hi new", "ho new"],
        )
        # From before what had come last, since something of one's own may have been lost then.
        self.assertEqual(
            self.remember(*before, {"since": 1}, {"replay": 1}, *replay),
            ["hi new"] * 3 + [["<hi>"]] + ["hi", "hi", "ho new"],
        )
        self.assertEqual(self.remember({"frame": "hi"}, {"since": 0}), ["hi new", None])

    def test_whole_replay(self) -> None:
        """A server that replays everything doubles nothing, once it shows something that is known for sure."""
        self.assertEqual(
            self.remember(
                {"frame": "hi"},
                {"frame": "timed", "time": True},
                {"frame": "hi"},
                {"replay": 3},
                {"frame": "older", "inReplay": True},
                {"frame": "hi", "inReplay": True},
                {"frame": "timed", "time": True, "inReplay": True},
                {"frame": "hi", "inReplay": True},
                {"frame": "hi", "inReplay": True},
                {"over": True},
                {"frame": "end"},
                {"since": 5},
            ),
            [
                *(
                    "hi new",
                    "timed new",
                    "hi new",
                    "older new",
                    "hi new",
                    "timed all before",
                    "hi",
                    "hi new",
                    "end new",
                ),
                ["<hi>", "<timed>", "<hi>", "<hi>", "<end>"],
            ],
        )

    def test_twice_in_a_replay(self) -> None:
        """A message that stands in a history twice says nothing about what was there before."""
        self.assertEqual(
            self.remember(
                {"replay": 0},
                {"frame": "hi", "inReplay": True},
                {"frame": "timed", "time": True, "inReplay": True},
                {"frame": "timed", "time": True, "inReplay": True},
            ),
            ["hi new", "timed new", "timed"],
        )

    def test_own(self) -> None:
        """One's own messages are known by what is in them, and never part of what the server is asked by."""
        self.assertEqual(
            self.remember(
                {"frame": "mine", "time": True, "own": True},
                {"frame": "hers", "time": True},
                {"replay": 1},
                {"frame": "mine", "time": True, "own": True, "inReplay": True},
                {"frame": "mine too", "time": True, "own": True, "inReplay": True},
                {"frame": "joins", "kind": "join", "inReplay": True},
                {"since": 1},
            ),
            ["mine new", "hers new", "mine", "mine too new", "joins new", ["<hers>"]],
        )

    def test_said_again(self) -> None:
        """What is said again: what went out on a link that brought nothing well after it, within an hour, in order."""
        for steps, again in (
            (["a", 3, "b"], ["a", "b"]),
            (["a", 1, "(heard)", 9], ["a"]),
            (["a", 3, "b", "(heard)"], ["b"]),
            (["a", 30, "(lost)", "(heard)"], ["a"]),  # on the next link
            (["a", 30, "b", 40], ["b"]),
            (["a", "b", "c", "(lost)", "(arrived) b"], ["c"]),
            (["a", "(arrived) x"], ["a"]),
            ([*"abc" * 100, 3, "d", 1, "e"], ["c", *"abc" * 21, "d", "e"]),
        ):
            self.assertEqual(self.page.ask(_OUTBOX, steps), again, steps)

    def test_without_digests(self) -> None:
        """Without what comes from npm, messages are told apart by what stands in them, and all is asked for."""
        self.assertEqual(
            self.remember({"frame": "a", "time": True}, {"frame": "a", "time": True}, {"since": 1}, has_digest=False),
            ["a new", "a", None],
        )

    def test_auth_digest(self) -> None:
        """Its SipHash is that of the protocol."""
        self.assertEqual(
            self.page.ask("(await (await import('/chat/digests.js')).loadDigest())('aliceexample')"), "9b3b95527f7c2d80"
        )

    def test_frames(self) -> None:
        """Whatever others send is read as something."""
        read = "(await import('/chat/wire.js')).read(arguments[0], null)"
        for frame, kind in (
            ('{"text": "x", "uid": "bob", "time": "2026-11-22T12:00:00Z"}', "line"),
            ('{"text": "x", "uid": "bob", "time": 7}', "line"),
            ('{"uid": "bob", "channel": "example"}', "join"),
            ('{"uid": 7, "channel": "example"}', "text"),
            ("null", "text"),
            ("[1]", "text"),
            ("{", "text"),
            ("", "text"),
        ):
            self.assertEqual(self.page.ask(read, frame)["kind"], kind, frame)
        for head, kind in (
            ({"file": "x", "uid": "bob"}, "file"),
            ({"file": "x"}, "bytes"),
            ({"file": 7, "uid": "bob"}, "bytes"),
        ):
            bytes_read = "(await import('/chat/wire.js')).read(new TextEncoder().encode(arguments[0]), null)"
            self.assertEqual(self.page.ask(bytes_read, json.dumps(head) + "\n...")["kind"], kind, head)
