"""The first message of a TLS client, written out, so that any version and any suites can be offered."""

__all__ = [
    "ALERT",
    "BAD_SUITES",
    "ECDSA_SUITES",
    "FATAL",
    "GOOD_GROUPS",
    "HANDSHAKE",
    "HANDSHAKE_FAILURE",
    "OTHER_GROUPS",
    "PROTOCOL_VERSION",
    "RSA_SUITES",
    "SERVER_HELLO",
    "TLS_1_0",
    "TLS_1_1",
    "TLS_1_2",
    "client_hello",
]

TLS_1_0, TLS_1_1, TLS_1_2 = 0x0301, 0x0302, 0x0303

#: Suites of TLS 1.2 for an ECDSA and for an RSA certificate: forward-secret, authenticated encryption.
ECDSA_SUITES = {0xC02B: "AES128-GCM", 0xC02C: "AES256-GCM", 0xCCA9: "CHACHA20"}
RSA_SUITES = {0xC02F: "AES128-GCM", 0xC030: "AES256-GCM", 0xCCA8: "CHACHA20"}

#: Suites that a server must not agree to: static RSA, CBC, DHE, 3DES, RC4, NULL, export, anonymous.
BAD_SUITES = (
    *(0x009C, 0x009D, 0x002F, 0x0035, 0x003C, 0x003D, 0xC09C, 0xC0A0),
    *(0xC009, 0xC00A, 0xC023, 0xC024, 0xC0AC, 0xC0AE),
    *(0xC013, 0xC014, 0xC027, 0xC028),
    *(0x009E, 0x009F, 0x0033, 0x0039, 0xCCAA),
    *(0x000A, 0xC008, 0xC012, 0x0005, 0xC007, 0xC011),
    *(0x0002, 0x003B, 0xC006, 0xC010, 0x0003, 0x0018, 0xC018),
)

#: Groups for the exchange of keys: X25519, P-256, P-384; and those that a server need not know: P-521, X448, Brainpool.
GOOD_GROUPS = (0x001D, 0x0017, 0x0018)
OTHER_GROUPS = (0x0019, 0x001E, 0x001A, 0x001B, 0x001C)

#: Kinds of records and messages, and what alerts say (RFC 5246 sections 6.2.1 and 7).
HANDSHAKE, ALERT = 22, 21
SERVER_HELLO = 2
FATAL = 2
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70


def client_hello(version: int, suites: tuple[int, ...], groups: tuple[int, ...] = GOOD_GROUPS) -> bytes:
    """The first message of a client that speaks a version of TLS up to 1.2 (RFC 5246 section 7.4.1.2)."""

    def sized(content: bytes, digits: int = 2) -> bytes:
        return len(content).to_bytes(digits, "big") + content

    extensions = (
        (10, sized(b"".join(group.to_bytes(2, "big") for group in groups))),
        (11, sized(b"\0", 1)),  # points: not compressed
        (13, sized(bytes.fromhex("0403040108040503050102030201"))),  # signatures: ECDSA, RSA, PSS
    )
    body = (
        version.to_bytes(2, "big")
        + bytes(range(32))
        + sized(b"", 1)
        + sized(b"".join(suite.to_bytes(2, "big") for suite in suites))
        + sized(b"\0", 1)
        + sized(b"".join(number.to_bytes(2, "big") + sized(content) for number, content in extensions))
    )
    return b"\x16\x03\x01" + sized(b"\x01" + sized(body, 3))
