"""Which certificates a server shows: the operator's own files, or those it orders by itself, or one it has signed.

Start: read the operator's files, which may need root; then, with root given up, everything in the cache directory. What
is to be served until an ordered certificate is there is made at once, so that serving never waits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mles_tx.transport.certificates.choice import FixedCertificates
from mles_tx.transport.certificates.names import covers, is_local_name
from mles_tx.transport.certificates.pairs import CertificateError, Pair, pair_from_files
from mles_tx.transport.certificates.selfsigned import self_signed_pair
from mles_tx.transport.certificates.store import CertificateDirectory
from mles_tx.transport.contexts import ICertificates
from mles_tx.transport.tcp import Preface

from .changing import Change
from .config import ServerConfig

if TYPE_CHECKING:
    from mles_tx.transport.certificates.issuing import IssuingService

__all__ = [
    "CertificateService",
    "CertificateState",
    "changed_pairs",
    "make_self_signed",
    "read_pairs",
    "read_pairs_again",
    "shortcomings",
]

#: Seconds between two looks at what is near its end.
_LOOK_SECONDS = 3600.0

#: Seconds for which it is remembered who can be trusted.
_TRUST_SECONDS = 1.0

#: How long before its end a certificate is called ending: this, or a third of its life if that is less. Those that are
#: renewed by a program have been renewed long before.
_ENDING = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CertificateState:
    """How it stands with the certificate of one domain.

    Attributes:
        domain: the domain.
        not_valid_after: when the certificate that is shown ends, with its zone.
        is_trusted: whether an authority has issued it, and it is valid now.
        error: why the last order failed; None: it did not, or none was made.
        next_try: seconds until the next order; 0.0: none has to be waited for.
    """

    domain: str
    not_valid_after: datetime
    is_trusted: bool
    error: str | None
    next_try: float = 0.0


class CertificateService(Service):
    """Looks after the certificates of a server that speaks TLS; does nothing for one that does not.

    Args:
        reactor: whose time it is.
        config: which certificates.
        read: gives what is in a file of the operator's.
        orders: whether what is missing is ordered here, and not by another process on the same cache directory.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        read: Callable[[Path], bytes] = Path.read_bytes,
        orders: bool = True,
    ) -> None:
        self._reactor = reactor
        self._config = config
        self._read = read
        self._orders = orders
        self._pairs: list[Pair] = []
        self._issuing: IssuingService | None = None
        self._fixed: FixedCertificates | None = None
        self._shown: ICertificates | None = None
        self._warned: set[str] = set()
        self._timer: IDelayedCall | None = None
        self._trusted: frozenset[str] = frozenset()
        self._trusted_since = -_TRUST_SECONDS

    @property
    def shown(self) -> ICertificates | None:
        """Who knows which certificate a client is shown; None: the server does not speak TLS, or has not started."""
        return self._shown

    @property
    def preface(self) -> Preface | None:
        """What is done before TLS begins, so that an authority finds the answer to its challenge."""
        return None if self._issuing is None else self._issuing.look_for_challenge

    def challenge(self, token: str) -> bytes | None:
        """The answer to HTTP-01; None: there is none."""
        return None if self._issuing is None else self._issuing.answer(token)

    def states(self) -> list[CertificateState]:
        """How it stands with each domain; empty without TLS, and before the start."""
        issued = {} if self._issuing is None else {status.name: status for status in self._issuing.statuses()}
        now = datetime.now(UTC)
        states = []
        for domain in self._config.domains if self._pairs else ():
            status = issued.get(domain)
            pair = self._pair_for(domain)
            if status is None:
                is_trusted = bool(self._config.certificates) and _is_good(pair, domain, now)
                states.append(CertificateState(domain, pair.not_valid_after, is_trusted, None))
            else:
                ends = status.not_valid_after or pair.not_valid_after
                states.append(
                    CertificateState(
                        domain, ends, status.is_valid, status.error, status.next_try if status.error else 0.0
                    )
                )
        return states

    def demands_tls(self, host: str) -> bool:
        """Whether browsers may be told to come to a host over TLS only: not to names of this machine or of a private
        network, and not where they cannot trust the certificate. It is asked with each request."""
        now = self._reactor.seconds()
        if not 0 <= now - self._trusted_since < _TRUST_SECONDS:
            self._trusted_since = now
            self._trusted = frozenset(
                state.domain
                for state in self.states()
                if state.is_trusted
                and not is_local_name(state.domain)
                and not (self._config.certificates and self._pair_for(state.domain).is_self_signed)
            )
        return host in self._trusted

    def not_ready(self) -> list[str]:
        """Why clients cannot trust this server yet, one line a domain; nothing about certificates that are self-signed
        on purpose."""
        ordered = self._config.acme_names
        lines = []
        for state in self.states():
            if not state.is_trusted and (self._config.certificates or state.domain in ordered):
                why = f": {state.error}" if state.error else ""
                lines.append(f"{state.domain} has no valid certificate yet{why}")
        return lines

    def ending(self) -> list[str]:
        """Which certificates are valid, end soon, and will not be followed by others unless something is done, one line
        each."""
        now = datetime.now(UTC)
        lines = [_ends_soon(pair) for pair in self._pairs if self._config.certificates and _is_ending(pair, now)]
        lines += [
            f"the certificate for {state.domain} ends on {state.not_valid_after:%Y-%m-%d}: {state.error}"
            for state in self.states()
            if state.error is not None and now < state.not_valid_after < now + _ENDING and state.is_trusted
        ]
        return lines

    def privilegedStartService(self) -> None:
        """Read the operator's files.

        Raises:
            CertificateError: one cannot be used.
        """
        super().privilegedStartService()
        if self._config.listen:
            self._pairs = read_pairs(self._config, self._read)
            if self._config.acme_names:
                # Once root is given up, Python itself may lie where it cannot be read.
                import_module("mles_tx.transport.certificates.issuing")

    def startService(self) -> None:
        """Have something to serve, and begin to order what is missing.

        Raises:
            CertificateError: the cache directory cannot be used.
        """
        if self.running:
            return
        if not self._pairs:
            self.privilegedStartService()
        super().startService()
        if not self._config.speaks_tls or not self._config.listen:
            return
        if not self._config.certificates:
            self._pairs = [make_self_signed(self._config)]
        self._warn()
        self._shown = self._fixed = FixedCertificates(self._pairs)
        self._timer = self._reactor.callLater(_LOOK_SECONDS, self._look_again)
        names = self._config.acme_names
        if names:
            # Here, not above: it takes half a second.
            from mles_tx.transport.certificates.issuing import IssuingService

            issuing = IssuingService(
                self._reactor,
                self._config.cache,
                names,
                self._config.authority,
                self._fixed,
                http_01=self._config.redirects,
                orders=self._orders,
            )
            issuing.startService()
            self._issuing, self._shown = issuing, issuing.certificates

    def show(self, config: ServerConfig, pairs: Sequence[Pair]) -> None:
        """Show other files of the operator's from the next handshake on.

        Args:
            config: which files.
            pairs: what is in them.
        """
        self._config = config
        self._warned.clear()
        # Who has been here with the same certificate can go on with the session it had.
        known = {pair.digest: pair for pair in self._pairs}
        self._pairs = [known.get(pair.digest, pair) for pair in pairs]
        if self._fixed is not None:
            self._fixed.show(self._pairs)
            self._warn()

    @property
    def pairs(self) -> Sequence[Pair]:
        """What is shown of the operator's files, or was signed here; empty before the start."""
        return self._pairs

    def stopService(self) -> "Deferred[Any]":
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        issuing, self._issuing = self._issuing, None
        self._pairs, self._shown, self._fixed = [], None, None
        self._warned.clear()
        return succeed(None) if issuing is None else issuing.stopService()

    def _look_again(self) -> None:
        """Sign anew what we have signed before it ends, and say what of the operator's has ended meanwhile."""
        self._timer = self._reactor.callLater(_LOOK_SECONDS, self._look_again)
        try:
            if not self._config.certificates:
                self._pairs = [make_self_signed(self._config)]
                assert self._fixed is not None
                self._fixed.show(self._pairs)
            self._warn()
        except Exception:
            self._log.failure("the certificates could not be looked at")

    def _warn(self) -> None:
        if self._config.certificates:
            for about, text in shortcomings(self._config, self._pairs, datetime.now(UTC)):
                if about not in self._warned:
                    self._warned.add(about)
                    self._log.warn("{text}", text=text)

    def _pair_for(self, domain: str) -> Pair:
        return next((pair for pair in self._pairs if covers(pair.names, domain)), self._pairs[0])


def read_pairs(config: ServerConfig, read: Callable[[Path], bytes] = Path.read_bytes) -> list[Pair]:
    """The operator's certificates.

    Args:
        config: which files they are in.
        read: gives what is in one.

    Raises:
        CertificateError: a file cannot be used.
    """
    return [pair_from_files(chain, key, read) for chain, key in config.certificates]


def read_pairs_again(config: ServerConfig, read: Callable[[Path], bytes] = Path.read_bytes) -> list[Pair]:
    """The operator's certificates, read while the server runs.

    Args:
        config: which files they are in.
        read: gives what is in one.

    Raises:
        CertificateError: a file cannot be used, or is something that would keep the server waiting.
    """
    for pair in config.certificates:
        for option, path in zip(("--certificate", "--private-key"), pair, strict=True):
            if path.exists() and not path.is_file():
                raise CertificateError(f"{option} {path}: no regular file, so it cannot be read again")
    return read_pairs(config, read)


def changed_pairs(before: Sequence[Pair], after: Sequence[Pair]) -> list[Change]:
    """How the certificates that are shown differ; their files may be called the same."""
    if not after or [pair.digest for pair in before] == [pair.digest for pair in after]:
        return []
    return [Change("certificates", _told(before), _told(after))]


def _told(pairs: Sequence[Pair]) -> str:
    told = (f"{', '.join(pair.names)} until {pair.not_valid_after:%Y-%m-%d %H:%M}Z" for pair in pairs)
    text = "; ".join(told) or "none"
    return text if text.isprintable() else repr(text)


def shortcomings(config: ServerConfig, pairs: Sequence[Pair], now: datetime) -> Iterator[tuple[str, str]]:
    """What clients will not like about the operator's certificates: what it is about, and a line."""
    for pair in pairs:
        if pair.not_valid_after <= now:
            names = ", ".join(pair.names)
            yield names, f"the certificate for {names} has expired: replace it"
        elif _is_ending(pair, now):
            yield f"{', '.join(pair.names)} soon", _ends_soon(pair)
    for domain in config.domains:
        if not any(covers(pair.names, domain) for pair in pairs):
            yield domain, f"no certificate is for {domain}: clients will refuse it"


def _is_good(pair: Pair, domain: str, now: datetime) -> bool:
    return covers(pair.names, domain) and pair.not_valid_before <= now < pair.not_valid_after


def _is_ending(pair: Pair, now: datetime) -> bool:
    life = pair.not_valid_after - pair.not_valid_before
    return now < pair.not_valid_after < now + min(_ENDING, life / 3)


def _ends_soon(pair: Pair) -> str:
    return f"the certificate for {', '.join(pair.names)} ends on {pair.not_valid_after:%Y-%m-%d}: replace it"


def make_self_signed(config: ServerConfig) -> Pair:
    """The certificate that serves until an ordered one is there, and for local names: the one in the cache directory,
    or a new one.

    Raises:
        CertificateError: the directory cannot be used.
    """
    try:
        return self_signed_pair(CertificateDirectory(config.cache / "self-signed"), config.domains, datetime.now(UTC))
    except OSError as error:
        raise CertificateError(
            f"--cache {config.cache}: {error.strerror}; give a directory that can be written to"
        ) from error
