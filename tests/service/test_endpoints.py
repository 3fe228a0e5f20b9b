"""Where a port of our own is, in the words of Twisted's endpoint descriptions."""

from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint, quoteStringArgument, serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.endpoints import Endpoint, endpoint, parse_endpoint

FORMS = r"give tcp:PORT, tcp:PORT:interface=ADDRESS (its colons as \:) or unix:PATH"
PORT = "the port is a whole number from 0 to 65535"
INTERFACE = "the interface is a numeric address, 127.0.0.1 when it is left away"
PATH = "the path of a UNIX socket begins with /"
MODE = "the mode of a UNIX socket is three octal digits, 660 when it is left away"

#: Description, endpoint.
GOOD = (
    ("tcp:9100", Endpoint("127.0.0.1", 9100)),
    ("tcp:0", Endpoint("127.0.0.1", 0)),
    ("tcp:65535", Endpoint("127.0.0.1", 65535)),
    ("tcp:port=9100", Endpoint("127.0.0.1", 9100)),
    ("tcp:9100:interface=0.0.0.0", Endpoint("0.0.0.0", 9100)),
    ("tcp:interface=10.0.0.1:port=9100", Endpoint("10.0.0.1", 9100)),
    (r"tcp:9100:interface=\:\:1", Endpoint("::1", 9100)),
    (r"tcp6:9100:interface=\:\:", Endpoint("::", 9100)),
    ("tcp6:9100", Endpoint("::1", 9100)),
    ("unix:/run/mles/admin.sock", Endpoint("", 0, "/run/mles/admin.sock")),
    ("unix:address=/run/a.sock:mode=600", Endpoint("", 0, "/run/a.sock", 0o600)),
    ("unix:/run/a.sock:mode=0666", Endpoint("", 0, "/run/a.sock", 0o666)),
    (r"unix:/run/a\:b\\c", Endpoint("", 0, r"/run/a:b\c")),
    ("unix:/" + "a" * 106, Endpoint("", 0, "/" + "a" * 106)),
)

#: Description, what is wrong with it.
BAD = (
    ("", FORMS),
    ("9100", FORMS),
    ("tcp", FORMS),
    ("tcp:", FORMS),
    (":9100", FORMS),
    ("udp:9100", FORMS),
    ("ssl:9100", FORMS),
    ("systemd:domain=INET:index=0", FORMS),
    ("http://127.0.0.1:9100", FORMS),
    ("tcp:9100:9101", FORMS),
    ("tcp:9100:port=9101", FORMS),
    ("tcp:9100:backlog=5", FORMS),
    ("tcp:9100:mode=660", FORMS),
    ("tcp:9100:interface=", FORMS),
    ("tcp:9100:interface=::1", FORMS),
    ("tcp:interface=10.0.0.1", FORMS),
    ("unix:/a:interface=10.0.0.1", FORMS),
    ("unix:", FORMS),
    ("unix:/a\0b", FORMS),
    ("tcp:http", PORT),
    ("tcp:65536", PORT),
    ("tcp:-1", PORT),
    ("tcp:\u0669\u0661", PORT),
    ("tcp:" + "9" * 5000, PORT),
    ("tcp:9100:interface=localhost", INTERFACE),
    ("tcp:9100:interface=eth0", INTERFACE),
    ("unix:admin.sock", PATH),
    ("unix:/a:mode=rw", MODE),
    ("unix:/a:mode=999", MODE),
    ("unix:/" + "a" * 107, "the path of a UNIX socket has at most 107 bytes"),
)


class EndpointTests(SynchronousTestCase):
    """Descriptions."""

    def test_good(self) -> None:
        """A description says where: without an address on the loopback one, and a socket for owner and group."""
        for text, wanted in GOOD:
            self.assertEqual((text, parse_endpoint(text)), (text, wanted))

    def test_bad(self) -> None:
        """What cannot be listened on, or is not known here, is refused with the option and what to give."""
        for text, wrong in BAD:
            error = self.assertRaises(usage.UsageError, endpoint("--admin"), text)
            self.assertEqual(str(error), f"--admin {text!r}: {wrong}")

    def test_as_twisted_has_it(self) -> None:
        """Twisted understands the same under these descriptions, but for the address when there is none."""
        reactor = MemoryReactor()
        for text, wanted in GOOD:
            made = serverFromString(reactor, text)
            if isinstance(made, UNIXServerEndpoint):
                self.assertEqual(made._address, wanted.path)
            elif "interface" in text:
                self.assertEqual((made._interface, made._port), (wanted.interface, wanted.port))
            elif isinstance(made, TCP4ServerEndpoint):
                self.assertEqual(made._port, wanted.port)

    def test_quoted(self) -> None:
        """A path that Twisted has quoted comes out as it was."""
        path = "/run/a:b\\c=d e"
        self.assertEqual(parse_endpoint(f"unix:{quoteStringArgument(path)}").path, path)

    def test_overlaps(self) -> None:
        """Two ports of one number are in each other's way on one address, and on all addresses of one kind."""
        for one, other, expected in (
            ("127.0.0.1", "127.0.0.1", True),
            ("127.0.0.1", "10.0.0.1", False),
            ("127.0.0.1", "0.0.0.0", True),
            ("0.0.0.0", "10.0.0.1", True),
            ("0.0.0.0", "::", False),
            ("::1", "::", True),
            ("::1", "127.0.0.1", False),
            ("::1", "0:0::1", True),
        ):
            self.assertEqual((one, other, Endpoint(one, 1).overlaps(other)), (one, other, expected))

    def test_shown(self) -> None:
        """It is shown as people write addresses."""
        for text, shown in (
            ("tcp:9100", "127.0.0.1:9100"),
            ("tcp6:9100", "[::1]:9100"),
            ("unix:/run/a", "unix:/run/a"),
        ):
            self.assertEqual(str(parse_endpoint(text)), shown)
