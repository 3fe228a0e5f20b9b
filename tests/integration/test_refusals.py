"""What peers get who do not keep to the rules, and that nobody else notices: on real sockets."""

from threading import Thread

from .clients import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Member, RawClient, frame, join_frame
from .processes import Server
from .support import LOCAL, SECURE, Contract, IntegrationTestCase

NOT_JSON = (4500, "first frame is not a JSON object")
TWICE = (4501, "first frame has a key twice")
UID = (4502, "uid must be a non-empty string of printable ASCII")
CHANNEL = (4503, "channel must be a non-empty string of printable ASCII")
AUTH = (4504, "auth must be a string of 1 to 16 hex digits")
HISTORY = (4505, "history must be a whole number, 0 or more")
SINCE = (4506, "since must be a list of at most 8 strings of 16 hex digits")
RECEIVE = (4507, "receive must be true or false")
FIRST_TOO_LARGE = (1009, "first frame is larger than 16384 bytes")
TOO_LARGE = (1009, "message is larger than 1048576 bytes")
TOO_MANY_FRAGMENTS = (1009, "message has more than 16384 fragments")
BROKEN = (1002, "broken WebSocket frame")
NOT_UTF8 = (1007, "text frame is not valid UTF-8")

#: First frames, and how they are refused.
FIRST_FRAMES: tuple[tuple[bytes, tuple[int, str]], ...] = (
    (b"", NOT_JSON),
    (b"\n", NOT_JSON),
    (b"hello", NOT_JSON),
    (b"[]", NOT_JSON),
    (b'"uid"', NOT_JSON),
    (b'{"uid":"a","channel":"c"', NOT_JSON),
    (b'{"uid":"a","channel":"c"}}', NOT_JSON),
    (b'{"uid":"a","channel":"c","more":NaN}', NOT_JSON),
    (b'{"uid":"a","channel":"c","more":1e999}', NOT_JSON),
    (b'{"uid":"a","channel":"c","more":"\\ud800"}', NOT_JSON),
    (b'{"uid":"a","channel":"c","more":"\x00"}', NOT_JSON),
    (b"[" * 16000, NOT_JSON),
    (b'{"a":' * 2000 + b"1" + b"}" * 2000, NOT_JSON),
    (b'{"uid":"a","channel":"c","more":' + b"9" * 16000 + b"}", NOT_JSON),
    (b'{"uid":"a","uid":"b","channel":"c"}', TWICE),
    (b'{"uid":"a","channel":"c","more":{"x":1,"x":2}}', TWICE),
    (b"{}", UID),
    (b'{"channel":"c"}', UID),
    (b'{"uid":"","channel":"c"}', UID),
    (b'{"uid":1,"channel":"c"}', UID),
    (b'{"uid":"\xc3\xa4","channel":"c"}', UID),
    (b'{"uid":"a\\nb","channel":"c"}', UID),
    (b'{"uid":"a\\u0000","channel":"c"}', UID),
    (b'{"uid":"a"}', CHANNEL),
    (b'{"uid":"a","channel":""}', CHANNEL),
    (b'{"uid":"a","channel":null}', CHANNEL),
    (b'{"uid":"a","channel":"\\u001b[2J"}', CHANNEL),
    (b'{"uid":"a","channel":"c","auth":1}', AUTH),
    (b'{"uid":"a","channel":"c","auth":""}', AUTH),
    (b'{"uid":"a","channel":"c","auth":"00000000000000000"}', AUTH),
    (b'{"uid":"a","channel":"c","history":-1}', HISTORY),
    (b'{"uid":"a","channel":"c","history":true}', HISTORY),
    (b'{"uid":"a","channel":"c","history":1.0}', HISTORY),
    (b'{"uid":"a","channel":"c","since":"0123456789abcdef"}', SINCE),
    (b'{"uid":"a","channel":"c","since":["123"]}', SINCE),
    (b'{"uid":"a","channel":"c","receive":0}', RECEIVE),
)

#: What a member sends, and how it ends.
MEMBER_FRAMES: tuple[tuple[str, bytes, tuple[int, str]], ...] = (
    ("announces 1 MiB and a byte", frame(BINARY, announced=1024 * 1024 + 1), TOO_LARGE),
    ("announces 1 GiB", frame(BINARY, announced=1024**3), TOO_LARGE),
    ("announces 2^63-1 bytes", frame(TEXT, announced=2**63 - 1), TOO_LARGE),
    ("announces 2^63 bytes", frame(BINARY, announced=2**63), BROKEN),
    (
        "a second fragment that is too much",
        frame(BINARY, bytes(1024 * 1024), final=False) + frame(CONTINUATION, announced=1),
        TOO_LARGE,
    ),
    ("not masked", frame(TEXT, b"hello", masked=False), BROKEN),
    ("invalid UTF-8", frame(TEXT, b"\xc3("), NOT_UTF8),
    ("UTF-8 that ends early", frame(TEXT, b"\xe2\x82"), NOT_UTF8),
    ("a reserved opcode", frame(3, b"hello"), BROKEN),
    ("a compressed frame", frame(TEXT | 0x40, b"hello"), BROKEN),
    ("a continuation of nothing", frame(CONTINUATION, b"hello"), BROKEN),
    ("a new message inside a message", frame(TEXT, final=False) + frame(TEXT), BROKEN),
    ("a ping of 126 bytes", frame(PING, bytes(126)), BROKEN),
    ("a ping in fragments", frame(PING, final=False), BROKEN),
    ("a close frame of one byte", frame(CLOSE, b"\x03"), BROKEN),
    ("a close code nobody may send", frame(CLOSE, (1005).to_bytes(2, "big")), BROKEN),
)


class RefusalsContract(Contract):
    """Refusals, whatever the scheme."""

    command: tuple[str, ...]

    @property
    def server(self) -> Server:
        return self.shared_server(self.command)

    def _upgraded(self) -> RawClient:
        client = self.raw(self.server)
        self.assertEqual(client.upgrade().status, 101)
        return client

    def test_first_frames(self) -> None:
        """A first frame that breaks a rule is answered with a close code and the rule."""
        for payload, refusal in FIRST_FRAMES:
            with self._upgraded() as client:
                client.send(frame(TEXT, payload))
                self.assertEqual(client.read_close(), refusal, repr(payload[:80]))
        self.assert_healthy(self.server)

    def test_first_frame_not_text(self) -> None:
        """A binary first frame is refused, also when it says the right thing."""
        client = self._upgraded()
        client.send(frame(BINARY, join_frame("alice", self.channel).encode()))
        self.assertEqual(client.read_close(), (1003, "first frame must be a text frame"), "binary")
        self.assert_healthy(self.server)

    def test_first_frame_size(self) -> None:
        """A first frame may have 16 KiB; what announces more is refused before it has come."""
        client = self._upgraded()
        padded = join_frame("alice", self.channel).encode().ljust(16384)
        client.send(frame(TEXT, padded) + frame(PING, b"joined"))
        self.assertEqual(client.read_frame(), (PONG, b"joined"))
        for what, data in (
            ("17 KiB", frame(TEXT, padded + bytes(1024))),
            ("announces 16 KiB and a byte", frame(TEXT, announced=16385)),
            ("announces 2^63-1", frame(TEXT, announced=2**63 - 1)),
            ("in fragments", frame(TEXT, padded, final=False) + frame(CONTINUATION, announced=1)),
        ):
            with self._upgraded() as client:
                client.send(data)
                self.assertEqual(client.read_close(), FIRST_TOO_LARGE, what)
        self.assert_healthy(self.server)

    def test_ping_before_first_frame(self) -> None:
        """A ping before the first frame is answered; the first frame may follow."""
        client = self._upgraded()
        client.send(frame(PING, b"early"))
        self.assertEqual(client.read_frame(), (PONG, b"early"))
        client.send(frame(TEXT, join_frame("alice", self.channel).encode()))
        bob = self.member(self.server, "bob")
        self.assertEqual(bob.receive(), join_frame("alice", self.channel))

    def test_member_frames(self) -> None:
        """A member that breaks a rule is told which, at once, and its channel goes on."""
        witness = self.member(self.server, "witness")
        for number, (what, data, refusal) in enumerate(MEMBER_FRAMES):
            with self.raw(self.server) as client:
                self.assertEqual(client.upgrade().status, 101)
                asked = join_frame(f"member {number}", self.channel, history=0)
                client.send(frame(TEXT, asked.encode()) + frame(TEXT, b"hello") + data)
                self.assertEqual(client.read_close(), refusal, what)
            self.assertEqual(witness.receive(), "hello", what)
        self.assert_healthy(self.server)

    def test_whole_message_too_large(self) -> None:
        """A client that sends 1 MiB and a byte with all its bytes learns why it was closed."""
        alice = self.member(self.server, "alice")
        alice.send(bytes(1024 * 1024 + 1))
        self.assertEqual(alice.closed(), TOO_LARGE)
        self.assert_healthy(self.server)

    def test_endless_fragments(self) -> None:
        """Empty fragments without end are cut off, for a stranger and for a member."""
        for joined in (False, True):
            client = self.raw_member(self.server, "alice") if joined else self._upgraded()
            client.send(frame(TEXT, final=False) + frame(CONTINUATION, final=False) * 16384)
            self.assertEqual(client.read_close(), TOO_MANY_FRAGMENTS, f"joined: {joined}")
        self.assert_healthy(self.server)

    def test_floods(self) -> None:
        """While several peers flood with empty fragments two others talk as before; each is cut off for what it did."""
        flood = frame(TEXT, final=False) + frame(CONTINUATION, final=False) * 16384
        clients = [self.raw_member(self.server, f"flood {number}", history=0) for number in range(4)]
        alice, bob = self.member(self.server, "alice", history=0), self.member(self.server, "bob", history=0)
        senders = [Thread(target=client.send, args=(flood,)) for client in clients]
        for sender in senders:
            sender.start()
        for number in range(50):
            bob.send(f"{number}")
            self.assertEqual(alice.receive(), f"{number}")
        for client, sender in zip(clients, senders, strict=True):
            sender.join()
            self.assertEqual(client.read_close(), TOO_MANY_FRAGMENTS)
        self.assert_healthy(self.server)

    def test_missing_subprotocol(self) -> None:
        """A WebSocket client that does not name the subprotocol is told its name."""
        for offered in (None, "chat", "mles-websocket2", "MLES"):
            with self.raw(self.server) as client:
                answer = client.upgrade(subprotocol=offered)
                self.assertEqual(answer.status, 400, offered)
                self.assertIn(b"mles-websocket", answer.body, offered)
                client.read_to_end()
        self.assert_healthy(self.server)

    def test_subprotocol_in_list(self) -> None:
        """The subprotocol may be one of several."""
        answer = self.raw(self.server).upgrade(subprotocol="chat, mles-websocket")
        self.assertEqual((answer.status, answer.header("Sec-WebSocket-Protocol")), (101, "mles-websocket"))

    def test_not_a_handshake(self) -> None:
        """An upgrade that is none is answered with an error that repeats nothing of it."""
        for what, request, status in (
            ("no key", "Sec-WebSocket-Version: 13", 400),
            ("an old version", "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 426),
            ("a short key", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: secret", 400),
        ):
            with self.raw(self.server) as client:
                head = f"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{request}"
                client.send(head.encode() + b"\r\nX-Marker: reflected\r\n\r\n")
                answer = client.read_answer()
                self.assertEqual(answer.status, status, what)
                self.assertNotIn("reflected", answer.head + answer.body.decode())
                client.read_to_end()
        self.assert_healthy(self.server)

    def test_request_head_too_large(self) -> None:
        """A request head of more than 16 KiB is refused, whether it ends or not, and whatever it asks for."""
        line = b"X-Padding: " + b"x" * 1000 + b"\r\n"
        for what, start in (("web", b"GET / HTTP/1.1\r\nHost: localhost\r\n"), ("websocket", None)):
            for end in (b"", b"\r\n"):
                with self.raw(self.server) as client:
                    client.send((start or client.upgrade_request()[:-2]) + line * 17 + end)
                    self.assertEqual(client.read_answer().status, 431, what)
                    client.read_to_end()
        self.assert_healthy(self.server)

    def test_uid_in_use(self) -> None:
        """Who asks for the uid of a member that is alive is refused, and the member stays."""
        holder = self.member(self.server, "alice")
        newcomer = self.client(self.server)
        newcomer.send(join_frame("alice", self.channel))
        self.assertEqual(newcomer.closed(), (4512, "uid is in use on this channel"))
        bob = self.member(self.server, "bob", history=0)
        holder.send("still here")
        self.assertEqual(bob.receive(), "still here")
        self.assert_healthy(self.server)

    def test_uid_of_dead_link(self) -> None:
        """Who asks for the uid of a link that answers nothing is in soon, and gets the history."""
        dead = self.raw_member(self.server, "alice")
        dead.send(frame(TEXT, b"before"))
        newcomer: Member = self.client(self.server)
        newcomer.send(join_frame("alice", self.channel))
        self.assertEqual(newcomer.receive(), join_frame("alice", self.channel))
        self.assertEqual(newcomer.receive(), "before")
        self.assertEqual(dead.read_close(), (4513, "the same uid joined again while this link was silent"))
        bob = self.member(self.server, "bob", history=0)
        newcomer.send("back")
        self.assertEqual(bob.receive(), "back")
        self.assert_healthy(self.server)

    def test_ping(self) -> None:
        """A member's ping is answered with its payload; nobody else gets it, now or later."""
        alice = self.raw_member(self.server, "alice")
        bob = self.member(self.server, "bob")
        for payload in (b"", b"ping", bytes(range(125))):
            alice.send(frame(PING, payload))
            self.assertEqual(alice.read_frame(), (PONG, payload))
        alice.send(frame(PONG, b"unasked") + frame(TEXT, b"a message"))
        self.assertEqual(bob.receive_some(2), [join_frame("alice", self.channel), "a message"])
        later = self.member(self.server, "later")
        self.assertEqual(
            later.receive_some(3), [join_frame("alice", self.channel), join_frame("bob", self.channel), "a message"]
        )
        alice.send(frame(TEXT, b"the next"))
        self.assertEqual([bob.receive(), later.receive()], ["the next", "the next"])
        self.assert_healthy(self.server)


class PlainRefusalsTests(RefusalsContract, IntegrationTestCase):
    """Over ws, in the local mode."""

    command = LOCAL


class SecureRefusalsTests(RefusalsContract, IntegrationTestCase):
    """Over wss, under twistd."""

    command = SECURE

    def test_stubborn_peer(self) -> None:
        """A refused peer that neither answers the close frame nor leaves is not kept."""
        client = self._upgraded()
        client.send(frame(TEXT, b"hello"))
        self.assertEqual(client.read_close(), NOT_JSON)
        client.read_to_end()
        self.assert_healthy(self.server)
