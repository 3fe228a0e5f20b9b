"""Pebble, the test server of Let's Encrypt, on free ports."""

import json
import shutil
import socket
import ssl
import tempfile
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

from tests.ports import free_port
from tests.transport.certificates.authority import make_issuer
from tests.transport.certificates.making import NOW, Made

from ..parts import debian_program
from ..processes import WAIT, Process, build_environ

__all__ = ["Pebble"]


class Pebble:
    """A certificate authority whose names all lead to this machine. It can be stopped, and started again.

    Args:
        validity: seconds for which its certificates are valid; None: five years.
        bad_nonces: how many nonces of a hundred it refuses.
        external: the key ids and HMAC keys of which accounts need one; None: they need none.

    Attributes:
        url: its directory.
        tls_port: where it looks for TLS-ALPN-01.
        http_port: where it looks for HTTP-01.
        ca: a file with the certificate that vouches for its own.

    Raises:
        SkipTest: there is no Pebble here.
    """

    def __init__(
        self, validity: int | None = None, bad_nonces: int = 0, external: dict[str, str] | None = None
    ) -> None:
        self._program = debian_program("pebble", "pebble")
        self._dns_program = debian_program("pebble", "pebble-challtestsrv")
        self._directory = Path(tempfile.mkdtemp(prefix="mles-tx-pebble-"))
        self._bad_nonces = bad_nonces
        self._port, self._management_port = free_port(), free_port()
        self.tls_port, self.http_port = free_port(), free_port()
        self._dns_port = free_port()
        self.url = f"https://localhost:{self._port}/dir"
        self.ca = self._directory / "ca.pem"
        authority = make_issuer("Pebble's authority")
        self.ca.write_bytes(authority.certificate_pem)
        self._write_pair(authority.issue("localhost", begins=NOW - timedelta(hours=1), ends=NOW + timedelta(hours=20)))
        pebble = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management_port}",
            "certificate": str(self._directory / "server.pem"),
            "privateKey": str(self._directory / "server.key"),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": external is not None,
            **({} if external is None else {"externalAccountMACKeys": external}),
            **({} if validity is None else {"certificateValidityPeriod": validity}),
        }
        (self._directory / "pebble.json").write_text(json.dumps({"pebble": pebble}))
        self._processes: list[Process] = []

    def _write_pair(self, made: Made) -> None:
        (self._directory / "server.pem").write_bytes(made.certificate_pem)
        (self._directory / "server.key").write_bytes(made.key_pem)

    def start(self) -> None:
        """Start it; it has forgotten all accounts and orders."""
        environ = build_environ(self._directory) | {
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_AUTHZREUSE": "0",
            "PEBBLE_WFE_NONCEREJECT": str(self._bad_nonces),
        }
        dns = f"127.0.0.1:{self._dns_port}"
        names = [
            *(str(self._dns_program), "-dns01", dns, "-management", f"127.0.0.1:{free_port()}"),
            *("-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""),
        ]
        pebble = [str(self._program), "-config", "pebble.json", "-dnsserver", dns, "-strict"]
        for command, port in ((names, self._dns_port), (pebble, self._port)):
            self._processes.append(Process(command, self._directory, environ))
            self._await_port(port)

    def _await_port(self, port: int) -> None:
        # Both say that they listen before they do.
        deadline = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), WAIT).close()
                return
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def stop(self) -> None:
        """Stop it; any number of times."""
        for process in self._processes:
            process.stop()
        self._processes = []

    def remove(self) -> None:
        """Stop it for good."""
        self.stop()
        shutil.rmtree(self._directory)

    @property
    def output(self) -> str:
        """What it has logged since it was started."""
        return self._processes[-1].output if self._processes else ""

    def root(self) -> str:
        """The certificate that its certificates lead to: a new one at each start."""
        trust = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(
            f"https://localhost:{self._management_port}/roots/0", None, WAIT, context=trust
        ) as got:
            return str(got.read().decode("ascii"))
