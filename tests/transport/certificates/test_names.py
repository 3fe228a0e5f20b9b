"""Which names a certificate is for."""

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.names import covers, is_ip_address, is_local_name, names_of

from .making import make

#: Name, whether nobody can get a public certificate for it.
LOCAL = (
    ("localhost", True),
    ("LOCALHOST", True),
    ("localhost.", True),
    ("a.b.localhost", True),
    ("server.test", True),
    ("test", True),
    ("chat.internal", True),
    ("internal", True),
    ("127.0.0.1", True),
    ("10.1.2.3", True),
    ("::1", True),
    ("2001:db8::1", True),
    ("example.org", False),
    ("localhost.example.org", False),
    ("notlocalhost", False),
    ("mytest", False),
    ("a.mytest", False),
    ("test.example", False),
    ("local", True),
    ("printer.local", True),
    ("printer.LOCAL.", True),
    ("local.example.org", False),
    ("notlocal", False),
    ("1.2.3", False),
    ("", False),
)

#: Text, whether it is a numeric address.
ADDRESSES = (
    ("127.0.0.1", True),
    ("0.0.0.0", True),
    ("::", True),
    ("::1", True),
    ("2001:DB8::1", True),
    ("::ffff:10.0.0.1", True),
    ("", False),
    ("1", False),
    ("2130706433", False),
    ("127.1", False),
    ("0x7f.0.0.1", False),
    ("127.0.0.01", False),
    ("256.0.0.1", False),
    ("127.0.0.1:80", False),
    ("[::1]", False),
    ("127.0.0.1\n", False),
    (" 127.0.0.1", False),
    ("localhost", False),
    ("::g", False),
)

CERTIFICATE = ("example.org", "*.example.net", "10.0.0.1", "::1")

#: Name, whether the certificate above is for it.
COVERED = (
    ("example.org", True),
    ("Example.ORG", True),
    ("example.org.", True),
    ("www.example.net", True),
    ("WWW.Example.Net.", True),
    ("10.0.0.1", True),
    ("::1", True),
    ("www.example.org", False),
    ("example.net", False),
    ("a.b.example.net", False),
    ("wwwexample.net", False),
    ("example.org.example.com", False),
    ("org", False),
    ("net", False),
    ("10.0.0.2", False),
    ("", False),
    (".", False),
)


class NamesTests(SynchronousTestCase):
    """Names, looked at before a certificate is asked for or shown."""

    def test_local_names(self) -> None:
        """Names for private use and addresses are local, names that only look alike are not."""
        self.assertEqual([(name, is_local_name(name)) for name, _ in LOCAL], list(LOCAL))

    def test_addresses(self) -> None:
        """A numeric address is one in its full form; no short forms, ports, brackets or white space."""
        self.assertEqual([(name, is_ip_address(name)) for name, _ in ADDRESSES], list(ADDRESSES))

    def test_covers(self) -> None:
        """A certificate is for its own names, whatever their case, and a star stands for exactly one label."""
        self.assertEqual([(name, covers(CERTIFICATE, name)) for name, _ in COVERED], list(COVERED))

    def test_covers_nothing(self) -> None:
        """A certificate without names is for nobody."""
        self.assertEqual([name for name, _ in COVERED if covers((), name)], [])


class NamesOfTests(SynchronousTestCase):
    """The names that stand in a certificate."""

    def test_alternative_names(self) -> None:
        """All host names, in lower case, and then the addresses."""
        made = make("Example.ORG", "10.0.0.1", "*.example.net", "2001:DB8:0::1")
        self.assertEqual(
            names_of(made.certificate),
            ("example.org", "*.example.net", "10.0.0.1", "2001:db8::1"),
        )

    def test_common_name(self) -> None:
        """An old certificate without alternative names is for its common name."""
        self.assertEqual(names_of(make(common_name="Old.Example").certificate), ("old.example",))

    def test_common_name_does_not_count(self) -> None:
        """With alternative names the common name says nothing, also when none of them is a host."""
        self.assertEqual(names_of(make("new.example", common_name="old.example").certificate), ("new.example",))
        mail = make(common_name="old.example", others=[x509.RFC822Name("admin@example.org")])
        self.assertEqual(names_of(mail.certificate), ())

    def test_no_name(self) -> None:
        """A certificate may have no name at all."""
        self.assertEqual(names_of(make().certificate), ())
