"""A client of RFC 8555, in the shape that txacme's service calls.

txacme's own client speaks the draft that came before it, which no authority speaks any more. What is signed, and how
challenges are answered, is left to the library `acme`; orders are here, and what they have in
common is in `session`.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from josepy.b64 import b64encode
from josepy.jwk import JWKEC
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from .answers import is_token
from .fetch import Answer
from .names import names_of
from .problems import AccountRefused, Problem, Refused, Unavailable, ValidationFailed, clean, explain
from .session import AcmeSession

__all__ = ["AcmeClient", "Issued"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Seconds between two questions whether something is done: at first, then twice as long each time, and the longest of
#: ours. The authority may name others, within a bound.
_POLL, _POLL_LATER, _POLL_MOST = 0.25, 2.0, 30.0

#: Seconds for an authority to make a certificate once the name is proved.
_ORDER_SECONDS = 180.0

#: Certificates in a chain. There are three or four; to look at each takes the time in which nothing else is done.
_MAX_CHAIN = 10


def _deferred(function: Callable[_P, Awaitable[_T]]) -> Callable[_P, "Deferred[_T]"]:
    def call(*args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        return Deferred.fromCoroutine(function(*args, **kwargs))  # type: ignore[arg-type]

    return call


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate as the service takes it apart.

    Attributes:
        body: DER.
        chain: those that lead to its root, in order.
    """

    body: bytes
    chain: tuple["Issued", ...] = ()


class AcmeClient:
    """One order for one name, in the steps in which txacme's service makes it.

    Args:
        session: the account whose order it is.
        clock: the reactor, or a `Clock` in tests.

    Attributes:
        challenge_type: the only kind of challenge that is to be met.
        replaces: what certificate it is to replace (RFC 9773 section 5); None: the authority is not told.
    """

    def __init__(self, session: AcmeSession, clock: IReactorTime) -> None:
        self._session = session
        self._clock = clock
        self.challenge_type = ""
        self.replaces: str | None = None
        self._name = ""
        self._order = ""
        self._finalize = ""
        self._polled = -1
        self._certificate_key: ec.EllipticCurvePrivateKey | None = None

    @property
    def key(self) -> JWKEC:
        """The account's key, which answers to challenges are made of."""
        return self._session.key

    def make_key(self) -> ec.EllipticCurvePrivateKey:
        """The certificate's key: a new one for each."""
        self._certificate_key = ec.generate_private_key(ec.SECP256R1())
        return self._certificate_key

    @_deferred
    async def request_challenges(self, identifier: Any) -> Any:
        """Order, and find out what is to be proved."""
        self._name = identifier.value
        answer = await self._new_order()
        self._order = answer.location()
        self._finalize = answer.text("finalize")
        authorizations = answer.json().get("authorizations")
        if not isinstance(authorizations, list) or len(authorizations) != 1 or not isinstance(authorizations[0], str):
            raise Unavailable("an order for one name has not one authorization")
        resource, _ = await self._authorization(authorizations[0])
        self._check_open(resource.body)
        return resource

    async def _new_order(self) -> Answer:
        request: dict[str, Any] = {"identifiers": [{"type": "dns", "value": self._name}]}
        with self._explaining():
            if self.replaces is not None:
                try:
                    return await self._session.order({**request, "replaces": self.replaces})
                except Refused as error:
                    if error.problem.kind not in ("alreadyReplaced", "malformed"):
                        raise
            return await self._session.order(request)

    async def _authorization(self, url: str) -> tuple[Any, Answer]:
        answer = await self._session.post(url)
        body = answer.json()
        offered = body.get("challenges")
        usable = [_usable(item) for item in offered if isinstance(item, dict)] if isinstance(offered, list) else []
        chosen = [item for item in usable if item is not None and item["type"] == self.challenge_type]
        status = answer.text("status")
        if status == "valid" and not chosen:
            # Proved before, in another way: there is nothing to answer, but the service wants to.
            chosen = [
                {"type": self.challenge_type, "url": url, "status": "valid", "token": b64encode(bytes(32)).decode()}
            ]
        if status in ("pending", "processing") and not chosen:
            problem = Problem("", self._why_none(offered))
            raise ValidationFailed(problem, problem.detail)
        try:
            authorization = messages.Authorization(
                identifier=messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=self._name),
                status=messages.Status.from_json(status),
                challenges=tuple(messages.ChallengeBody.from_json(item) for item in chosen[:1]),
                combinations=((0,),),
            )
        except Exception as error:  # the library raises whatever comes of what it is given
            raise Unavailable(f"{clean(url)} answered no authorization: {clean(error)}") from None
        return messages.AuthorizationResource(uri=url, body=authorization), answer

    def _why_none(self, offered: Any) -> str:
        kinds = [item.get("type") for item in offered if isinstance(item, dict)] if isinstance(offered, list) else []
        if self.challenge_type in kinds:
            return f"what the authority offers as {self.challenge_type} for {self._name} has no usable token or URL"
        return f"the authority does not offer {self.challenge_type} for {self._name}"

    def _check_open(self, authorization: Any) -> None:
        """ValidationFailed when the name is not proved, and cannot be any more."""
        if authorization.status in (messages.STATUS_PENDING, messages.STATUS_PROCESSING, messages.STATUS_VALID):
            return
        error = authorization.challenges[0].error if authorization.challenges else None
        if error is None:
            raise self._failed(Problem("", f"the authorization is {authorization.status.name}"))
        raise self._failed(Problem.from_json({"type": error.typ, "detail": error.detail}))

    @_deferred
    async def answer_challenge(self, challenge: Any, response: Any) -> None:
        """Tell the authority that it can look."""
        if challenge.status == messages.STATUS_PENDING:  # else it was proved before
            with self._explaining(ValidationFailed, self.challenge_type):
                await self._session.post(challenge.uri, {})

    @_deferred
    async def poll(self, resource: Any) -> tuple[Any, float]:
        """How the authorization is, and seconds after which to ask again."""
        resource, answer = await self._authorization(resource.uri)
        self._check_open(resource.body)
        return resource, self._pause(answer)

    @_deferred
    async def request_issuance(self, request: Any) -> Issued:
        """Have the certificate made for the key, and fetch it.

        The service's own request has a common name, which for a long name is one that authorities refuse; so it is made
        here, without one.
        """
        deadline = self._clock.seconds() + _ORDER_SECONDS
        answer = await self._session.post(self._order)
        is_finalized = False  # an authority may call it ready late, and go on to do so for a while
        while answer.text("status") != "valid":
            if answer.text("status") == "ready" and not is_finalized:
                is_finalized = True
                answer = await self._finish()
                continue
            if answer.text("status") == "invalid":
                error = answer.json().get("error") or {}
                problem = Problem.from_json(error if isinstance(error, dict) else {"detail": error})
                raise Refused(problem, explain(problem, self._name))
            if self._clock.seconds() >= deadline:
                raise Unavailable(f"the order for {self._name} is {clean(answer.text('status'))} for too long")
            await deferLater(self._clock, self._pause(answer), lambda: None)
            answer = await self._session.post(self._order)
        fetched = await self._session.post(answer.text("certificate"), accept=b"application/pem-certificate-chain")
        return self._check(fetched.body)

    def fetch_chain(self, issued: Issued) -> "Deferred[tuple[Issued, ...]]":
        """What came with the certificate."""
        return succeed(issued.chain)

    async def _finish(self) -> Answer:
        assert self._certificate_key is not None
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(self._name)]), critical=True)
            .sign(self._certificate_key, hashes.SHA256())
        )
        with self._explaining():
            return await self._session.post(
                self._finalize, {"csr": b64encode(request.public_bytes(Encoding.DER)).decode()}
            )

    def _check(self, pem: bytes) -> Issued:
        assert self._certificate_key is not None
        if pem.count(b"-----BEGIN CERTIFICATE-----") > _MAX_CHAIN:
            raise Unavailable(f"what came for {self._name} has more than {_MAX_CHAIN} certificates")
        try:
            chain = x509.load_pem_x509_certificates(pem)
            belongs = chain[0].public_key() == self._certificate_key.public_key()
            belongs = belongs and self._name in names_of(chain[0])
            encoded = [certificate.public_bytes(Encoding.DER) for certificate in chain]
        except Exception as error:  # each thing that cannot be in a certificate has an exception of its own
            raise Unavailable(f"what came for {self._name} is no certificate: {clean(error)}") from None
        if not belongs:
            raise Unavailable(f"the certificate that came is not the one for {self._name}")
        return Issued(encoded[0], tuple(Issued(body) for body in encoded[1:]))

    def _pause(self, answer: Answer) -> float:
        self._polled += 1
        own = min(_POLL * (1 << min(self._polled, 10)), _POLL_LATER)
        return min(max(answer.retry_after(self._session.now()), own), _POLL_MOST)

    def _failed(self, problem: Problem) -> ValidationFailed:
        return ValidationFailed(problem, explain(problem, self._name, self.challenge_type))

    @contextmanager
    def _explaining(self, kind: type[Refused] = Refused, challenge: str = "") -> Iterator[None]:
        """Say what to do when this order is refused; what is wrong with the account is explained already."""
        try:
            yield
        except AccountRefused:
            raise
        except Refused as error:
            raise kind(error.problem, explain(error.problem, self._name, challenge), error.retry_after) from None


def _usable(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """What matters of a challenge, in the types it has to have; None: it is of no use."""
    texts: dict[str, Any] = {name: item.get(name) for name in ("type", "url", "token", "status")}
    if not all(isinstance(text, str) and text for text in texts.values()) or not is_token(texts["token"]):
        return None
    error = item.get("error")
    if not isinstance(error, dict):
        return texts
    problem = Problem.from_json(error)
    return {**texts, "error": {"type": error.get("type") if problem.kind else "about:blank", "detail": problem.detail}}
