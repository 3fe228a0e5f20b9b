"""What all orders of one server have in common: the authority's directory, the account there, signed requests.

RFC 8555 sections 6 and 7.1 to 7.3. Orders are made in `acme`.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from acme import jws, messages
from josepy.b64 import b64decode
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from twisted.internet.defer import DeferredLock

from .account import Account
from .authority import ExternalAccount
from .fetch import Answer, Fetcher
from .problems import AccountRefused, Problem, Refused, Unavailable, clean, explain

__all__ = ["AcmeSession"]

#: How often a request is sent again because its nonce was refused (RFC 8555 section 6.5): an authority that refuses
#: every second one lets a request through all the same, but for one in 65,000.
_NONCE_TRIES = 16

#: Nonces that are kept for later.
_MAX_NONCES = 16

_JOSE = {b"content-type": b"application/jose+json"}


class AcmeSession:
    """What all orders of one server share: directory, account and nonces.

    Args:
        fetcher: what makes requests.
        directory_url: where the authority's directory is (RFC 8555 section 7.1.1).
        account: the account's files.
        emails: whom the authority may write to.
        external: the operator's account there, if ours has to be bound to it.
        now: the time, with its zone.
        ordered: told the name of each order as soon as the authority has taken it, whatever becomes of it.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        directory_url: str,
        account: Account,
        emails: tuple[str, ...],
        external: ExternalAccount | None,
        now: Callable[[], datetime],
        ordered: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._fetcher = fetcher
        self._directory_url = directory_url
        self._account = account
        self._contact = tuple(f"mailto:{email}" for email in emails)
        self._external = external
        self.now = now
        self._ordered = ordered
        self._key: JWKEC | None = None
        self._url: str | None = None
        self._nonces: list[bytes] = []
        self._lock = DeferredLock()
        self._directory: dict[str, Any] = {}

    @property
    def key(self) -> JWKEC:
        """The account's key.

        Raises:
            OSError: it cannot be read or kept.
        """
        if self._key is None:
            self._key = self._account.key()
        return self._key

    async def open(self) -> None:
        """Ask for the directory, which may have changed.

        Raises:
            Unavailable: it is not to be had.
        """
        answer = await self._fetcher.fetch(b"GET", self._directory_url)
        if answer.code != 200:
            raise Unavailable(f"{self._directory_url} answered {answer.code}", answer.retry_after(self.now()))
        for name in ("newNonce", "newAccount", "newOrder"):
            answer.text(name)
        self._directory = answer.json()

    @property
    def renewal_info_url(self) -> str | None:
        """Where it says when to renew (RFC 9773); None: it does not."""
        url = self._directory.get("renewalInfo")
        return url.rstrip("/") if isinstance(url, str) and url else None

    async def renewal_info(self, identifier: str) -> Answer | None:
        """What the authority says about renewing a certificate; None: nothing.

        Raises:
            Unavailable: it does not answer.
        """
        if self.renewal_info_url is None:
            return None
        answer = await self._fetcher.fetch(b"GET", f"{self.renewal_info_url}/{identifier}")
        return answer if answer.code == 200 else None

    async def order(self, request: Mapping[str, Any]) -> Answer:
        """Order a certificate (RFC 8555 section 7.4); raises as `post` does."""
        answer = await self.post(self._directory["newOrder"], request)
        if "location" in answer.headers:  # else it is some other page, and there is no order that could be found again
            self._ordered(request["identifiers"][0]["value"])
        return answer

    async def post(self, url: str, payload: Mapping[str, Any] | None = None, accept: bytes | None = None) -> Answer:
        """A request of our account, which is made when there is none (RFC 8555 section 6.2).

        Args:
            url: where to.
            payload: what is said; None: only to read what is there (section 6.3).
            accept: the kind of answer that is wanted.

        Raises:
            Unavailable: there was no answer that makes sense.
            Refused: the answer was no.
            AccountRefused: there can be no account.
        """
        for _ in range(2):
            account = await self._account_url()
            try:
                return await self._post(url, payload, account, accept)
            except Refused as error:
                if error.problem.kind != "accountDoesNotExist":
                    raise
                refused = error
                if self._url == account:
                    self._url = None
                    self._account.forget()
        raise AccountRefused(refused.problem, str(refused), refused.retry_after)

    async def _account_url(self) -> str:
        await self._lock.acquire()
        try:
            if self._url is None:
                try:
                    self._url = await self._known_account() or await self._register()
                except Refused as error:
                    raise AccountRefused(error.problem, explain(error.problem, ""), error.retry_after) from None
                self._account.save(self.key, self._url, self._contact)
            return self._url
        finally:
            self._lock.release()

    async def _known_account(self) -> str | None:
        kept = self._account.load(self.key)
        if kept is None:
            return None
        url, contact = kept
        if contact != self._contact:
            try:
                await self._post(url, {"contact": self._contact}, url)
            except Refused as error:
                if error.problem.kind != "accountDoesNotExist":
                    raise
                return None
        return url

    async def _register(self) -> str:
        # Who runs a server for a domain agrees to the terms: the documents say so.
        request: dict[str, Any] = {"termsOfServiceAgreed": True}
        if self._contact:
            request["contact"] = self._contact
        url = self._directory["newAccount"]
        if self._external is not None:
            request["externalAccountBinding"] = messages.ExternalAccountBinding.from_data(
                self.key.public_key(), self._external.key_id, self._external.hmac_key, {"newAccount": url}
            )
        return (await self._post(url, request, None)).location()

    async def _post(
        self, url: str, payload: Mapping[str, Any] | None, account: str | None, accept: bytes | None = None
    ) -> Answer:
        said = b"" if payload is None else json.dumps(payload).encode()
        headers = _JOSE if accept is None else {**_JOSE, b"accept": accept}
        for _ in range(_NONCE_TRIES):
            nonce = await self._nonce()
            signed = jws.JWS.sign(said, key=self.key, alg=ES256, nonce=nonce, url=url, kid=account)
            answer = await self._fetcher.fetch(b"POST", url, signed.json_dumps().encode(), headers)
            self._keep_nonce(answer)
            if answer.code < 400:
                return answer
            refused = _refusal(answer, self.now())
            if refused.problem.kind != "badNonce":
                raise refused
            del self._nonces[:-1]  # the others may be as old
        raise Unavailable(f"{clean(url)} refused every nonce")

    async def _nonce(self) -> bytes:
        if not self._nonces:
            answer = await self._fetcher.fetch(b"HEAD", self._directory["newNonce"])
            self._keep_nonce(answer)
            if not self._nonces:
                raise Unavailable(f"{clean(answer.url)} answered {answer.code} and no nonce")
        return self._nonces.pop()

    def _keep_nonce(self, answer: Answer) -> None:
        nonce = answer.headers.get("replay-nonce")
        if nonce is not None and len(self._nonces) < _MAX_NONCES:
            with suppress(ValueError):  # what is no nonce is none
                self._nonces.append(b64decode(nonce))


def _refusal(answer: Answer, now: datetime) -> Refused:
    wait = answer.retry_after(now)
    try:
        problem = Problem.from_json(answer.json())
    except Unavailable as error:
        raise Unavailable(str(error), wait) from None
    if answer.code >= 500:
        raise Unavailable(f"{clean(answer.url)} answered {answer.code}: {problem.detail}", wait)
    return Refused(problem, f"{problem.kind}: {problem.detail}", wait)
