"""Which of the certificates a client is shown."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.transport.certificates.choice import FixedCertificates
from mles_tx.transport.certificates.pairs import pair_from_pem
from mles_tx.transport.contexts import ICertificates

from .making import make

#: The certificates in their order, the first for everybody else.
NAMES = (
    ("default.example",),
    ("example.org", "www.example.org", "10.0.0.1"),
    ("*.example.org",),
    ("www.example.org", "late.example"),
)

#: Asked for, place of the certificate that is shown.
SHOWN = (
    ("default.example", 0),
    ("example.org", 1),
    ("www.example.org", 1),
    ("WWW.Example.ORG", 1),
    ("10.0.0.1", 1),
    ("chat.example.org", 2),
    ("late.example", 3),
    ("foreign.example", 0),
    ("a.b.example.org", 0),
    ("", 0),
    ("\ufffd", 0),
    (None, 0),
)


class FixedCertificatesTests(SynchronousTestCase):
    """Certificates that stay the same until the server ends."""

    def test_interface(self) -> None:
        """TLS connections can ask it."""
        pair = pair_from_pem(make("example.org").objects)
        self.assertTrue(verifyObject(ICertificates, FixedCertificates([pair])))

    def test_choice(self) -> None:
        """The first certificate that is for the name; the first of all for names that none is for, and for no name."""
        pairs = [pair_from_pem(make(*names).objects) for names in NAMES]
        certificates = FixedCertificates(pairs)
        contexts = [pair.context for pair in pairs]
        shown = [(name, contexts.index(certificates.context_for(name))) for name, _ in SHOWN]
        self.assertEqual(shown, list(SHOWN))

    def test_same_context(self) -> None:
        """A certificate has one context, whoever asks: making one is dear."""
        certificates = FixedCertificates([pair_from_pem(make("example.org").objects)])
        self.assertIs(certificates.context_for("example.org"), certificates.context_for(None))

    def test_list_may_change(self) -> None:
        """What it was given is its own: a list that changes later changes nothing."""
        pairs = [pair_from_pem(make("example.org").objects)]
        certificates = FixedCertificates(pairs)
        context = certificates.context_for(None)
        pairs.clear()
        self.assertIs(certificates.context_for(None), context)
