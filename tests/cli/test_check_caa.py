"""CAA records."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.check_caa import Caa, judge_caa, look_at_caa, parse_caa
from mles_tx.cli.checks import Finding, Verdict
from mles_tx.cli.lookups import DnsError, DnsSilence

OK, WARN, FAIL, UNKNOWN = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN

OURS = ("ca.example", "ca.example.net")


def issue(value: str, flags: int = 0) -> Caa:
    return Caa(flags, "issue", value)


#: Records, the authority's names, verdict, something of the text.
RECORDS = (
    ((), OURS, OK, "any authority may issue"),
    ((), None, OK, "any authority may issue"),
    ((issue("ca.example"),), OURS, OK, "allow ca.example"),
    ((issue("ca.example.net"),), OURS, OK, "allow ca.example"),
    ((issue("  CA.Example ; policy=ev"),), OURS, OK, "allow ca.example"),
    ((issue("ca.example", 128),), OURS, OK, "allow ca.example"),
    ((issue("other.example"), issue("ca.example")), OURS, OK, "allow ca.example"),
    ((issue("other.example"),), OURS, FAIL, "allow other.example and not ca.example"),
    ((issue("xca.example"),), OURS, FAIL, "allow xca.example and not"),
    ((issue(";"),), OURS, FAIL, 'allow ";" and not ca.example'),
    ((issue(""),), OURS, FAIL, 'allow ";" and not ca.example'),
    ((issue(";"), issue("ca.example")), OURS, OK, "allow ca.example"),
    ((Caa(0, "issuewild", "other.example"),), OURS, OK, "restrict nobody"),
    ((Caa(128, "iodef", "mailto:x@example.org"),), OURS, OK, "restrict nobody"),
    ((Caa(0, "tbs", "x"), issue("ca.example")), OURS, OK, "allow ca.example"),
    ((Caa(128, "tbs", "x"), issue("ca.example")), OURS, FAIL, "unknown kind (tbs)"),
    ((issue("other.example"),), None, UNKNOWN, "for other.example; the authority does not say"),
    ((Caa(0, "iodef", "mailto:x@example.org"),), None, OK, "restrict nobody"),
    ((issue("ca.example; validationmethods=tls-alpn-01"),), OURS, OK, "allow ca.example"),
    ((issue("ca.example; ValidationMethods = dns-01,http-01"),), OURS, OK, "allow ca.example"),
    ((issue("ca.example; validationmethods=dns-01"),), OURS, FAIL, "no validation that a server can do"),
    ((issue("ca.example; accounturi=https://ca.example/1"),), OURS, WARN, "for one account alone"),
    ((issue("ca.example; accounturi=https://ca.example/1"), issue("ca.example")), OURS, OK, "allow ca.example"),
)

#: Data of a record, what it says; None: it is malformed.
DATA = (
    (b"\x00\x05issueca.example", Caa(0, "issue", "ca.example")),
    (b"\x80\x05ISSUE;", Caa(128, "issue", ";")),
    (b"\x00\x05issue", Caa(0, "issue", "")),
    (b"\x00\x05iodef\xff", Caa(0, "iodef", "\ufffd")),
    (b"", None),
    (b"\x00", None),
    (b"\x00\x00value", None),
    (b"\x00\x09issue", None),
    (b"\x00\x05is ueca", None),
)


class CaaTests(SynchronousTestCase):
    """Who may issue for a domain."""

    def test_judgement(self) -> None:
        """Whether the authority may, by a validation the server can do."""
        for records, identities, verdict, text in RECORDS:
            finding = judge_caa("example.org", records, identities)
            self.assertEqual((records, finding.verdict), (records, verdict))
            self.assertIn(text, finding.text)
            self.assertEqual(bool(finding.remedy), verdict is not OK)

    def test_remedy(self) -> None:
        """What is to be added, and where, can be copied."""
        finding = judge_caa("example.org", (issue("other.example"),), OURS)
        self.assertEqual(finding.remedy, 'add to example.org: CAA 0 issue "ca.example"')

    def test_parse(self) -> None:
        """A record is taken apart, or refused when it is none."""
        for data, record in DATA:
            if record is None:
                self.assertRaises(DnsError, parse_caa, data)
            else:
                self.assertEqual(parse_caa(data), record)


class _Dns:
    """Answers one way to every question."""

    def __init__(self, answer: tuple[str, list[bytes]] | Exception) -> None:
        self._answer = answer

    async def caa(self, name: str) -> tuple[str, list[bytes]]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class LookTests(SynchronousTestCase):
    """Asking for them."""

    def look(self, answer: tuple[str, list[bytes]] | Exception) -> Finding:
        async def identities() -> Sequence[str]:
            self.asked += 1
            return OURS

        self.asked = 0
        looking = look_at_caa("www.example.org", _Dns(answer), identities)  # type: ignore[arg-type]
        finding: Finding = self.successResultOf(Deferred.fromCoroutine(looking))
        return finding

    def test_records(self) -> None:
        """The records that were found are judged, and their holder is named."""
        finding = self.look(("example.org", [b"\x00\x05issueother.example"]))
        self.assertEqual(finding.verdict, FAIL)
        self.assertIn("of example.org allow other.example", finding.text)
        self.assertEqual(self.asked, 1)

    def test_no_records(self) -> None:
        """Without records nobody asks what the authority is called."""
        self.assertEqual((self.look(("www.example.org", [])).verdict, self.asked), (OK, 0))

    def test_errors(self) -> None:
        """An error keeps an authority from issuing; silence of the server we ask says nothing."""
        for answer, verdict in (
            (DnsError("SERVFAIL"), FAIL),
            (("example.org", [b"\x00"]), FAIL),
            (DnsSilence("no answer"), UNKNOWN),
        ):
            finding = self.look(answer)
            self.assertEqual((finding.verdict, bool(finding.remedy)), (verdict, True))
