"""What Mles is for: clients join a channel, talk, and later ones get what was said. With unmodified clients."""

from .clients import Websocat, join_frame
from .processes import Server
from .support import LOCAL, SECURE, Contract, IntegrationTestCase

BYTES = bytes(range(256))
TEXT = "äöü \N{GRINNING FACE} \\u0000 T B"


class MainJobContract(Contract):
    """What a member can rely on, whatever the scheme."""

    command: tuple[str, ...]

    @property
    def server(self) -> Server:
        return self.shared_server(self.command)

    def _websocat_member(self, uid: str) -> Websocat:
        client = self.websocat(self.server, "-t", *Websocat.TYPED, "--protocol", "mles-websocket")
        client.write_line(join_frame(uid, self.channel))
        self.await_join(self.server, uid)
        return client

    def test_two_programs_talk(self) -> None:
        """Text and bytes go from either program to the other, whole, in order and with their type."""
        cat = self._websocat_member("cat")
        library = self.member(self.server, "library")
        self.assertEqual(library.receive(), join_frame("cat", self.channel) + "\n")
        spoken: list[str | bytes] = ["hello", BYTES, TEXT, b"\x00", "{}", b"last"]
        for message in spoken:
            cat.send(message)
        self.assertEqual(
            library.receive_some(6), [message + "\n" if isinstance(message, str) else message for message in spoken]
        )
        for message in spoken:
            library.send(message)
        self.assertEqual([cat.receive() for _ in spoken], spoken)

    def test_history(self) -> None:
        """Who comes when the others have left gets their join frames and messages, in order and unchanged."""
        cat = self._websocat_member("cat")
        library = self.member(self.server, "library")
        cat.send("from cat")
        cat.send(BYTES)
        library.receive_some(3)
        library.send(TEXT)
        library.send(BYTES * 100)
        self.assertEqual([cat.receive(), cat.receive()], [TEXT, BYTES * 100])
        cat.leave()
        library.leave()
        third = self.member(self.server, "third")
        self.assertEqual(
            third.receive_some(6),
            [
                join_frame("cat", self.channel) + "\n",
                join_frame("library", self.channel),
                "from cat\n",
                BYTES,
                TEXT,
                BYTES * 100,
            ],
        )

    def test_history_for_websocat(self) -> None:
        """The history also reaches the program of the manual, in its plainest form."""
        library = self.member(self.server, "library")
        library.send("one")
        library.send("two")
        library.settle()
        cat = self.websocat(self.server, "-t", "--protocol", "mles-websocket")
        cat.write_line(join_frame("cat", self.channel))
        self.assertEqual([cat.read_line() for _ in range(3)], [join_frame("library", self.channel), "one", "two"])
        cat.write_line("three")
        self.assertEqual(library.receive(), "three\n")

    def test_subprotocol_as_plain_header(self) -> None:
        """The subprotocol may come as a header that the client itself knows nothing of."""
        library = self.member(self.server, "library")
        cat = self.websocat(self.server, "--header", "Sec-WebSocket-Protocol: mles-websocket")
        cat.write_line(join_frame("cat", self.channel))
        self.assertEqual(cat.read_line(), join_frame("library", self.channel))
        cat.write_line("hello")
        self.assertEqual(library.receive(), "hello\n")

    def test_sender_does_not_hear_itself(self) -> None:
        """The first a sender hears is what somebody else says."""
        alice = self.member(self.server, "alice")
        bob = self.member(self.server, "bob", history=0)
        alice.send("mine")
        alice.send(b"mine")
        self.assertEqual(bob.receive_some(2), ["mine", b"mine"])
        bob.send("his")
        self.assertEqual(alice.receive(), "his")

    def test_join_is_not_announced(self) -> None:
        """Members that are there get no frame when somebody joins: for old clients it would be a message."""
        alice = self.member(self.server, "alice")
        bob = self.member(self.server, "bob", history=0)
        bob.send("first")
        self.assertEqual(alice.receive(), "first")

    def test_channels_are_separate(self) -> None:
        """What is said on one channel is not heard on another."""
        alice = self.member(self.server, "alice", self.channel + " 1")
        other = self.member(self.server, "alice", self.channel + " 2")
        bob = self.member(self.server, "bob", self.channel + " 2", history=0)
        alice.send("elsewhere")
        alice.settle()
        other.send("here")
        self.assertEqual(bob.receive(), "here")

    def test_rejoin(self) -> None:
        """Who left may come back at once, under the same uid, and gets its own messages as well."""
        alice = self.member(self.server, "alice")
        alice.send("mine")
        alice.leave()
        again = self.member(self.server, "alice")
        self.assertEqual(again.receive_some(2), [join_frame("alice", self.channel), "mine"])

    def test_largest_message(self) -> None:
        """A message of 1 MiB passes unchanged."""
        alice = self.member(self.server, "alice")
        bob = self.member(self.server, "bob", history=0)
        largest = BYTES * 4096
        alice.send(largest)
        self.assertEqual(bob.receive(), largest)


class PlainMainJobTests(MainJobContract, IntegrationTestCase):
    """Over ws, in the local mode."""

    command = LOCAL


class SecureMainJobTests(MainJobContract, IntegrationTestCase):
    """Over wss, under twistd."""

    command = SECURE

    def test_subprotocol_is_selected(self) -> None:
        """The library is told that its subprotocol was chosen."""
        self.assertEqual(self.client(self.server).connection.subprotocol, "mles-websocket")
