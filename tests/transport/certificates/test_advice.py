"""When the authority would like certificates to be renewed."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.account import Account
from mles_tx.transport.certificates.advice import RenewalAdvice
from mles_tx.transport.certificates.fetch import Fetcher
from mles_tx.transport.certificates.renewal import certificate_id
from mles_tx.transport.certificates.session import AcmeSession

from .authority import SmallAuthority, make_issuer
from .making import NOW


class AdviceTests(SynchronousTestCase):
    """What is asked, and when."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.authority = SmallAuthority()
        self.suggested: Any = {"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}
        self.authority.window = lambda ends: (self.suggested["start"], self.suggested["end"])
        self.patch(SmallAuthority, "_renewal", self.answer)
        self.retry_after = 7200
        fetcher = Fetcher(RequestTraversalAgent(self.authority), self.clock)
        url = f"{self.authority.url}/directory"
        session = AcmeSession(fetcher, url, Account(Path(self.mktemp())), (), None, lambda: NOW)
        self.advice = RenewalAdvice(session, self.clock, lambda: NOW)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def answer(self, request: Any, identifier: str) -> bytes:
        """What the authority says about any certificate."""
        self.authority.windows_asked.append(identifier)
        request.setHeader("retry-after", str(self.retry_after))
        return json.dumps({"suggestedWindow": self.suggested}).encode()

    def asked(self, *certificates: tuple[str, str], seconds: float = 0.0) -> list[str]:
        """What is asked in some time, looked at once a minute."""
        before = len(self.authority.windows_asked)
        self.advice.ask(certificates)
        for _ in range(int(seconds // 60)):
            self.clock.advance(60)
            self.advice.ask(certificates)
        return self.authority.windows_asked[before:]

    def test_asked(self) -> None:
        """Each certificate is asked about at once, and again when the authority wants it."""
        both = (("a.test", "k.1"), ("b.test", "k.2"))
        self.assertEqual(self.asked(*both), ["k.1"])
        self.assertEqual(self.asked(*both), ["k.2"])
        self.assertEqual(self.asked(*both, seconds=7100), [])
        self.assertEqual(self.asked(*both, seconds=200), ["k.1", "k.2"])
        window = self.advice.window("a.test", "k.1")
        assert window is not None
        self.assertEqual(window.end - window.start, timedelta(days=1))

    def test_other_certificate(self) -> None:
        """What was said about one certificate says nothing about the next."""
        self.asked(("a.test", "k.1"))
        self.assertIsNone(self.advice.window("a.test", "k.2"))
        self.assertIsNone(self.advice.window("a.test", None))
        self.assertIsNone(self.advice.window("b.test", "k.1"))
        self.assertEqual(self.asked(("a.test", "k.2")), ["k.2"])
        self.assertIsNotNone(self.advice.window("a.test", "k.2"))
        self.assertIsNone(self.advice.window("a.test", "k.1"))

    def test_nothing_to_say(self) -> None:
        """An authority that does not say such things is asked for its directory four times a day."""
        self.authority.window = None
        self.assertEqual(self.asked(("a.test", "k.1"), seconds=86340), [])
        self.assertEqual(self.authority.asked, ["/directory"] * 4)

    def test_out_of_order(self) -> None:
        """One that does not answer, or nonsense, is asked again in an hour; what it said before stands."""
        self.asked(("a.test", "k.1"))
        for misdeed in ((500, b""), (200, b"garbage")):
            self.authority.misbehave = lambda path, misdeed=misdeed: misdeed  # type: ignore[misc]
            before = len(self.authority.asked)
            self.asked(("a.test", "k.1"), seconds=4 * 3600)
            self.assertTrue(2 <= len(self.authority.asked) - before <= 5)
            self.assertIsNotNone(self.advice.window("a.test", "k.1"))
        self.authority.misbehave = lambda path: None
        self.suggested = {"start": "soon", "end": "later"}
        self.assertTrue(1 <= len(self.asked(("a.test", "k.1"), seconds=2 * 3600)) <= 2)
        self.assertIsNotNone(self.advice.window("a.test", "k.1"))

    def test_stopped(self) -> None:
        """A question that is under way is given up at the end."""
        self.authority.misbehave = lambda path: "nothing"
        self.advice.ask([("a.test", "k.1")])
        self.advice.ask([("b.test", "k.2")])
        self.assertEqual(self.authority.asked, ["/directory"])
        self.advice.stop()
        self.advice.stop()

    def test_identifier(self) -> None:
        """A certificate is asked about by the name that the authority knows it by."""
        ends = datetime(2030, 1, 1, tzinfo=NOW.tzinfo)
        made = make_issuer().issue("a.test", begins=NOW, ends=ends)
        identifier = certificate_id(made.certificate) or ""
        self.assertEqual(self.asked(("a.test", identifier)), [identifier])
