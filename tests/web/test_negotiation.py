"""Which codings a client takes."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.negotiation import acceptable_codings

#: Accept-Encoding, the groups: the most wanted first, identity always somewhere.
HEADERS: tuple[tuple[bytes | None, str], ...] = (
    (None, "identity"),
    (b"", "identity"),
    (b"gzip", "gzip > identity"),
    (b"GZIP", "gzip > identity"),
    (b"x-gzip", "gzip > identity"),
    (b"br", "br > identity"),
    (b"zstd", "zstd > identity"),
    (b"deflate", "identity"),
    (b"compress, deflate", "identity"),
    (b"gzip, deflate, br, zstd", "zstd br gzip > identity"),
    (b"gzip, deflate, br", "br gzip > identity"),
    (b"br,gzip", "br gzip > identity"),
    (b" br\t,\tgzip ", "br gzip > identity"),
    (b"gzip;q=1.0, br;q=0.5", "gzip > br > identity"),
    (b"gzip;q=0.5, br;q=1", "br > gzip > identity"),
    (b"gzip;q=0.123, br;q=0.124", "br > gzip > identity"),
    (b"gzip ; q=0.5 , br", "br > gzip > identity"),
    (b"gzip;Q=0.5, br", "br > gzip > identity"),
    (b"gzip;q=0", "identity"),
    (b"gzip;q=0.000, br;q=0.001", "br > identity"),
    (b"br;q=0, *", "zstd gzip > identity"),
    (b"*", "zstd br gzip > identity"),
    (b"*;q=0", "identity"),
    (b"*;q=0, gzip", "gzip > identity"),
    (b"*;q=0.5, gzip", "gzip > zstd br > identity"),
    (b"gzip;q=0.5, *;q=1", "zstd br > gzip > identity"),
    (b"identity", "identity"),
    (b"identity, gzip", "gzip identity"),
    (b"identity;q=1, gzip;q=0.5", "identity > gzip"),
    (b"identity;q=0.5, gzip;q=1", "gzip > identity"),
    (b"identity;q=0", "identity"),
    (b"identity;q=0, gzip", "gzip > identity"),
    (b"identity;q=0, *;q=0", "identity"),
    (b"gzip, gzip;q=0", "identity"),
    (b"gzip;q=2", "identity"),
    (b"gzip;q=1.001", "identity"),
    (b"gzip;q=0.1234", "identity"),
    (b"gzip;q=-1", "identity"),
    (b"gzip;q=", "identity"),
    (b"gzip;q", "identity"),
    (b"gzip;level=9", "identity"),
    (b"gzip br", "identity"),
    (b"gzip;q=nan, br", "br > identity"),
    (b",,gzip,,", "gzip > identity"),
    (b"\xff, gzip", "gzip > identity"),
    (b"gzip\x00", "identity"),
)


class AcceptableCodingsTests(SynchronousTestCase):
    """What an Accept-Encoding header means."""

    def test_headers(self) -> None:
        """By its q-values, ours to choose among equals; what is refused or cannot be understood is not used."""
        found = [(header, " > ".join(" ".join(group) for group in acceptable_codings(header))) for header, _ in HEADERS]
        self.assertEqual(found, list(HEADERS))

    def test_long(self) -> None:
        """A header as long as a head may be is read all the same, to its end."""
        self.assertEqual(acceptable_codings(b"x;q=0.5, " * 1800 + b"gzip"), (("gzip",), ("identity",)))
        self.assertEqual(acceptable_codings(b"gzip" + b" " * 16000 + b"x"), (("identity",),))

    def test_memory_is_bounded(self) -> None:
        """However many headers there are, few are remembered."""
        for number in range(1000):
            acceptable_codings(b"gzip, x%d" % number)
        self.assertLessEqual(acceptable_codings.cache_info().currsize, 256)
