"""Sockets that listen already when the process starts: real ones, at descriptors of the tests' own."""

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.inherited import (
    InheritedSockets,
    InheritError,
    SystemdSocket,
    environment_at_start,
    systemd_socket,
)
from mles_tx.transport.port import has_ipv6
from tests.descriptors import descriptors

#: Where the sockets are put: above what the tests themselves have open.
FIRST = 300

#: What can be said of a socket, and what it means.
GOOD = (
    ("systemd:index=0", SystemdSocket(0)),
    ("systemd:index=12", SystemdSocket(12)),
    ("systemd:name=https", SystemdSocket(None, "https")),
    ("systemd:name=mles-tx.socket", SystemdSocket(None, "mles-tx.socket")),
    ("systemd:name=a=b", SystemdSocket(None, "a=b")),
    ("systemd:domain=INET:name=https", SystemdSocket(None, "https", "INET")),
    ("systemd:domain=INET6:index=1", SystemdSocket(1, None, "INET6")),
)

BAD = (
    *("", "systemd", "systemd:", "systemd:https", "tcp:443", "443", "systemd:index=", "systemd:index=x"),
    *("systemd:index=-1", "systemd:index=1234", "systemd:index=\u0661", "systemd:name=", "systemd:index=0:name=a"),
    *(
        "systemd:domain=INET",
        "systemd:domain=UNIX:index=0",
        "systemd:index=0:port=1",
        "SYSTEMD:index=0",
        "systemd: index=0",
    ),
)


NOT_LISTENING = "not a TCP socket that listens: in its unit, give ListenStream= an address with a port, and Accept=no"


class SystemdSocketTests(SynchronousTestCase):
    """What an operator writes."""

    def test_good(self) -> None:
        """Place or name, as in Twisted's endpoint descriptions; written out it is the same again."""
        self.assertEqual([(text, systemd_socket(text)) for text, _ in GOOD], list(GOOD))
        self.assertEqual([str(wanted) for _, wanted in GOOD], [text for text, _ in GOOD])
        self.assertEqual(systemd_socket("systemd:index=0:domain=INET"), SystemdSocket(0, None, "INET"))

    def test_bad(self) -> None:
        """Anything else is none."""
        for text in BAD:
            self.assertRaises(ValueError, systemd_socket, text)


class EnvironmentTests(SynchronousTestCase):
    """The environment at the start of the process."""

    def test_not_changed(self) -> None:
        """What has been set or removed since makes no difference."""
        name = next(name for name in os.environ if name not in ("PYTHONPATH",) and name in environment_at_start())
        value = os.environ.pop(name)
        self.addCleanup(os.environ.__setitem__, name, value)
        os.environ["MLES_TEST_SET_LATER"] = "1"
        self.addCleanup(os.environ.pop, "MLES_TEST_SET_LATER")
        there = environment_at_start()
        self.assertEqual(there[name], value)
        self.assertNotIn("MLES_TEST_SET_LATER", there)


class InheritedSocketsTests(SynchronousTestCase):
    """Taking them."""

    def setUp(self) -> None:
        self._next = FIRST

    def passed(self, passed: socket.socket) -> socket.socket:
        """A socket at the next descriptor, as systemd puts it there."""
        os.dup2(passed.fileno(), self._next)
        self.addCleanup(os.close, self._next)
        passed.close()
        self._next += 1
        return socket.socket(fileno=os.dup(self._next - 1))

    def listening(self, family: socket.AddressFamily = socket.AF_INET) -> int:
        """Pass a TCP socket that listens on a free port; the port."""
        bound = socket.socket(family)
        if family is socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(("::1" if family is socket.AF_INET6 else "127.0.0.1", 0))
        bound.listen()
        with self.passed(bound) as passed:
            port: int = passed.getsockname()[1]
            return port

    def sockets(self, names: str | None = None, **environ: str) -> InheritedSockets:
        """Those that were passed, with names."""
        given = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(self._next - FIRST)}
        if names is not None:
            given["LISTEN_FDNAMES"] = names
        return InheritedSockets(given | environ, FIRST)

    def take(self, sockets: InheritedSockets, *texts: str) -> list[int]:
        """The ports of some of them; they are closed again."""
        taken = sockets.take(*(systemd_socket(text) for text in texts))
        ports = [one.getsockname()[1] for one in taken]
        for one in taken:
            one.close()
        return ports

    def assert_refused(self, sockets: InheritedSockets, message: str, *texts: str) -> None:
        """These cannot be had, and nothing has been opened or taken."""
        left, before = sockets.left_over(), descriptors()
        error = self.assertRaises(InheritError, self.take, sockets, *texts)
        self.assertEqual(str(error), message)
        self.assertEqual((sockets.left_over(), descriptors()), (left, before))

    def test_by_index(self) -> None:
        """By its place, also when none has a name."""
        first, second = self.listening(), self.listening()
        self.assertEqual(self.take(self.sockets("a:b"), "systemd:index=1"), [second])
        self.assertEqual(self.take(self.sockets(), "systemd:index=1", "systemd:index=0"), [second, first])

    def test_by_name(self) -> None:
        """By its name; several may have the same, as all of one unit do."""
        ports = [self.listening() for _ in range(3)]
        names = "https:http:https"
        self.assertEqual(self.take(self.sockets(names), "systemd:name=http"), [ports[1]])
        self.assertEqual(self.take(self.sockets(names), "systemd:name=https"), [ports[0], ports[2]])

    def test_by_domain(self) -> None:
        """Of several with one name, those of one kind of address."""
        ports = [self.listening(), self.listening(socket.AF_INET6 if has_ipv6() else socket.AF_INET)]
        sockets = self.sockets("a:a")
        if has_ipv6():
            self.assertEqual(self.take(sockets, "systemd:domain=INET6:name=a"), [ports[1]])
            self.assertEqual(self.take(sockets, "systemd:domain=INET:name=a"), [ports[0]])
            sockets.give_back()
        wrong = "it is no INET6 socket: leave the domain away, or name another one"
        self.assert_refused(sockets, f"systemd:domain=INET6:index=0: {wrong}", "systemd:domain=INET6:index=0")

    def test_ready_to_use(self) -> None:
        """It does not block, belongs to no child, and closing it does not end the one that was passed."""
        port = self.listening()
        os.set_blocking(FIRST, True)
        os.set_inheritable(FIRST, True)
        (taken,) = self.sockets().take(SystemdSocket(0))
        self.assertEqual((taken.getblocking(), taken.get_inheritable()), (False, False))
        self.assertFalse(os.get_inheritable(FIRST))
        taken.close()
        with socket.create_connection(("127.0.0.1", port), 5):
            pass

    def test_once(self) -> None:
        """Each is handed out once, until it is given back; what nobody has taken is known."""
        port = self.listening()
        self.listening()
        sockets = self.sockets("https:http")
        self.assertEqual(sockets.left_over(), ["0 (https)", "1 (http)"])
        self.take(sockets, "systemd:name=https")
        self.assertEqual(sockets.left_over(), ["1 (http)"])
        taken = "that socket is taken already: name each one once"
        self.assert_refused(sockets, f"systemd:index=0: {taken}", "systemd:name=http", "systemd:index=0")
        sockets.give_back()
        self.assertEqual(self.take(sockets, "systemd:index=0"), [port])

    def test_not_there(self) -> None:
        """Which there are is told to whoever asks for another one."""
        self.listening()
        sockets = self.sockets("https")
        self.assert_refused(
            sockets, "systemd:index=1: only 1 were passed: give an index from 0 to 0", "systemd:index=1"
        )
        self.assert_refused(
            sockets,
            "systemd:name=http: none has that name; there are 'https': set FileDescriptorName= in the socket unit",
            "systemd:name=http",
        )

    def test_none(self) -> None:
        """Without sockets, or with some that are for another process, nothing is touched."""
        none = "systemd:index=0: no socket was passed: start it by its socket unit, or leave the option away"
        self.listening()
        for environ in ({"LISTEN_FDS": "x"}, {"LISTEN_FDS": ""}, {"LISTEN_FDS": "0"}, {"LISTEN_PID": ""}):
            self.assert_refused(self.sockets(**environ), none, "systemd:index=0")
        self.assert_refused(InheritedSockets({}), none, "systemd:index=0")
        self.assert_refused(
            self.sockets(LISTEN_PID="1"),
            "systemd:index=0: they are for another process: start this one directly, and twistd with -n",
            "systemd:index=0",
        )

    def test_of_this_process(self) -> None:
        """Unless told otherwise it looks at the process: that of the tests was passed nothing."""
        self.assertRaises(InheritError, InheritedSockets().take, SystemdSocket(0))

    def test_no_socket_to_listen_on(self) -> None:
        """Something else than a TCP socket that listens is refused: it would never be of use."""
        pair = socket.socketpair()
        local = socket.socket(socket.AF_UNIX)
        path = Path(self.mktemp())
        local.bind(str(path))
        local.listen()
        for other in (socket.socket(), socket.socket(type=socket.SOCK_DGRAM), local, *pair):
            self.passed(other).close()
            text = f"systemd:index={self._next - FIRST - 1}"
            self.assert_refused(self.sockets(), f"{text}: {NOT_LISTENING}", text)

    def test_one_good_and_one_bad(self) -> None:
        """When one of several cannot be used none is: nothing would tell who waits there."""
        self.listening()
        self.passed(socket.socket()).close()
        for texts in (["systemd:name=a"], ["systemd:index=0", "systemd:index=1"]):
            self.assert_refused(self.sockets("a:a"), f"{texts[-1]}: {NOT_LISTENING}", *texts)

    def test_no_socket_at_all(self) -> None:
        """A descriptor that is a file, or that nobody has opened, is refused."""
        file = os.open(os.devnull, os.O_RDONLY)
        os.dup2(file, FIRST)
        self.addCleanup(os.close, FIRST)
        os.close(file)
        sockets = self.sockets(LISTEN_FDS="2")
        for index, why in ((0, "Socket operation on non-socket"), (1, "Bad file descriptor")):
            text = f"systemd:index={index}"
            self.assert_refused(sockets, f"{text}: descriptor {FIRST + index} is no socket ({why})", text)
