"""`mles-tx doctor`: looks at everything a first certificate depends on, and tells what is in its way.

It changes nothing, and orders nothing.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.python import usage

from mles_tx.service.config import ServerConfig
from mles_tx.service.layered import LayeredOptions
from mles_tx.service.options import Options
from mles_tx.service.parsing import whole_number
from mles_tx.service.sources import Kind, kinds
from mles_tx.transport.certificates.authority import LETS_ENCRYPT, Authority

if TYPE_CHECKING:
    from .checks import Check, Finding, Result

__all__ = ["DoctorOptions", "doctor", "make_checks"]

#: What Let's Encrypt is called in CAA records.
_LETS_ENCRYPT_IDENTITIES = ("letsencrypt.org",)

_REDIRECT_PORT = 80

#: Ended by Ctrl-C: 128 and the number of the signal, as shells have it.
_INTERRUPTED = 130

_DNS_PORT = 53


def _dns_server(text: str) -> tuple[str, int]:
    """The coerce function of `--dns`."""
    host, port = text, str(_DNS_PORT)
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = str(ip_address(host))
    except ValueError:
        raise usage.UsageError(f"--dns {text!r}: give an IP address, perhaps with :PORT") from None
    return address, whole_number("--dns", 1, 65535)(port)


class DoctorOptions(LayeredOptions):
    """What `mles-tx doctor` understands. Options of the server have the server's names and defaults, and come from the
    server's file and variables as well.

    Args:
        environ: the environment; `STATE_DIRECTORY` and what begins with `MLES_TX_` are looked at.
    """

    command = "mles-tx doctor"
    wrong = 2
    synopsis = "[options]"
    longdesc = (
        "Looks at what a first certificate depends on: names, ports, the cache, the clock, CAA records and the"
        " certificate authority. Give it the names, ports, cache and authority the server is to have, or the server's"
        " --config: what that and MLES_TX_ variables say about these counts here as well. It changes nothing, orders"
        " nothing, and ends with code 0 when nothing has failed, with 1 when something has, with 2 when it was called"
        " wrongly."
    )

    together = Options.together
    instead = Options.instead
    path_lists = Options.path_lists
    not_in_environment = Options.not_in_environment
    not_in_file = Options.not_in_file

    optFlags = (
        ["redirect", "r", "Look at the port for redirects to https as well."],
        ["staging", "s", "Let's Encrypt's staging environment, whose certificates are for trying."],
    )

    optParameters = (
        ["acme-ca", None, None, "PEM file with the root of the certificate authority's own https.", Path],
        ["acme-directory", None, None, "URL of the authority's directory. [default: Let's Encrypt]"],
        ["cache", "c", None, "Directory for certificates. [default: the state directory]", Path],
        ["config", None, None, "TOML file of the server.", Path],
        ["dns", None, None, "DNS server to ask, as ADDRESS or ADDRESS:PORT. [default: the system's]", _dns_server],
        ["port", "p", 443, "Port the server listens on.", whole_number("--port", 1, 65535)],
        [
            "redirect-port",
            None,
            None,
            "Port for redirects to https; looks at it, like --redirect. [default: 80]",
            whole_number("--redirect-port", 1, 65535),
        ],
    )

    def known(self) -> Mapping[str, Kind]:
        return kinds(Options({}))

    def parse(self, options: Sequence[str] | None = None) -> None:
        super().parse(options)
        with self.naming():
            self._look()

    def _look(self) -> None:
        if not self["domains"]:
            raise usage.UsageError("--domains: give the domains the certificate is to be for")
        try:
            _ = Authority(self.directory or LETS_ENCRYPT)
        except ValueError as error:
            raise usage.UsageError(str(error)) from None
        # The server's own rules; without TLS it asks for no certificate.
        ServerConfig(domains=tuple(self["domains"]), interfaces=tuple(self["interface"]), tls=False)
        if self["redirect"] and self["redirect-port"] is None:
            self["redirect-port"] = _REDIRECT_PORT


def make_checks(options: DoctorOptions, reactor: Any) -> "list[Check]":
    """What there is to look at, in the order of the table.

    Raises:
        CertificateError: --acme-ca cannot be used.
    """
    # Here, not above: `mles-tx --help` does without.
    from mles_tx.transport.certificates.fetch import Fetcher, verifying_agent
    from mles_tx.transport.certificates.names import is_ip_address, is_local_name
    from mles_tx.transport.port import has_ipv6

    from .check_ca import Directory, judge_clock, judge_directory
    from .check_caa import look_at_caa
    from .check_cache import find_certificate, look_at_cache
    from .check_certificate import look_at_certificate
    from .check_names import Machine, look_at_addresses
    from .check_ports import look_at_redirect_port, look_at_tls_port
    from .checks import Check
    from .lookups import Dns
    from .threads import in_daemon_thread

    url, cache, port, redirect_port = (
        options.directory or LETS_ENCRYPT,
        options.cache,
        options["port"],
        options["redirect-port"],
    )
    domains, is_public = options["domains"], options["acme-directory"] is None
    interfaces = options["interface"] or ["0.0.0.0", *(["::"] if has_ipv6() else [])]
    agent = verifying_agent(reactor, options["acme-ca"])
    directory = Directory(Fetcher(agent, reactor), url, reactor, time.time)
    dns, machine, now = Dns(reactor, options["dns"]), Machine(), datetime.now(UTC)

    kept_in = (cache / "acme" / Authority(directory=url).folder / "certificates", cache / "self-signed")
    in_thread = partial(in_daemon_thread, reactor)

    async def look_at_directory() -> "Finding":
        return judge_directory(url, await directory.get())

    async def look_at_clock() -> "Finding":
        return judge_clock((await directory.get()).ahead)

    async def identities() -> Sequence[str] | None:
        return _LETS_ENCRYPT_IDENTITIES if is_public else (await directory.get()).identities

    checks = [
        Check("authority", look_at_directory),
        Check("clock", look_at_clock),
        Check("cache", partial(in_thread, look_at_cache, cache)),
        Check(f"port {port}", partial(look_at_tls_port, reactor, domains[0], interfaces, port, redirect_port)),
    ]
    if redirect_port is not None:
        look = partial(look_at_redirect_port, reactor, domains[0], interfaces, redirect_port)
        checks.append(Check(f"port {redirect_port}", look))
    for domain in domains:
        checks.append(Check(f"name {domain}", partial(look_at_addresses, domain, dns, machine, is_public)))
        if not is_ip_address(domain) and not (is_public and is_local_name(domain)):
            checks.append(Check(f"CAA {domain}", partial(look_at_caa, domain, dns, identities)))
        kept = partial(in_thread, find_certificate, kept_in)
        look = partial(look_at_certificate, reactor, domain, interfaces, port, kept, now)
        checks.append(Check(f"certificate {domain}", look))
    return checks


def doctor(options: DoctorOptions) -> NoReturn:
    """Look, show what was found, and exit."""
    try:
        sys.exit(_look_and_show(options))
    except KeyboardInterrupt:  # before the reactor runs
        sys.exit(_interrupted())


def _look_and_show(options: DoctorOptions) -> int:
    """All of it; returns the exit code."""
    from twisted.internet import reactor as global_reactor
    from twisted.internet.defer import Deferred
    from twisted.logger import globalLogBeginner

    from mles_tx.transport.certificates.pairs import CertificateError

    from .checks import exit_code, run_checks, table
    from .threads import HostNames

    reactor: Any = global_reactor
    reactor.installNameResolver(HostNames(reactor))
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)  # what is found is all that is told
    try:
        checks = make_checks(options, reactor)
    except CertificateError as error:
        sys.stderr.write(f"mles-tx doctor: {error}\n")
        return 2
    found: list[Result] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(run_checks(reactor, checks))
        done.addCallback(found.extend).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if not found:
        return _interrupted()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # paths and names may have letters that the terminal has not
    for line in [*table(found), "", "Whether the internet reaches these ports cannot be seen from here."]:
        print(line)
    return exit_code(found)


def _interrupted() -> int:
    sys.stderr.write("mles-tx doctor: interrupted\n")
    return _INTERRUPTED
