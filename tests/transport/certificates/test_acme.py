"""One order, in the steps in which txacme's service makes it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acme import messages
from cryptography import x509
from josepy.b64 import b64decode
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from txacme.client import fqdn_identifier

from mles_tx.transport.certificates.account import Account
from mles_tx.transport.certificates.acme import AcmeClient, Issued
from mles_tx.transport.certificates.fetch import Fetcher
from mles_tx.transport.certificates.problems import Refused, Unavailable, ValidationFailed
from mles_tx.transport.certificates.session import AcmeSession

from .authority import SmallAuthority
from .making import NOW, make, twice_extended


class ClientTests(SynchronousTestCase):
    """An order for one name."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.authority = SmallAuthority()
        fetcher = Fetcher(RequestTraversalAgent(self.authority), self.clock)
        url = f"{self.authority.url}/directory"
        self.session = AcmeSession(fetcher, url, Account(Path(self.mktemp())), (), None, lambda: NOW)
        self.successResultOf(Deferred.fromCoroutine(self.session.open()))
        self.client = AcmeClient(self.session, self.clock)
        self.client.challenge_type = "http-01"

    def order(self) -> Any:
        """An order is made; what is to be proved."""
        return self.successResultOf(self.client.request_challenges(fqdn_identifier("a.test")))

    def proved(self) -> Any:
        """An order whose challenge was met."""
        resource = self.order()
        (challenge,) = resource.body.challenges
        self.successResultOf(self.client.answer_challenge(challenge, challenge.response(self.client.key)))
        return resource

    def issue(self) -> "Deferred[Issued]":
        """The certificate is asked for."""
        self.client.make_key()
        return self.client.request_issuance(None)

    def change(self, method: str, changed: Callable[[dict[str, Any]], object]) -> None:
        """Let the authority say something else."""
        said = getattr(SmallAuthority, method)

        def differently(authority: SmallAuthority, *args: Any) -> bytes:
            document = json.loads(said(authority, *args))
            result = changed(document)
            return json.dumps(document if result is None else result).encode()

        self.patch(SmallAuthority, method, differently)

    def test_order(self) -> None:
        """Of the challenges on offer the one that was chosen is to be met."""
        for kind in ("http-01", "tls-alpn-01"):
            self.client.challenge_type = kind
            resource = self.order()
            self.assertEqual(resource.body.identifier.value, "a.test")
            self.assertEqual([challenge.typ for challenge in resource.body.challenges], [kind])
            self.assertEqual(resource.body.resolved_combinations, (resource.body.challenges,))
            self.assertEqual(resource.body.status, messages.STATUS_PENDING)

    def test_issued(self) -> None:
        """The certificate is for the name and for a new key each time, and brings its chain."""
        keys = []
        for _ in range(2):
            resource = self.proved()
            polled, _ = self.successResultOf(self.client.poll(resource))
            self.assertEqual(polled.body.status, messages.STATUS_VALID)
            issued = self.successResultOf(self.issue())
            (issuer,) = self.successResultOf(self.client.fetch_chain(issued))
            leaf = x509.load_der_x509_certificate(issued.body)
            leaf.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.body))
            keys.append(leaf.public_key())
        self.assertNotEqual(*keys)

    def test_request(self) -> None:
        """What is asked for has the name among the alternative ones, and no common name that could be too long."""
        self.proved()
        self.successResultOf(self.issue())
        (said,) = [said for said in self.authority.said if said.path.startswith("/finalize/")]
        request = x509.load_der_x509_csr(b64decode((said.payload or {})["csr"]))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["a.test"])
        self.assertEqual(list(request.subject), [])
        self.assertTrue(request.is_signature_valid)

    def test_not_offered(self) -> None:
        """A challenge that is not on offer has failed."""
        self.authority.kinds = ("dns-01",)
        failure = self.failureResultOf(self.client.request_challenges(fqdn_identifier("a.test")), ValidationFailed)
        self.assertIn("does not offer http-01", str(failure.value))

    def test_proved_before(self) -> None:
        """When the name was proved before, there is something to answer, but nothing is sent."""
        self.change("_authorization", lambda found: found.update(status="valid", challenges=[]))
        before = len(self.authority.asked)
        resource = self.proved()
        self.assertEqual(resource.body.status, messages.STATUS_VALID)
        self.assertEqual([path for path in self.authority.asked[before:] if path.startswith("/challenge")], [])

    def test_failed(self) -> None:
        """A challenge that was not met says why, with the remedy."""
        self.authority.validate = lambda *_: "connection"
        resource = self.proved()
        error = self.failureResultOf(self.client.poll(resource), ValidationFailed).value
        self.assertRegex(str(error), "^http-01: connection: connection at a.test: let port 80 of a.test")

    def test_failed_without_a_word(self) -> None:
        """One that does not say why has failed all the same."""
        resource = self.order()
        self.change("_authorization", lambda found: found.update(status="invalid", challenges=[]))
        self.failureResultOf(self.client.poll(resource), ValidationFailed)

    def test_challenge_refused(self) -> None:
        """An authority that does not want to hear of the challenge has refused it."""
        refusal = self.authority.refuse("unauthorized", 403)
        self.authority.misbehave = lambda path: refusal if path.startswith("/challenge/") else None
        resource = self.order()
        challenge = resource.body.challenges[0]
        answered = self.client.answer_challenge(challenge, challenge.response(self.client.key))
        self.assertIn("something else answers", str(self.failureResultOf(answered, ValidationFailed).value))

    def test_name_refused(self) -> None:
        """A name there are no certificates for is told with the remedy."""
        refusal = self.authority.refuse("rejectedIdentifier")
        self.authority.misbehave = lambda path: refusal if path == "/newOrder" else None
        asked = self.client.request_challenges(fqdn_identifier("a.test"))
        self.assertIn("does not issue for a.test", str(self.failureResultOf(asked, Refused).value))

    def test_strange_orders(self) -> None:
        """An order that makes no sense is an authority out of order."""
        said = SmallAuthority._order
        changes: tuple[Callable[[dict[str, Any]], object], ...] = (
            lambda found: found.pop("authorizations"),
            lambda found: found.update(authorizations=[]),
            lambda found: found.update(authorizations=["https://ca.example/authz/0", "https://ca.example/authz/0"]),
            lambda found: found.update(authorizations=[7]),
            lambda found: found.update(authorizations="https://ca.example/authz/0"),
            lambda found: found.update(finalize=None),
        )
        for changed in changes:
            self.change("_order", lambda found, changed=changed: (changed(found), None)[1])  # type: ignore[misc]
            self.failureResultOf(self.client.request_challenges(fqdn_identifier("a.test")), Unavailable)
            self.patch(SmallAuthority, "_order", said)

    def test_strange_authorizations(self) -> None:
        """An authorization that makes no sense is an authority out of order, or has no challenge to meet."""
        good = {"type": "http-01", "url": "https://ca.example/c", "token": "A" * 43, "status": "pending"}
        for challenges, kind in (
            (None, ValidationFailed),
            ("x", ValidationFailed),
            ([7, None], ValidationFailed),
            ([{**good, "token": 7}], ValidationFailed),
            ([{**good, "url": ""}], ValidationFailed),
            ([{**good, "token": "short"}], Unavailable),
            ([{**good, "token": "not base64url!" * 3}], ValidationFailed),
            ([{**good, "token": "A" * 256}], ValidationFailed),
            ([{**good, "status": "strange"}], Unavailable),
        ):
            said = SmallAuthority._authorization
            self.change("_authorization", lambda found, challenges=challenges: found.update(challenges=challenges))  # type: ignore[misc]
            self.failureResultOf(self.client.request_challenges(fqdn_identifier("a.test")), kind)
            self.patch(SmallAuthority, "_authorization", said)
        self.change("_authorization", lambda found: found.update(status="strange"))
        self.failureResultOf(self.client.request_challenges(fqdn_identifier("a.test")), Unavailable)

    def test_long_token(self) -> None:
        """A token that could not be answered is told as what it is."""
        challenge = {"type": "http-01", "url": "https://ca.example/c", "token": "A" * 256, "status": "pending"}
        self.change("_authorization", lambda found: found.update(challenges=[challenge]))
        asked = self.client.request_challenges(fqdn_identifier("a.test"))
        error = self.failureResultOf(asked, Refused).value
        self.assertEqual(str(error), "what the authority offers as http-01 for a.test has no usable token or URL")

    def test_closed_from_the_start(self) -> None:
        """An authorization that is over when it is made is a refusal, with the reason if there is one."""
        said = SmallAuthority._authorization
        good = {"type": "http-01", "url": "https://ca.example/c", "token": "A" * 43, "status": "invalid"}
        problem = {"type": "urn:ietf:params:acme:error:caa", "detail": "the record"}
        for status, challenges, reason in (
            ("invalid", [], "http-01: the authorization is invalid"),
            ("deactivated", [], "http-01: the authorization is deactivated"),
            ("revoked", None, "http-01: the authorization is revoked"),
            ("invalid", [good], "http-01: the authorization is invalid"),
            ("invalid", [{**good, "error": problem}], "http-01: caa: the record: a CAA record"),
            ("processing", [], "the authority does not offer http-01"),
        ):
            self.change("_authorization", lambda found, s=status, c=challenges: found.update(status=s, challenges=c))  # type: ignore[misc]
            asked = self.client.request_challenges(fqdn_identifier("a.test"))
            error = self.failureResultOf(asked, ValidationFailed).value
            self.assertEqual(str(error)[: len(reason)], reason)
            self.patch(SmallAuthority, "_authorization", said)

    def test_closed_later(self) -> None:
        """One that is deactivated while it is waited for has failed."""
        resource = self.order()
        self.change("_authorization", lambda found: found.update(status="deactivated"))
        error = self.failureResultOf(self.client.poll(resource), ValidationFailed).value
        self.assertEqual(str(error), "http-01: the authorization is deactivated")

    def test_slow(self) -> None:
        """An authority that takes its time is asked now and then, as often as it likes, and not for ever."""
        self.proved()
        self.change("_order", lambda found: found.update(status="processing"))
        self.authority.headers = {"retry-after": "10"}
        issuing = self.issue()
        before = len(self.authority.asked)
        for _ in range(100):
            self.clock.advance(1)
        self.assertNoResult(issuing)
        self.assertEqual(len(self.authority.asked) - before, 10)
        for _ in range(100):
            self.clock.advance(1)
        self.assertIn("processing for too long", str(self.failureResultOf(issuing, Unavailable).value))

    def test_ready_later(self) -> None:
        """An order that becomes ready only later is finalized then, and once, however long it is called so."""
        self.proved()
        statuses = ["pending", "pending", "ready", "ready", "ready", "processing"]
        self.change("_order", lambda found: found.update(status=statuses.pop(0)) if statuses else None)
        issuing = self.issue()
        finalized = []
        for _ in range(10):
            self.clock.advance(2)
            finalized.append(sum(path.startswith("/finalize/") for path in self.authority.asked))
        self.assertEqual((self.successResultOf(issuing).chain != (), statuses), (True, []))
        self.assertEqual(finalized, [0, *[1] * 9])

    def test_never_ready(self) -> None:
        """One that stays pending is not waited for for ever."""
        self.proved()
        self.change("_order", lambda found: found.update(status="pending"))
        issuing = self.issue()
        self.clock.pump([2.0] * 100)
        self.assertIn("pending for too long", str(self.failureResultOf(issuing, Unavailable).value))

    def test_invalid(self) -> None:
        """An order that comes to nothing says why."""
        self.proved()
        problem = {"type": "urn:ietf:params:acme:error:caa", "detail": "the record"}
        self.change("_order", lambda found: found.update(status="invalid", error=problem))
        error = self.failureResultOf(self.issue(), Refused).value
        self.assertRegex(str(error), "^caa: the record: a CAA record of a.test")

    def test_invalid_with_nonsense(self) -> None:
        """An order whose reason is no problem document says on one line what there is."""
        said = SmallAuthority._order
        self.proved()
        for problem, reason in (("boo", "boo"), (["boo"], "['boo']"), (7, "7"), (None, "no reason given")):
            self.change("_order", lambda found, p=problem: found.update(status="invalid", error=p))  # type: ignore[misc]
            self.assertEqual(str(self.failureResultOf(self.issue(), Refused).value), reason)
            self.patch(SmallAuthority, "_order", said)

    def test_foreign_certificates(self) -> None:
        """A certificate for another key, and what is none, are not taken."""
        for chain in (
            b"",
            b"garbage",
            make("a.test").certificate_pem,
            make("a.test").key_pem,
            twice_extended("a.test"),
        ):
            self.proved()
            self.authority.misbehave = lambda path, c=chain: (200, c) if path.startswith("/certificate/") else None  # type: ignore[misc]
            self.failureResultOf(self.issue(), Unavailable)
            self.authority.misbehave = lambda path: None

    def test_impossible_certificate(self) -> None:
        """A certificate for our key with extensions that cannot be is not taken either."""
        self.proved()
        key = self.client.make_key()
        chain = twice_extended("a.test", key)
        self.authority.misbehave = lambda path: (200, chain) if path.startswith("/certificate/") else None
        error = self.failureResultOf(self.client.request_issuance(None), Unavailable).value
        self.assertIn("what came for a.test is no certificate", str(error))

    def test_long_chain(self) -> None:
        """A chain has at most ten certificates."""
        said = SmallAuthority._answer
        more = make("more.test").certificate_pem
        for count, is_taken in ((8, True), (9, False)):  # two are the authority's own
            self.proved()

            def longer(authority: SmallAuthority, request: Any, path: str, count: int = count) -> bytes:
                return said(authority, request, path) + (more * count if path.startswith("/certificate/") else b"")

            self.patch(SmallAuthority, "_answer", longer)
            if is_taken:
                issued = self.successResultOf(self.issue())
                self.assertEqual(len(issued.chain), 9)
            else:
                error = self.failureResultOf(self.issue(), Unavailable).value
                self.assertEqual(str(error), "what came for a.test has more than 10 certificates")
            self.patch(SmallAuthority, "_answer", said)
