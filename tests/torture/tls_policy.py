"""Which versions of TLS and which suites a server agrees to."""

from contextlib import suppress

from OpenSSL import SSL

from .program import Probe, Run, main

#: What Mozilla's "intermediate" allows for TLS 1.2; with TLS 1.3 all suites are forward-secret AEAD.
_ALLOWED = {
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    *("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
    *("DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-CHACHA20-POLY1305"),
}

_VERSIONS = {"TLS 1.0": SSL.TLS1_VERSION, "TLS 1.1": SSL.TLS1_1_VERSION, "TLS 1.2": SSL.TLS1_2_VERSION}
_VERSIONS["TLS 1.3"] = SSL.TLS1_3_VERSION


def shake_hands(run: Run) -> None:
    """Offer each version alone, then each suite of TLS 1.2 alone."""
    if not run.target.is_secure:
        run.unknown("TLS", "it speaks none")
        return
    agreed = [name for name, version in _VERSIONS.items() if _agrees(run, version)]
    run.equal("versions it agrees to", agreed, ["TLS 1.2", "TLS 1.3"])
    everything = SSL.Connection(_context(SSL.TLS1_2_VERSION, b"ALL:COMPLEMENTOFALL@SECLEVEL=0"), None)
    suites = [name for name in everything.get_cipher_list() if not name.startswith("TLS_")]
    taken = {name for name in suites if _agrees(run, SSL.TLS1_2_VERSION, name.encode() + b":@SECLEVEL=0")}
    run.above(f"suites of TLS 1.2 it agrees to, of {len(suites)}", len(taken), 0)
    run.equal("of them not forward-secret AEAD", ", ".join(sorted(taken - _ALLOWED)) or "none", "none")
    run.no_faults()


def _context(version: int, suites: bytes) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(suites)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    return context


def _agrees(run: Run, version: int, suites: bytes = b"ALL:@SECLEVEL=0") -> bool:
    with run.target.dial() as dialed:
        dialed.settimeout(None)  # pyOpenSSL wants a socket that waits
        with suppress(SSL.Error):
            connection = SSL.Connection(_context(version, suites), dialed)
            connection.set_tlsext_host_name(run.target.host.encode())
            connection.set_connect_state()
            connection.do_handshake()
            return True
        return False


PROBE = Probe(
    promise="TLS 1.2 and 1.3 only, forward-secret AEAD suites only (Mozilla intermediate)",
    does=shake_hands,
)

if __name__ == "__main__":
    main(PROBE)
