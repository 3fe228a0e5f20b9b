"""A small certificate authority for tests: RFC 8555 and RFC 9773 as a web resource, for a port or for memory.

It is strict: a request that is not signed as it should be is refused. It misbehaves when it is told to.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from acme import jws
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from josepy.b64 import b64decode, b64encode
from josepy.jwa import ES256, HS256
from josepy.jwk import JWK, JWKOct
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from .making import Made

__all__ = ["Issuer", "Said", "SmallAuthority", "make_issuer"]

_ERROR = "urn:ietf:params:acme:error:"


@dataclass(frozen=True)
class Issuer(Made):
    """A certificate that vouches for others."""

    def issue(
        self, *names: str, begins: datetime, ends: datetime, public_key: Any = None, is_authority: bool = False
    ) -> Made:
        """A certificate for names and a public key, or for a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key() if public_key is None else public_key
        mine: Any = self.certificate.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(names[0]) if is_authority else x509.Name([]))
            .issuer_name(self.certificate.subject)
            .not_valid_before(begins)
            .not_valid_after(ends)
            .serial_number(x509.random_serial_number())
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(mine), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        if not is_authority:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True
            ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        signer: Any = self.key
        return (Issuer if is_authority else Made)(key, builder.sign(signer, hashes.SHA256()))


def make_issuer(name: str = "a root for tests") -> Issuer:
    """A root, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(name))
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .serial_number(x509.random_serial_number())
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return Issuer(key, builder.sign(key, hashes.SHA256()))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Said:
    """What a client has said.

    Attributes:
        path: to whom.
        payload: the object; None: it only asked.
        account: which account; None: it showed its key.
    """

    path: str
    payload: dict[str, Any] | None
    account: str | None


@dataclass
class _Order:
    name: str
    kinds: tuple[str, ...]
    status: str = "pending"
    tokens: dict[str, str] = field(default_factory=dict)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    proved_by: str = ""
    chain: bytes = b""


class _Refused(Exception):
    def __init__(self, kind: str, detail: str = "as you wished", code: int = 400, **headers: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.code = code
        self.headers = headers


class SmallAuthority(Resource):
    """The authority.

    Args:
        url: where it is, without a slash at its end.
        now: the time, with its zone.

    Attributes:
        life: how long its certificates are valid.
        kinds: the challenges it offers.
        validate: told the name, the kind, the token and the key authorization; what is wrong with the answer, as the
            last part of a type, or None.
        window: when a certificate that ends at a time is to be renewed; None: it does not say.
        external: the HMAC keys by key id; None: accounts need none.
        misbehave: told each request's path; how it is to be answered, or None: well. See `_MISDEEDS`.
        asked: the paths of all requests.
        said: what was said in those that were signed.
        windows_asked: the certificates it was asked about.
    """

    isLeaf = True

    def __init__(
        self, url: str = "https://ca.example", now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__()
        self.url = url
        self.now = now
        self.life = timedelta(days=90)
        self.kinds: tuple[str, ...] = ("http-01", "dns-01", "tls-alpn-01")
        self.validate: Callable[[str, str, str, str], str | None] = lambda *_: None
        self.window: Callable[[datetime], tuple[str, str]] | None = None
        self.external: dict[str, bytes] | None = None
        self.misbehave: Callable[[str], Any] = lambda path: None
        self.headers: dict[str, str] = {}
        self.root = make_issuer()
        self._intermediate = self.root.issue(
            "an intermediate",
            begins=datetime.now(UTC) - timedelta(days=1),
            ends=datetime.now(UTC) + timedelta(days=1),
            is_authority=True,
        )
        self.asked: list[str] = []
        self.said: list[Said] = []
        self.windows_asked: list[str] = []
        self.accounts: dict[str, JWK] = {}
        self.contacts: dict[str, list[str]] = {}
        self._orders: list[_Order] = []
        self._nonces: set[str] = set()
        self._made = 0

    # -- a request

    def render(self, request: Request) -> Any:
        path = request.path.decode("ascii")
        self.asked.append(path)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        misdeed = self.misbehave(path)
        if misdeed is not None:
            return self._misbehave(request, misdeed)
        try:
            return self._answer(request, path)
        except _Refused as refused:
            return self._refuse(request, refused)

    def _misbehave(self, request: Request, misdeed: Any) -> Any:
        if isinstance(misdeed, _Refused):
            return self._refuse(request, misdeed)
        if misdeed == "nothing":
            return NOT_DONE_YET
        if misdeed == "half":
            request.setHeader("content-length", "1000")
            request.write(b'{"newNonce": "https://')
            request.loseConnection()
            return NOT_DONE_YET
        if misdeed == "cut":
            request.loseConnection()
            return NOT_DONE_YET
        code, body = misdeed
        request.setResponseCode(code)
        return body

    def refuse(self, kind: str, code: int = 400, detail: str = "as you wished", **headers: str) -> Any:
        """A misdeed: a problem document."""
        return _Refused(kind, detail, code, **headers)

    def _refuse(self, request: Request, refused: _Refused) -> bytes:
        request.setResponseCode(refused.code)
        for name, value in refused.headers.items():
            request.setHeader(name.replace("_", "-"), value)
        self._give_nonce(request)
        return json.dumps({"type": _ERROR + refused.kind, "detail": str(refused)}).encode()

    def _give_nonce(self, request: Request) -> None:
        self._made += 1
        nonce = b64encode(b"nonce %d" % self._made).decode()
        self._nonces.add(nonce)
        request.setHeader("replay-nonce", nonce)

    def _answer(self, request: Request, path: str) -> bytes:
        _, kind, *rest = path.split("/")
        if kind == "directory":
            found = {name: f"{self.url}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
            if self.window is not None:
                found["renewalInfo"] = f"{self.url}/renewal"
            return json.dumps(found).encode()
        if kind == "renewal":
            return self._renewal(request, rest[0])
        self._give_nonce(request)
        if kind == "newNonce":
            return b""
        said, key = self._open(request, path)
        self.said.append(said)
        if kind == "newAccount":
            return self._account(request, said.payload or {}, key)
        if kind == "account":
            self.contacts[said.account or ""] = (said.payload or {}).get("contact", [])
            return b"{}"
        if kind == "newOrder":
            return self._new_order(request, said.payload or {})
        number, *what = rest
        order = self._orders[int(number)]
        if kind == "order":
            return self._order(int(number))
        if kind == "authz":
            return self._authorization(int(number))
        if kind == "challenge":
            return self._challenge(order, what[0], key)
        if kind == "finalize":
            return self._finalize(int(number), (said.payload or {})["csr"])
        return order.chain

    def _open(self, request: Request, path: str) -> tuple[Said, JWK]:
        if request.getHeader("content-type") != "application/jose+json":
            raise _Refused("malformed", "not application/jose+json")
        document = json.loads(request.content.read())  # type: ignore[union-attr]
        signed = jws.JWS.from_json(document)
        protected = json.loads(b64decode(document["protected"]))
        if protected["nonce"] not in self._nonces:
            raise _Refused("badNonce", "not one of mine")
        self._nonces.remove(protected["nonce"])
        if protected["url"] != self.url + path or ("kid" in protected) == ("jwk" in protected):
            raise _Refused("malformed", "for another URL, or with both or neither of kid and jwk")
        account = protected.get("kid")
        if account is None:
            key: Any = JWK.from_json(protected["jwk"])
        elif account in self.accounts:
            key = self.accounts[account]
        else:
            raise _Refused("accountDoesNotExist", "who are you?")
        if protected["alg"] != ES256.name or not signed.verify(key):
            raise _Refused("malformed", "not signed")
        return Said(path, json.loads(signed.payload) if signed.payload else None, account), key

    def _account(self, request: Request, payload: dict[str, Any], key: JWK) -> bytes:
        account = f"{self.url}/account/{sha256(key.thumbprint()).hexdigest()[:12]}"
        if self.external is not None:
            self._check_binding(payload.get("externalAccountBinding"), key)
        if payload.get("termsOfServiceAgreed") is not True:
            raise _Refused("userActionRequired", "agree to the terms")
        self.accounts[account] = key
        self.contacts[account] = payload.get("contact", [])
        request.setResponseCode(201)
        request.setHeader("location", account)
        return b'{"status": "valid"}'

    def _check_binding(self, binding: Any, key: JWK) -> None:
        if binding is None:
            raise _Refused("externalAccountRequired", "who are you to us?")
        protected = json.loads(b64decode(binding["protected"]))
        secret = (self.external or {}).get(protected["kid"])
        data = f"{binding['protected']}.{binding['payload']}".encode()
        bound = JWK.from_json(json.loads(b64decode(binding["payload"])))
        if (
            secret is None
            or protected["url"] != f"{self.url}/newAccount"
            or not HS256.verify(JWKOct(key=secret).key, data, b64decode(binding["signature"]))
            or bound != key
        ):
            raise _Refused("unauthorized", "no such customer", 403)

    # -- orders

    def _new_order(self, request: Request, payload: dict[str, Any]) -> bytes:
        (identifier,) = payload["identifiers"]
        self._orders.append(_Order(identifier["value"], self.kinds))
        number = len(self._orders) - 1
        for kind in self.kinds:
            self._orders[-1].tokens[kind] = b64encode(sha256(b"%d %a" % (number, kind)).digest()).decode()
        request.setResponseCode(201)
        request.setHeader("location", f"{self.url}/order/{number}")
        return self._order(number)

    def _order(self, number: int) -> bytes:
        order = self._orders[number]
        found: dict[str, Any] = {
            "status": order.status,
            "identifiers": [{"type": "dns", "value": order.name}],
            "authorizations": [f"{self.url}/authz/{number}"],
            "finalize": f"{self.url}/finalize/{number}",
        }
        if order.chain:
            found["certificate"] = f"{self.url}/certificate/{number}"
        return json.dumps(found).encode()

    def _authorization(self, number: int) -> bytes:
        order = self._orders[number]
        challenges = [
            {
                "type": kind,
                "url": f"{self.url}/challenge/{number}/{kind}",
                "token": order.tokens[kind],
                "status": "valid" if order.proved_by == kind else "invalid" if kind in order.errors else "pending",
                **({"error": order.errors[kind]} if kind in order.errors else {}),
            }
            for kind in order.kinds
        ]
        status = {"ready": "valid"}.get(order.status, order.status)
        found = {"status": status, "identifier": {"type": "dns", "value": order.name}, "challenges": challenges}
        return json.dumps(found).encode()

    def _challenge(self, order: _Order, kind: str, key: JWK) -> bytes:
        thumbprint = b64encode(key.thumbprint()).decode()
        wrong = self.validate(order.name, kind, order.tokens[kind], f"{order.tokens[kind]}.{thumbprint}")
        if wrong is None:
            order.status, order.proved_by = "ready", kind
        else:
            order.status = "invalid"
            order.errors[kind] = {"type": _ERROR + wrong, "detail": f"{wrong} at {order.name}"}
        return b"{}"

    def _finalize(self, number: int, encoded: str) -> bytes:
        order = self._orders[number]
        request = x509.load_der_x509_csr(b64decode(encoded))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if order.status != "ready":
            raise _Refused("orderNotReady", "not yet", 403)
        if names.get_values_for_type(x509.DNSName) != [order.name] or list(request.subject):
            raise _Refused("badCSR", "other names")
        begins = self.now().replace(microsecond=0)
        made = self._intermediate.issue(  # type: ignore[attr-defined]
            order.name, begins=begins, ends=begins + self.life, public_key=request.public_key()
        )
        order.chain = made.certificate_pem + self._intermediate.certificate.public_bytes(Encoding.PEM)
        order.status = "valid"
        return self._order(number)

    def _renewal(self, request: Request, identifier: str) -> bytes:
        self.windows_asked.append(identifier)
        for order in self._orders:
            certificate = x509.load_pem_x509_certificate(order.chain) if order.chain else None
            if certificate is not None and _identifier(certificate) == identifier and self.window is not None:
                start, end = self.window(certificate.not_valid_after_utc)
                request.setHeader("retry-after", "60")
                return json.dumps({"suggestedWindow": {"start": start, "end": end}}).encode()
        raise _Refused("malformed", "no certificate of mine", 404)


def _identifier(certificate: x509.Certificate) -> str:
    """RFC 9773 section 4.1, from the DER of the certificate's own parts."""
    signer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    number = certificate.serial_number
    digits = number.to_bytes((number.bit_length() + 8) // 8, "big")
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (signer, digits))
