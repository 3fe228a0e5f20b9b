"""What a client may ask for in its first frame, and the server's key: on real sockets."""

from pathlib import Path
from typing import Any

from .clients import PING, PONG, TEXT, Member, frame, join_frame
from .processes import Server
from .support import LOCAL, SECURE, Contract, IntegrationTestCase

#: What is said before somebody joins, and the digests of it (SipHash-2-4, zero key), from another program.
SPOKEN: tuple[str | bytes, ...] = ("one", b"two", "three", b"four")
ONE, TWO, THREE, FOUR = "dc3de788e705129f", "62cb5fd742dbcfe8", "887a5584cc868c4a", "b6f6567008ae2cc2"
UNKNOWN = "0123456789abcdef"

#: What real clients send for uid alice on channel example: without a key, and with the key s3cret.
AUTH_WITHOUT_KEY = "9b3b95527f7c2d80"
AUTH_WITH_KEY = "2446b8f3f28ff385"


class ExtensionsContract(Contract):
    """`history`, `since` and `receive`, whatever the scheme."""

    command: tuple[str, ...]

    @property
    def server(self) -> Server:
        return self.shared_server(self.command)

    def _new_channel_with_history(self) -> Member:
        """Somebody says all of SPOKEN on a channel that was not used before."""
        self.channel += "+"
        alice = self.member(self.server, "alice")
        for message in SPOKEN:
            alice.send(message)
        alice.settle()
        return alice

    def _replayed(self, **asked: Any) -> list[str | bytes]:
        """What somebody is sent who asks for it: all that comes before the next message."""
        alice = self._new_channel_with_history()
        bob = self.member(self.server, "bob", **asked)
        alice.send("live")
        received = [bob.receive()]
        while received[-1] != "live":
            received.append(bob.receive())
        return received[:-1]

    def _everything(self) -> list[str | bytes]:
        return [join_frame("alice", self.channel), *SPOKEN]

    def test_history(self) -> None:
        """A joiner is sent as many of the last messages as it asks for, without join frames."""
        for asked, replayed in ((0, []), (1, [b"four"]), (3, [b"two", "three", b"four"]), (99, [*SPOKEN])):
            self.assertEqual(self._replayed(history=asked), replayed, f"history {asked}")

    def test_nothing_asked(self) -> None:
        """Who asks for nothing gets everything; who asks with null asks for nothing."""
        self.assertEqual(self._replayed(), self._everything())
        self.assertEqual(self._replayed(history=None, since=None, receive=None), self._everything())

    def test_since(self) -> None:
        """Who names the last frames it has gets what came behind them."""
        for known, replayed in (
            ([ONE], ["two", "three", "four"]),
            ([ONE, TWO], ["three", "four"]),
            ([TWO.upper(), THREE], ["four"]),
            ([ONE, TWO, THREE, FOUR], []),
        ):
            messages = [m.decode() if isinstance(m, bytes) else m for m in self._replayed(since=known)]
            self.assertEqual(messages, replayed, f"since {known}")

    def test_since_unknown(self) -> None:
        """Who names frames that do not stand in the history in that order gets everything."""
        for known in ([UNKNOWN], [TWO, ONE], [ONE, THREE], []):
            self.assertEqual(self._replayed(since=known), self._everything(), f"since {known}")

    def test_what_a_server_says(self) -> None:
        """The answer to an upgrade says which extensions there are, the same as long as the server runs."""
        found = [self.raw(self.server).upgrade().header("Mles-Extensions") for _ in range(2)]
        self.assertRegex(found[0] or "", r"^history, since, receive, resync; limit=200; run=[0-9a-f]{16}$")
        self.assertEqual(found[0], found[1])

    def test_caught_up(self) -> None:
        """The answer to a certain ping comes behind the history, however long that is."""
        alice = self._new_channel_with_history()
        for number in range(150):
            alice.send(bytes((number,)) * 60_000)
        alice.settle()
        bob = self.raw(self.server)
        self.assertEqual(bob.upgrade().status, 101)
        bob.send(frame(TEXT, join_frame("bob", self.channel, history=999).encode()) + frame(PING, b"caught up?"))
        opcodes: list[int] = []
        while not opcodes or opcodes[-1] != PONG:
            opcodes.append(bob.read_frame()[0])
        self.assertEqual(len(opcodes), len(SPOKEN) + 150 + 1)

    def test_publish_only(self) -> None:
        """Who asks not to receive is sent neither history nor messages, and is heard."""
        alice = self._new_channel_with_history()
        sensor = self.raw(self.server)
        self.assertEqual(sensor.upgrade().status, 101)
        sensor.send(frame(TEXT, join_frame("sensor", self.channel, receive=False).encode()) + frame(PING, b"1"))
        self.assertEqual(sensor.read_frame(), (PONG, b"1"))
        alice.send("not for the sensor")
        alice.settle()
        sensor.send(frame(TEXT, b"21.5") + frame(PING, b"2"))
        self.assertEqual(sensor.read_frame(), (PONG, b"2"))
        self.assertEqual(alice.receive(), "21.5")

    def test_not_replayed(self) -> None:
        """What somebody asked for, and its auth value, are not shown to later joiners; other keys are."""
        self.channel = "example"
        alice = self.member(
            self.server, "alice", history=0, since=[ONE], receive=True, auth=AUTH_WITHOUT_KEY, colour="blue"
        )
        bob = self.member(self.server, "bob")
        self.assertEqual(bob.receive(), join_frame("alice", "example", colour="blue"))
        alice.leave()


class PlainExtensionsTests(ExtensionsContract, IntegrationTestCase):
    """Over ws, in the local mode."""

    command = LOCAL


class SecureExtensionsTests(ExtensionsContract, IntegrationTestCase):
    """Over wss, under twistd."""

    command = SECURE


class ResyncContract(Contract):
    """`resync`, whatever the history is kept in."""

    history: tuple[str, ...] = ()

    def test_resync(self) -> None:
        """A server that has nothing takes the history a client holds, once; one that has something ignores it."""
        server = self.start_server(*LOCAL, *self.history)
        bob = self.member(server, "bob")
        for number, heard in enumerate((list(SPOKEN), [])):
            alice = self.member(server, f"alice {number}", resync=len(SPOKEN), history=0)
            for message in (*SPOKEN, f"said {number}"):
                alice.send(message)
            alice.settle()
            self.assertEqual(bob.receive_some(len(heard) + 1), [*heard, f"said {number}"])
        zoe = self.member(server, "zoe", history=99)
        self.assertEqual(zoe.receive_some(len(SPOKEN) + 2), [*SPOKEN, "said 0", "said 1"])


class MemoryResyncTests(ResyncContract, IntegrationTestCase):
    """In memory."""


class RelaxedResyncTests(ResyncContract, IntegrationTestCase):
    """In a file."""

    history = ("--history", "sqlite:history.db")


class StrictResyncTests(ResyncContract, IntegrationTestCase):
    """In a file, and delivered when it is on disk."""

    history = ("--history", "sqlite:history.db", "--durability", "strict")


class KeyTests(IntegrationTestCase):
    """Joining a server that has a key."""

    def _refusal(self, server: Server, uid: str, **auth: str) -> tuple[int, str]:
        client = self.client(server)
        client.send(join_frame(uid, "example", **auth))
        return client.closed()

    def _check(self, server: Server) -> None:
        alice = self.member(server, "alice", "example", auth=AUTH_WITH_KEY)
        bob = self.member(server, "bob", "example", auth="9d32914c2e5a25a4")
        self.assertEqual(bob.receive(), join_frame("alice", "example"))
        alice.send("secret")
        self.assertEqual(bob.receive(), "secret")
        for auth, refusal in (
            ({}, (4510, "this server needs auth in the first frame")),
            ({"auth": AUTH_WITHOUT_KEY}, (4511, "auth does not match uid, channel and key")),
            ({"auth": "+" + AUTH_WITH_KEY}, (4504, "auth must be a string of 1 to 16 hex digits")),
        ):
            self.assertEqual(self._refusal(server, "alice", **auth), refusal, str(auth))
        # The others' uids do not help: the value is for one uid.
        self.assertEqual(
            self._refusal(server, "mallory", auth=AUTH_WITH_KEY), (4511, "auth does not match uid, channel and key")
        )
        bob.send("still here")
        self.assertEqual(alice.receive(), "still here")
        self.assert_no_faults(server)
        for secret in ("s3cret", AUTH_WITH_KEY, AUTH_WITHOUT_KEY):
            self.assertNotIn(secret, server.output)

    def test_key_in_environment(self) -> None:
        """With MLES_KEY set, who knows the key joins, and nobody else; it stands in no log."""
        self._check(self.start_server(*LOCAL, environ={"MLES_KEY": "s3cret"}))

    def test_key_in_file(self) -> None:
        """The same with the key in a file, with or without a newline at its end, and under twistd."""
        path = Path(self.mktemp())
        path.write_text("s3cret\n")
        self._check(self.start_server(*SECURE, "--key-file", str(path.absolute())))

    def test_no_key(self) -> None:
        """Without a key nobody needs an auth value; one that is there is checked all the same."""
        server = self.shared_server(LOCAL)
        self.assertEqual(
            self._refusal(server, "alice", auth=AUTH_WITH_KEY), (4511, "auth does not match uid, channel and key")
        )
        self.member(server, "alice", "example", auth=AUTH_WITHOUT_KEY).leave()
        self.member(server, "alice", "example").leave()
