"""How it stands with each name: what is served, what came of the orders, when the next one may be made.

It decides nothing about how an order is made, and knows nothing of the protocol it is made in: see `issuing`.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mles_tx.transport.contexts import ICertificates

from .backoff import LONGEST_SECONDS, REFUSED, UNAVAILABLE, Backoff
from .problems import AccountRefused, AcmeError
from .renewal import Window, renewal_time, youth
from .serving import CertificateStatus, StoredCertificate, StoredCertificates

__all__ = ["Standing"]

#: The longest wait for an authority that is gone, in seconds, when a name has no valid certificate.
_URGENT_SECONDS = 30.0

#: Seconds until it is told again that the authority is still gone.
_TELL_AGAIN = 600.0

_DOCTOR = "; mles-tx doctor tells more"

_WRONG_CLOCK = (
    "the certificate that has just come is to be renewed already, so the clock of this machine or of the authority is "
    "wrong, here it is {now}: set this machine's clock, or choose another authority"
)


class Standing:
    """Certificates, failures and waits of some names at one authority.

    Args:
        root: the directory for everything that has to do with the authority.
        names: host names in lower case, at least one.
        fallback: serves while there is none, and other names.
        window: when the authority would renew the certificate of a name, by its identifier; None: it has not said.
        clock: the reactor, or a `Clock` in tests.
        now: the time, with its zone.
        random: a number from 0 to 1.

    Attributes:
        names: the names.
        certificates: those that are served.
        authority: the failures and waits that concern all names.
    """

    _log = Logger()

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        fallback: ICertificates,
        window: Callable[[str, str | None], Window | None],
        clock: IReactorTime,
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self.names = tuple(names)
        self.certificates = StoredCertificates(root / "certificates", names, fallback, now, self._served)
        self.authority = Backoff(root / "authority.json", clock, now, random)
        self._backoffs = {name: Backoff(root / "tries" / f"{name}.json", clock, now, random) for name in names}
        self._window = window
        self._clock = clock
        self._now = now
        self._young_until: dict[str, float] = {}
        self._told = ("", 0.0)

    # -- how it is

    def backoff(self, name: str) -> Backoff:
        """The failures and waits of one name."""
        return self._backoffs[name]

    def is_due(self, name: str) -> bool:
        """Whether a name has no certificate in the directory, or one that is to be renewed."""
        found = self.certificates.certificate(name)
        return found is None or not found.is_kept or self._renewal(name, found) <= self._now()

    def is_valid(self, name: str) -> bool:
        """Whether a name has a certificate that was issued and is valid."""
        found = self.certificates.certificate(name)
        return found is not None and found.pair.not_valid_before <= self._now() < found.pair.not_valid_after

    def is_waiting(self, name: str) -> bool:
        """Whether something says that it is not the time for an order."""
        return bool(self.authority.wait or self._backoffs[name].wait or self._young(name))

    def was_tried(self, name: str) -> bool:
        """Whether a name has a valid certificate, or it was tried to get one."""
        return bool(self.is_valid(name) or self._backoffs[name].failures or self.authority.failures)

    def askable(self) -> Iterator[tuple[str, str]]:
        """Names and identifiers of the certificates the authority may be asked for advice about."""
        for name in self.names:
            found = self.certificates.certificate(name)
            if found is not None and found.identifier is not None and self.is_valid(name):
                yield name, found.identifier

    def status(self, name: str) -> CertificateStatus:
        """What there is to be told about a name."""
        found = self.certificates.certificate(name)
        due = self.is_due(name)
        backoffs = (self._backoffs[name], self.authority)
        return CertificateStatus(
            name,
            None if found is None else found.pair.not_valid_after,
            self.is_valid(name),
            None if found is None or not found.is_kept else self._renewal(name, found),
            next((backoff.error for backoff in backoffs if backoff.error is not None), None) if due else None,
            max(self._young(name), *(backoff.wait for backoff in backoffs)) if due else 0.0,
        )

    def _young(self, name: str) -> float:
        """Seconds for which the certificate that this process has stored is too new to be renewed.

        They are counted by the monotonic clock: when the wall clock is wrong each new certificate may seem to be due.
        """
        found = self.certificates.certificate(name)
        if found is None or not found.is_kept:
            return 0.0
        return max(0.0, self._young_until.get(name, float("-inf")) - self._clock.seconds())

    def _renewal(self, name: str, found: StoredCertificate) -> datetime:
        window = self._window(name, found.identifier)
        return renewal_time(
            found.pair.not_valid_before, found.pair.not_valid_after, window, found.stored, found.identifier or ""
        )

    # -- what comes of an order

    def has_come(self, name: str, kind: str) -> bool:
        """A certificate was stored.

        Returns:
            False when it is due already: then that is a failure.
        """
        found = self.certificates.certificate(name)
        if found is not None:
            young = youth(found.pair.not_valid_before, found.pair.not_valid_after)
            self._young_until[name] = self._clock.seconds() + young.total_seconds()
        if self.is_due(name):
            self.failed(name, _WRONG_CLOCK.format(now=self._now().isoformat(" ", "minutes")))
            return False
        self._backoffs[name].succeeded(kind)
        return True

    def failed(self, name: str, error: str, retry_after: float = 0.0) -> None:
        """There is none this time, and the name waits."""
        self._tell(name, error, self._backoffs[name].failed(error, REFUSED, retry_after))

    def gone_half_way(self, name: str, error: AcmeError) -> None:
        """The authority has counted the order, and then did not answer any more: the name waits."""
        self.failed(name, f"{error}{_DOCTOR}", error.retry_after)

    def authority_failed(self, name: str, error: AcmeError) -> None:
        """There is none for any name, as was seen when one was ordered for this one: all wait."""
        backoff = self.authority
        if backoff.wait:
            return  # orders that were under way at the same time tell the same
        delays = REFUSED if isinstance(error, AccountRefused) else UNAVAILABLE
        longest = LONGEST_SECONDS
        if delays is UNAVAILABLE:
            left = min((self._seconds_left(name) for name in self.names), default=0.0)
            longest = min(max(_URGENT_SECONDS, left / 10), LONGEST_SECONDS)
        delay = backoff.failed(str(error), delays, error.retry_after, longest)
        if self._told[0] != str(error) or self._clock.seconds() - self._told[1] >= _TELL_AGAIN:
            self._told = (str(error), self._clock.seconds())
            self._tell(name, f"{error}{_DOCTOR if delays is UNAVAILABLE else ''}", delay)

    def authority_answers(self) -> None:
        """Nothing is wrong with the authority, whatever it has said."""
        if self.authority.failures:
            self.authority.succeeded()

    def _seconds_left(self, name: str) -> float:
        found = self.certificates.certificate(name)
        return 0.0 if found is None else (found.pair.not_valid_after - self._now()).total_seconds()

    # -- what the operator is told

    def _served(self, name: str) -> None:
        found = self.certificates.certificate(name)
        assert found is not None
        self._log.info(
            "serving the certificate for {name}: valid until {ends}, to be renewed at {renewal}",
            name=name,
            ends=found.pair.not_valid_after.isoformat(" ", "minutes"),
            renewal=self._renewal(name, found).isoformat(" ", "minutes"),
        )

    def _tell(self, name: str, error: str, delay: float) -> None:
        found = self.certificates.certificate(name)
        if found is None:
            self._log.error(
                "no certificate for {name}, a self-signed one is served: {error} (next try in {delay:.0f} s)",
                name=name,
                error=error,
                delay=delay,
            )
        else:
            self._log.error(
                "the certificate for {name} is not renewed, and ends at {ends}: {error} (next try in {delay:.0f} s)",
                name=name,
                ends=found.pair.not_valid_after.isoformat(" ", "minutes"),
                error=error,
                delay=delay,
            )
