"""What all orders have in common."""

import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from josepy.b64 import b64encode
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.account import Account
from mles_tx.transport.certificates.authority import ExternalAccount
from mles_tx.transport.certificates.fetch import Fetcher
from mles_tx.transport.certificates.problems import AccountRefused, Refused, Unavailable
from mles_tx.transport.certificates.session import AcmeSession

from .authority import SmallAuthority
from .making import NOW

_T = TypeVar("_T")

_ORDER = {"identifiers": [{"type": "dns", "value": "a.test"}]}


class SessionTests(SynchronousTestCase):
    """An account, and signed requests of it."""

    def setUp(self) -> None:
        self.authority = SmallAuthority()
        self.path = Path(self.mktemp())
        self.ordered: list[str] = []
        self.session = self.another()

    def another(self, *emails: str, external: ExternalAccount | None = None) -> AcmeSession:
        """A session of the same account, as after a restart."""
        fetcher = Fetcher(RequestTraversalAgent(self.authority), Clock())
        url = f"{self.authority.url}/directory"
        session = AcmeSession(fetcher, url, Account(self.path), emails, external, lambda: NOW, self.ordered.append)
        self.result(session.open())
        return session

    def result(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """What comes of it, at once."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def error(self, coroutine: Coroutine[Any, Any, Any], kind: type[Exception]) -> Any:
        """Why nothing comes of it."""
        return self.failureResultOf(Deferred.fromCoroutine(coroutine), kind).value

    def test_account(self) -> None:
        """The first request makes the account, with terms agreed to; later ones, also after a restart, use it."""
        self.assertEqual(self.authority.accounts, {})
        self.result(self.session.order(_ORDER))
        self.result(self.session.order(_ORDER))
        self.result(self.another().order(_ORDER))
        made, *orders = self.authority.said
        self.assertEqual((made.path, made.payload, made.account), ("/newAccount", {"termsOfServiceAgreed": True}, None))
        (account,) = self.authority.accounts
        self.assertEqual([(said.path, said.account) for said in orders], [("/newOrder", account)] * 3)

    def test_at_once(self) -> None:
        """Several requests at one time make one account."""
        asked = [Deferred.fromCoroutine(self.session.order(_ORDER)) for _ in range(3)]
        for order in asked:
            self.successResultOf(order)
        self.assertEqual([said.path for said in self.authority.said].count("/newAccount"), 1)

    def test_emails(self) -> None:
        """The authority is told whom it may write to, and when that has changed."""
        for emails in (("me@example.org", "you@example.org"), ("me@example.org",), ()):
            session = self.another(*emails)
            self.result(session.order(_ORDER))
            (contact,) = self.authority.contacts.values()
            self.assertEqual(contact, [f"mailto:{email}" for email in emails])
        self.assertEqual(len(self.authority.accounts), 1)

    def test_forgotten(self) -> None:
        """An authority that has forgotten the account is told again: within the request, or at the change of emails."""
        self.result(self.session.order(_ORDER))
        self.authority.accounts.clear()
        self.result(self.session.order(_ORDER))
        self.assertEqual(len(self.authority.accounts), 1)
        self.authority.accounts.clear()
        self.result(self.another("me@example.org").order(_ORDER))
        self.assertEqual(list(self.authority.contacts.values())[-1], ["mailto:me@example.org"])

    def test_always_forgotten(self) -> None:
        """One that forgets it each time is not told for ever."""
        refusal = self.authority.refuse("accountDoesNotExist")
        self.authority.misbehave = lambda path: refusal if path == "/newOrder" else None
        self.error(self.session.order(_ORDER), AccountRefused)
        self.assertEqual([said.path for said in self.authority.said], ["/newAccount"] * 2)

    def test_external(self) -> None:
        """An account is bound to the operator's own; without one, and with a wrong key, there is none."""
        self.authority.external = {"customer": b"secret"}
        for external, refused in (
            (None, "externalAccountRequired"),
            (ExternalAccount("customer", b64encode(b"wrong").decode()), "unauthorized"),
            (ExternalAccount("nobody", b64encode(b"secret").decode()), "unauthorized"),
        ):
            error = self.error(self.another(external=external).order(_ORDER), AccountRefused)
            self.assertEqual(error.problem.kind, refused)
            self.assertIn("HMAC key", str(error))
        self.result(self.another(external=ExternalAccount("customer", b64encode(b"secret").decode())).order(_ORDER))
        self.assertEqual(len(self.authority.accounts), 1)

    def test_bad_nonces(self) -> None:
        """A nonce that is refused is replaced by another; when all are, there is an end."""
        refused = iter([True] * 9 + [False] * 99)
        refusal = self.authority.refuse("badNonce")
        self.authority.misbehave = lambda path: refusal if path == "/newOrder" and next(refused) else None
        self.result(self.session.order(_ORDER))
        self.authority.misbehave = lambda path: refusal if path == "/newOrder" else None
        before = len(self.authority.asked)
        self.assertIn("every nonce", str(self.error(self.session.order(_ORDER), Unavailable)))
        self.assertEqual(len(self.authority.asked) - before, 16)

    def test_old_nonces(self) -> None:
        """When one nonce is refused, those that are as old are not tried one after the other."""
        self.result(self.session.order(_ORDER))
        self.session._nonces[:] = [b"old"] * 10
        before = len(self.authority.asked)
        self.result(self.session.order(_ORDER))
        self.assertEqual(self.authority.asked[before:], ["/newOrder"] * 2)
        self.assertNotIn(b"old", self.session._nonces)

    def test_strange_nonces(self) -> None:
        """An authority that gives no nonces, or none that are some, is told to be out of order."""
        self.authority.misbehave = lambda path: (200, b"") if path == "/newNonce" else None
        self.assertIn("no nonce", str(self.error(self.session.order(_ORDER), Unavailable)))
        self.authority.headers = {"replay-nonce": "x"}
        self.assertIn("no nonce", str(self.error(self.session.order(_ORDER), Unavailable)))

    def test_refused(self) -> None:
        """A refusal says why, and when to come again."""
        refusal = self.authority.refuse("rateLimited", 429, "enough for today", retry_after="600")
        self.authority.misbehave = lambda path: refusal if path == "/newOrder" else None
        error = self.error(self.session.order(_ORDER), Refused)
        self.assertEqual(
            (error.problem.kind, error.problem.detail, error.retry_after), ("rateLimited", "enough for today", 600.0)
        )

    def test_unavailable(self) -> None:
        """What is neither an answer nor a problem is an authority out of order."""
        for misdeed in (
            (500, b"{}"),
            (503, json.dumps({"type": "urn:ietf:params:acme:error:rateLimited"}).encode()),
            (404, b"<html>not found</html>"),
            (400, b""),
            (403, b"[]"),
        ):
            self.authority.misbehave = lambda path, misdeed=misdeed: misdeed if path == "/newOrder" else None  # type: ignore[misc]
            self.error(self.session.order(_ORDER), Unavailable)

    def test_directory(self) -> None:
        """A directory that is none is told as an authority out of order."""
        good = {name: f"{self.authority.url}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
        for misdeed in (
            (500, b""),
            (301, b""),
            (200, b"<html>"),
            (200, b"[]"),
            (200, json.dumps({**good, "newOrder": 7}).encode()),
            (200, json.dumps({"newNonce": good["newNonce"]}).encode()),
        ):
            self.authority.misbehave = lambda path, misdeed=misdeed: misdeed  # type: ignore[misc]
            self.error(self.session.open(), Unavailable)

    def test_foreign_urls(self) -> None:
        """A directory that leads to plain http is not followed."""
        plain = {name: f"http://ca.example/{name}" for name in ("newNonce", "newAccount", "newOrder")}
        self.authority.misbehave = lambda path: (200, json.dumps(plain).encode())
        self.result(self.session.open())
        self.assertIn("no https URL", str(self.error(self.session.order(_ORDER), Unavailable)))

    def test_renewal_info(self) -> None:
        """Where the authority has nothing to say about renewal, it is not asked."""
        self.assertIsNone(self.session.renewal_info_url)
        self.assertIsNone(self.result(self.session.renewal_info("x.y")))
        self.authority.window = lambda ends: ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
        self.result(self.session.open())
        self.assertEqual(self.session.renewal_info_url, "https://ca.example/renewal")
        self.assertIsNone(self.result(self.session.renewal_info("x.y")))
        self.assertEqual(self.authority.windows_asked, ["x.y"])

    def test_ordered(self) -> None:
        """It is told which name has an order there; an answer that names none, or a refusal, is no order."""
        misdeeds: tuple[Any, ...] = ((500, b""), (200, b"{}"), self.authority.refuse("rateLimited", 429))
        for misdeed in misdeeds:
            self.authority.misbehave = lambda path, m=misdeed: m if path == "/newOrder" else None  # type: ignore[misc]
            trying = Deferred.fromCoroutine(self.session.order(_ORDER))
            trying.addErrback(lambda failure: failure.trap(Refused, Unavailable))
            self.successResultOf(trying)
            self.assertEqual(self.ordered, [], misdeed)
        self.authority.misbehave = lambda path: None
        self.result(self.session.order(_ORDER))
        self.assertEqual(self.ordered, ["a.test"])
