"""Certificates by themselves: when one is ordered for a name, in which way, and when to try again.

txacme's `AcmeIssuingService` makes an order and stores what comes of it; when it does so is decided here. There is one
certificate a name, so that one that cannot be had keeps no other name from its own. Serving never waits for
any of this: see `serving`.

Once a second each name is looked at. It is due when it has no certificate in the directory, or one that is to be
renewed; it is tried when nothing says to wait: neither the name's own failures nor those of the authority.

    due, no wait, lock taken -> written down as failed -> order by one challenge -> (failed) -> order by the other
        certificate stored        -> nothing until it is to be renewed
        refused                   -> the name waits: 1 min, 5 min, 25 min ... 6 h
        gone before the order     -> all names wait: 5 s, 10 s, 20 s, 30 s; longer only while certificates are valid
        gone after it, or stopped -> as refused: orders are counted by the authority
        stored, and due already   -> as refused: some clock is wrong
"""

import random as random_numbers
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent
from txacme.client import AuthorizationFailed, NoSupportedChallenges
from txacme.service import AcmeIssuingService

from mles_tx.transport.contexts import ICertificates

from .account import Account
from .acme import AcmeClient
from .advice import RenewalAdvice
from .answers import ChallengeAnswers
from .authority import Authority
from .backoff import Backoff
from .challenges import HTTP01Responder, Peekable, Responder, TLSALPN01Responder, TLSChallenges
from .fetch import Fetcher, verifying_agent
from .files import lock, make_private_directory
from .pairs import CertificateError
from .problems import AccountRefused, AcmeError, Problem, Refused, Unavailable, ValidationFailed, clean
from .serving import CertificateStatus
from .session import AcmeSession
from .standing import Standing

__all__ = ["IssuingService", "utc_now"]

#: Seconds between two looks at all names.
_CHECK_SECONDS = 1.0

#: Orders at one time: a name whose challenge hangs keeps others waiting only when there are as many like it.
_AT_ONCE = 4


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class IssuingService(AcmeIssuingService):  # type: ignore[misc]
    """Gets certificates, renews them, and knows the one to serve.

    Args:
        reactor: the reactor, or in tests a `Clock` together with an agent.
        cache: the directory for everything that is kept; several servers can have it in common.
        names: host names in lower case, at least one.
        authority: who issues the certificates.
        fallback: serves while there is none, and other names.
        http_01: whether `answer` is asked on port 80 of all these names.
        now: the time, with its zone.
        random: a number from 0 to 1.
        orders: whether certificates are ordered here; if not, another server on the same directory does it, and here
            its challenges are answered and what has come is served.
        agent: makes requests; None: one that verifies certificates.

    Attributes:
        certificates: whom the TLS port asks.

    Raises:
        CertificateError: the authority's certificates cannot be read.
    """

    _log = Logger()
    _waiting: list[Deferred[None]]
    ready: bool

    def __init__(
        self,
        reactor: Any,
        cache: Path,
        names: Sequence[str],
        authority: Authority,
        fallback: ICertificates,
        *,
        http_01: bool,
        now: Callable[[], datetime] = utc_now,
        random: Callable[[], float] = random_numbers.random,
        orders: bool = True,
        agent: IAgent | None = None,
    ) -> None:
        self._now = now
        self._orders = orders
        self._root = cache / "acme" / authority.folder
        self._answers = ChallengeAnswers(self._root / "challenges", reactor, now)
        self._tls_challenges = TLSChallenges(self._answers, now)
        self._by_kind: dict[str, Responder] = {"tls-alpn-01": TLSALPN01Responder(self._answers, reactor)}
        if http_01:
            self._by_kind["http-01"] = HTTP01Responder(self._answers)
        self._trying: dict[str, Deferred[None]] = {}
        self._tried_at: dict[str, float] = {}
        self._ordered: set[str] = set()
        self._plans: dict[str, tuple[str, str | None]] = {}
        self._fetcher = Fetcher(verifying_agent(reactor, authority.ca) if agent is None else agent, reactor)
        self._session = AcmeSession(
            self._fetcher,
            authority.directory,
            Account(self._root),
            authority.emails,
            authority.external,
            now,
            self._ordered.add,
        )
        self._advice = RenewalAdvice(self._session, reactor, now)
        self._standing = Standing(self._root, names, fallback, self._advice.window, reactor, now, random)
        self.certificates = self._standing.certificates
        super().__init__(
            cert_store=self.certificates,
            client_creator=lambda: succeed(AcmeClient(self._session, self._clock)),
            clock=reactor,
            responders=list(self._by_kind.values()),
            check_interval=timedelta(seconds=_CHECK_SECONDS),
        )
        self.certificates.refresh()

    # -- what the rest of the server asks

    def look_for_challenge(self, connection: Peekable) -> bool:
        """Whether TLS can begin on a connection: see `TLSChallenges.look_for_challenge`."""
        return self._tls_challenges.look_for_challenge(connection)

    def answer(self, token: str) -> bytes | None:
        """The answer to HTTP-01 for any token; None: there is none."""
        return self._answers.http(token)

    def statuses(self) -> list[CertificateStatus]:
        """How it stands with each name, in their order."""
        return [self._standing.status(name) for name in self._standing.names]

    @property
    def is_ready(self) -> bool:
        """Whether each name has a certificate that was issued and is valid."""
        return all(map(self._standing.is_valid, self._standing.names))

    # -- start and end

    def startService(self) -> None:
        """Begin to look after the certificates.

        Raises:
            CertificateError: the cache directory cannot be written to.
        """
        try:
            make_private_directory(self._root / "locks")
            make_private_directory(self._root / "certificates")
        except OSError as error:
            raise CertificateError(
                f"--cache {self._root}: {error.strerror}; give a directory that can be written to"
            ) from error
        self._answers.sweep()
        super().startService()

    def stopService(self) -> "Deferred[Any]":
        stopped = maybeDeferred(super().stopService)
        self._advice.stop()
        under_way = list(self._trying.values())
        for trying in under_way:
            trying.cancel()
        return DeferredList([stopped, *under_way], consumeErrors=True)

    # -- what the service's timer calls, once a second

    def _check_certs(self) -> None:
        try:
            self.certificates.refresh()
            if not self._orders:
                return
            # Who has waited longest comes first: one that always fails has its turn, not each turn.
            for name in sorted(self._standing.names, key=lambda name: self._tried_at.get(name, float("-inf"))):
                if self._can_be_tried(name):
                    self._start(name)
            if not self._standing.authority.wait:
                self._advice.ask(self._standing.askable())
            self._tell_who_waits()
        except Exception:
            self._log.failure("certificates were not looked after")  # the timer would stop for good

    def _can_be_tried(self, name: str) -> bool:
        at_once = 1 if self._standing.authority.failures else _AT_ONCE
        return (
            name not in self._trying
            and len(self._trying) < at_once
            and not self._standing.is_waiting(name)
            and self._standing.is_due(name)
        )

    def _start(self, name: str) -> None:
        self._tried_at[name] = self._clock.seconds()
        trying = Deferred.fromCoroutine(self._try(name))
        self._trying[name] = trying
        trying.addErrback(self._fault, name).addBoth(self._tried, name)

    def _tried(self, _: None, name: str) -> None:
        del self._trying[name]

    def _fault(self, failure: Failure, name: str) -> None:
        if not failure.check(CancelledError):
            self._log.failure("no certificate was ordered for {name}", failure, name=name)
            self._standing.backoff(name).failed("a fault of our own: see the log")

    # -- one try

    async def _try(self, name: str) -> None:
        backoff = self._standing.backoff(name)
        try:
            taken = lock(self._root / "locks" / f"{name}.lock")
        except OSError as error:
            self._standing.failed(name, f"the cache directory cannot be written to: {error}")
            return
        if taken is None:
            return  # another server on this cache is at it
        with closing(taken):
            self.certificates.refresh()
            backoff.reload()
            self._standing.authority.reload()
            if not self._standing.is_due(name) or backoff.wait or self._standing.authority.wait:
                return
            try:
                if self.certificates.is_unkept(name):
                    self.certificates.keep(name)
                    backoff.succeeded()
                    return
                backoff.begin()
            except OSError as error:  # so that nothing is ordered that could not be kept
                self._standing.failed(name, f"the cache directory cannot be written to: {error}")
                return
            await self._order(name, backoff)

    async def _order(self, name: str, backoff: Backoff) -> None:
        self._ordered.discard(name)
        try:
            await self._session.open()
            kind = await self._order_by(name, sorted(self._by_kind, key=lambda kind: kind != backoff.hint))
        except CancelledError:
            if name in self._ordered:
                backoff.failed("the server was stopped in the middle of the order")
            else:
                backoff.undo()
            raise
        except AccountRefused as error:
            if name in self._ordered:
                backoff.failed(str(error))
            else:
                backoff.undo()
            self._standing.authority_failed(name, error)
        except Unavailable as error:
            if name in self._ordered:  # it was there, and has counted the order
                self._standing.gone_half_way(name, error)
                self._standing.authority_answers()
            else:
                backoff.undo()
                self._standing.authority_failed(name, error)
        except AcmeError as error:
            self._standing.failed(name, str(error), error.retry_after)
            self._standing.authority_answers()
        except (OSError, CertificateError) as error:
            self._standing.failed(name, f"the certificate cannot be kept: {error}")
        else:
            if self._standing.has_come(name, kind):
                self._fetcher.reset_pace()
            self._standing.authority_answers()

    async def _order_by(self, name: str, kinds: Iterable[str]) -> str:
        """Order with one kind of challenge, and if that fails with the next; the one that was met."""
        errors = []
        for kind in kinds:
            try:
                await self._order_once(name, kind)
            except ValidationFailed as error:  # that authorization is spent: the next needs an order of its own
                errors.append(error)
            else:
                return kind
        raise Refused(
            errors[0].problem, "; and ".join(map(str, errors)), max(error.retry_after for error in errors)
        ) from None

    async def _order_once(self, name: str, kind: str) -> None:
        found = self.certificates.certificate(name)
        tells = found is not None and self._session.renewal_info_url is not None
        self._plans[name] = (kind, found.identifier if found is not None and tells else None)
        try:
            await self.issue_cert(name)
        except (AuthorizationFailed, NoSupportedChallenges) as error:
            problem = Problem("", clean(error))
            raise ValidationFailed(problem, f"{kind}: {problem.detail}") from None
        except CancelledError:
            if not self.running:
                raise
            problem = Problem("", "the authority has not come to look")
            raise ValidationFailed(problem, f"{kind}: {problem.detail}") from None
        finally:
            try:
                self._by_kind[kind].forget(name)
            except OSError as error:
                self._log.warn("an answer to a challenge is left behind: {error!r}", error=error)

    def _issue_cert(self, client: AcmeClient, server_name: str) -> Any:
        # Called by the service for each order, with a client of its own. It asks for the key at once.
        client.challenge_type, client.replaces = self._plans[server_name]
        self._generate_key = client.make_key
        return super()._issue_cert(client, server_name)

    def _tell_who_waits(self) -> None:
        """Keep the promise of `when_certs_valid`: it fires when each name has a certificate, or has been tried."""
        if not self.ready and not self._trying and all(map(self._standing.was_tried, self._standing.names)):
            self.ready = True
            while self._waiting:
                self._waiting.pop(0).callback(None)
