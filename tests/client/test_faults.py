"""Why there is no link."""

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.config import ServerAddress
from mles_tx.client.faults import Fault, fault_of, printable
from mles_tx.client.link import Ending
from mles_tx.client.tunnel import ProxyRefused

SERVER = ServerAddress.parse("wss://mles.test/")

#: How the connection was lost, what that means.
FAILURES: tuple[tuple[Exception, Fault], ...] = (
    (ConnectionDone(), Fault("the connection was lost")),
    (ConnectionLost(), Fault("the connection was lost")),
    (ConnectionRefusedError(), Fault("nobody listens on mles.test:443")),
    (DNSLookupError(), Fault("there is no host mles.test")),
    (TimeoutError(), Fault("no answer from mles.test:443")),
    (CancelledError(), Fault("no answer from mles.test:443")),
    (ConnectingCancelledError(SERVER), Fault("no answer from mles.test:443")),
    (ConnectError("no route"), Fault("mles.test:443 cannot be reached: no route")),
    (OSError("x\ny"), Fault("mles.test:443 cannot be reached: x\N{REPLACEMENT CHARACTER}y")),
    (VerificationError([]), Fault("the certificate of mles.test:443 is for another name", is_final=True)),
    (
        SSL.Error([("SSL routines", "", "certificate verify failed")]),
        Fault("the certificate of mles.test:443 is not one to be trusted", is_final=True),
    ),
    (
        SSL.Error([("SSL routines", "", "wrong version number")]),
        Fault("what answers on mles.test:443 speaks no TLS", is_final=True),
    ),
    (
        SSL.Error([("SSL routines", "", "no shared cipher")]),
        Fault("TLS with mles.test:443 has failed: no shared cipher"),
    ),
    (SSL.Error(), Fault("TLS with mles.test:443 has failed")),
    (ProxyRefused("the proxy has answered with 407", 407), Fault("the proxy has answered with 407", is_final=True)),
    (ProxyRefused("the proxy has answered with 502", 502), Fault("the proxy has answered with 502")),
)


class FaultTests(SynchronousTestCase):
    """A line for people, and whether there is hope."""

    def test_failures(self) -> None:
        """How a connection was lost, or was not made, is told in one line."""
        for error, fault in FAILURES:
            self.assertEqual((error, fault_of(Ending(), Failure(error), SERVER)), (error, fault))

    def ending(self, **known: object) -> Fault:
        ending = Ending()
        for name, value in known.items():
            setattr(ending, name, value)
        return fault_of(ending, Failure(ConnectionDone()), SERVER)

    def test_close_frames(self) -> None:
        """A server's own words come first, made printable; without words the code is told."""
        self.assertEqual(self.ending(code=1013, text="too\x1bslow"), Fault("too\N{REPLACEMENT CHARACTER}slow", 1013))
        self.assertEqual(self.ending(code=1011), Fault("the server has closed the connection with code 1011", 1011))

    def test_http(self) -> None:
        """A server that upgrades nobody is a final fault, unless it says that it is busy."""
        for status, is_final in ((403, True), (404, True), (200, True), (429, False), (503, False), (101, True)):
            self.assertEqual(self.ending(status=status, text="why"), Fault("why", is_final=is_final))

    def test_rules(self) -> None:
        """A server that breaks a rule may be better the next time."""
        self.assertEqual(self.ending(text="broken"), Fault("broken"))

    def test_printable(self) -> None:
        """Long words are cut."""
        self.assertEqual(printable("x" * 300), "x" * 200 + "…")
