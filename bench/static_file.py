"""The obvious server of static files in Twisted, and the baseline of the benchmark's: `static.File` in a `Site`.

TLS through Twisted's memory BIO; no access log. It knows nothing of mles_tx.

    python static_file.py CERTIFICATE_AND_KEY.pem DIRECTORY
        listens on a free port of 127.0.0.1 and prints "listening on PORT".
"""

import sys
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.web.http import Request
from twisted.web.server import Site
from twisted.web.static import File


class QuietSite(Site):
    """A site without an access log."""

    def log(self, request: Request) -> None:
        pass


def main(certificate: str, directory: str) -> None:
    """Serve until a signal comes."""
    reactor: Any = global_reactor
    context = DefaultOpenSSLContextFactory(certificate, certificate)
    port = reactor.listenSSL(0, QuietSite(File(directory)), context, backlog=1024, interface="127.0.0.1")
    print("listening on", port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
