"""The header of the PROXY protocol."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.proxyheader import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderError,
    parse_proxy_header,
)

from .proxyheaders import GOOD, TCP4, TCP6, UNIX, UNSPEC, block, v1, v2

#: What may come behind a header: TLS, a request, another header.
BEHIND = (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", v1(), v2())

#: What is no header, however it goes on.
BAD: tuple[bytes, ...] = (
    *(
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIX",
        b"\n",
        b"\0",
        b"Q",
        b"PROXX",
        b"proxy ",
    ),
    b"PROXY\tTCP4",
    *(b"PROXY " + rest + b"\r\n" for rest in (b"", b" ", b"TCP4", b"TCP4 ", b"UNKNOWNS", b"unknown", b"TCP5 1 2 3 4")),
    v1().replace(b"TCP4", b"TCP6"),
    v1("::1", "::1").replace(b"TCP6", b"TCP4"),
    v1().replace(b"TCP4", b"UDP4"),
    v1().replace(b" 443", b""),
    v1().replace(b" 443", b" 443 "),
    v1().replace(b" 443", b" 443 5"),
    v1().replace(b" 443", b"  443"),
    v1().replace(b" 443", b"\t443"),
    *(
        v1().replace(b" 443", b" " + port)
        for port in (b"65536", b"99999", b"-1", b"+1", b"0443", b"1e3", b"\xb2", b"x")
    ),
    *(v1().replace(b" 4711", b" " + port) for port in (b"65536", b"04711", b"4_7", b"123456")),
    *(
        v1().replace(b"192.0.2.7", host)
        for host in (b"192.0.2", b"192.0.2.07", b"256.0.2.7", b"localhost", b"::1", b"0x7f.1")
    ),
    *(v1().replace(b"192.0.2.1", host) for host in (b"192.0.2", b"192.0.2.1.1", b"localhost", b"::1", b"-")),
    v1("::1", "::1").replace(b" ::1", b" fe80::1%lo", 1),
    b"PROXY TCP4 " + b"1" * MAX_V1_BYTES,
    b"PROXY UNKNOWN " + b"x" * MAX_V1_BYTES,
    b"PROXY UNKNOWN ".ljust(MAX_V1_BYTES - 1, b"x") + b"\r\n",
    *(block(TCP4, bytes(12), command=command) for command in (0x00, 0x01, 0x11, 0x22, 0x2F, 0x31, 0xFF)),
    *(block(family, bytes(216)) for family in (0x01, 0x10, 0x13, 0x20, 0x30, 0x41, 0xFF)),
    *(block(family, bytes(size)) for family, size in ((TCP4, 0), (TCP4, 11), (TCP6, 12), (TCP6, 35), (UNIX, 215))),
    block(TCP4, b"", length=MAX_V2_BYTES - 15),
    block(UNSPEC, b"", length=65535),
    block(UNSPEC, b"", command=0x20, length=65535),
)


class HeaderTests(SynchronousTestCase):
    """Both versions."""

    def test_good(self) -> None:
        """A header says whose connection it is and where it ends, whatever stands behind it."""
        for data, client in GOOD:
            for behind in BEHIND:
                self.assertEqual((data, parse_proxy_header(data + behind)), (data, ProxyHeader(len(data), client)))

    def test_truncated(self) -> None:
        """Cut anywhere it is not whole yet, and never wrong."""
        for data, _ in GOOD:
            for size in range(1, len(data)):
                self.assertIsNone(parse_proxy_header(data[:size]), (data, size))

    def test_longest(self) -> None:
        """The longest headers there may be are among them."""
        sizes = {len(data) for data, _ in GOOD}
        self.assertIn(MAX_V2_BYTES, sizes)
        self.assertLessEqual(104, max(size for size in sizes if size <= MAX_V1_BYTES))

    def test_longest_line(self) -> None:
        """A line of 107 bytes is read, its end included."""
        line = b"PROXY UNKNOWN ".ljust(MAX_V1_BYTES - 2, b"x") + b"\r\n"
        self.assertEqual(parse_proxy_header(line + b"more"), ProxyHeader(MAX_V1_BYTES, None))
        for size in range(1, MAX_V1_BYTES):
            self.assertIsNone(parse_proxy_header(line[:size]))

    def test_bad(self) -> None:
        """What is none is refused, with and without something behind it."""
        for data in BAD:
            for behind in (b"", b"x" * 5000):
                with self.assertRaises(ProxyHeaderError, msg=repr(data)):
                    parse_proxy_header(data + behind)

    def test_soon(self) -> None:
        """It is refused as soon as it is seen to be none."""
        for good in (v1(), SIGNATURE):
            for size in range(6):
                self.assertRaises(ProxyHeaderError, parse_proxy_header, good[:size] + b"!")

    @given(
        st.sampled_from([b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21\x11", b""]),
        st.binary(),
    )
    def test_anything(self, start: bytes, rest: bytes) -> None:
        """Whatever comes, it is a header, the beginning of one, or none; and what is none does not become one."""
        data = start + rest
        known: ProxyHeader | None = None
        for size in range(1, len(data) + 1):
            try:
                found = parse_proxy_header(data[:size])
            except ProxyHeaderError:
                self.assertIsNone(known)
                self.assertRaises(ProxyHeaderError, parse_proxy_header, data)
                return
            if known is not None:
                self.assertEqual(found, known)
            elif found is not None:
                self.assertEqual(found.size, size)
                known = found
