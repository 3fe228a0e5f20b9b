"""Members that stop reading, or vanish, while much is on its way to them: on real sockets."""

import contextlib
import resource

from .clients import PING, PONG, TEXT, Member, RawClient, frame, join_frame
from .processes import Server
from .support import LOCAL, SECURE, Contract, IntegrationTestCase

KIB, MIB = 1024, 1024 * 1024

MESSAGE = 64 * KIB
BURST = 64 * MIB

#: So many messages are sent before somebody reads them: who reads is never far behind, however slow the machine.
STEP = 16

VANISHING = 1000

#: Descriptors for those who vanish, and for everything else that is open.
DESCRIPTORS = VANISHING + 500


def numbered(number: int, size: int) -> bytes:
    """A message that is like no other."""
    return f"{number:08}".encode().ljust(size, b".")


class SlowMembersContract(Contract):
    """What holds whatever the scheme."""

    command: tuple[str, ...]

    def test_member_that_stops_reading(self) -> None:
        """While 64 MiB pass a member that does not read, the others get everything, and it is cut off."""
        server = self.start_server(*self.command, "--rate-limit", "0")
        reader = self.member(server, "reader")
        publisher = self.member(server, "publisher", history=0)
        elsewhere = self.member(server, "alice", "elsewhere"), self.member(server, "bob", "elsewhere", history=0)
        slow = self.raw_member(server, "slow", receive_buffer=64 * KIB, history=0)
        self.exchange(elsewhere, "before")
        before = most = server.resident_bytes
        for first in range(0, BURST // MESSAGE, STEP):
            numbers = range(first, first + STEP)
            for number in numbers:
                publisher.send(numbered(number, MESSAGE))
            self.exchange(elsewhere, f"{first} messages later")
            for number in numbers:
                # Not assertEqual: it would print both.
                self.assertTrue(reader.receive() == numbered(number, MESSAGE), f"message {number}")
            most = max(most, server.resident_bytes)
        server.expect(r"left: uid slow, .*: too_slow after")
        with contextlib.suppress(OSError):  # what is left of its connection may be cut off by now
            slow.read_close()
        slow.answer_close()
        self.exchange(elsewhere, "after")
        self.assertLess(max(most, server.resident_bytes) - before, 32 * MIB)
        self.assert_healthy(server)

    def exchange(self, pair: tuple[Member, Member], text: str) -> None:
        """A pair of members talk to each other."""
        alice, bob = pair
        alice.send(text)
        self.assertEqual(bob.receive(), text)
        bob.send(text.encode())
        self.assertEqual(alice.receive(), text.encode())

    def test_burst(self) -> None:
        """500 messages at once all arrive, in order, with the limits as they are by default."""
        server = self.shared_server(self.command)
        publisher = self.raw_member(server, "publisher")
        reader = self.member(server, "reader", history=0)
        publisher.send(b"".join(frame(TEXT, numbered(number, 100)) for number in range(500)))
        self.assertEqual(reader.receive_some(500), [numbered(number, 100).decode() for number in range(500)])

    def test_burst_over_the_limit(self) -> None:
        """Who sends more than the limits allow at once is read more slowly, and nothing is dropped."""
        server = self.shared_server(self.command)
        publisher = self.raw_member(server, "publisher")
        reader = self.member(server, "reader", history=0)
        publisher.send(b"".join(frame(TEXT, numbered(number, 100)) for number in range(700)) + frame(PING, b"end"))
        self.assertEqual(reader.receive_some(700), [numbered(number, 100).decode() for number in range(700)])
        self.assertEqual(publisher.read_frame(), (PONG, b"end"))


class PlainSlowMembersTests(SlowMembersContract, IntegrationTestCase):
    """Over ws, in the local mode."""

    command = LOCAL

    def test_members_vanish_while_they_join(self) -> None:
        """When 1,000 members vanish while 10 MiB are replayed to them, the next message is there all the same."""
        self._allow_descriptors()
        server = self.start_server(*self.command, "--rate-limit", "0", "--limit", "9999")
        publisher = self.member(server, "publisher")
        for number in range(10 * MIB // MESSAGE):
            publisher.send(numbered(number, MESSAGE))
        publisher.settle()
        reader = self.member(server, "reader", history=0)
        vanishing = [self._begin_to_join(server, number) for number in range(VANISHING)]
        for client in vanishing:
            # The answer to the upgrade, and the beginning of a replay that goes on and on.
            self.assertEqual(client.read_answer().status, 101)
            client.read_some()
        for client in vanishing:
            client.reset()
        publisher.send("is anybody left?")
        self.assertEqual(reader.receive(), "is anybody left?")
        reader.send("I am")
        self.assertEqual(publisher.receive(), "I am")
        self.assert_healthy(server)

    def _begin_to_join(self, server: Server, number: int) -> RawClient:
        client = self.raw(server, receive_buffer=4 * KIB)
        client.send(client.upgrade_request() + frame(TEXT, join_frame(f"uid {number}", self.channel).encode()))
        return client

    def _allow_descriptors(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < DESCRIPTORS:
            resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))


class SecureSlowMembersTests(SlowMembersContract, IntegrationTestCase):
    """Over wss, under twistd."""

    command = SECURE
