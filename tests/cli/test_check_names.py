"""Whether addresses lead here."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli import check_names
from mles_tx.cli.check_names import Machine, judge_addresses, look_at_addresses
from mles_tx.cli.checks import Finding, Verdict
from mles_tx.cli.lookups import DnsError, DnsSilence

HERE, HERE6, ELSEWHERE, ELSEWHERE6 = "8.8.4.4", "2a00:1450::1", "9.9.9.9", "2620:fe::9"

OK, WARN, FAIL, UNKNOWN = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN


class _Machine(Machine):
    """A machine with these addresses, and these on its way to the internet."""

    def __init__(self, *addresses: str, source: str | None, source6: str | None = None) -> None:
        self._addresses = addresses
        self._sources = {4: source, 6: source6}

    def has(self, address: str) -> bool:
        return address in self._addresses

    def source(self, version: int) -> str | None:
        return self._sources[version]


PUBLIC = _Machine(HERE, HERE6, source=HERE, source6=HERE6)
FOUR_ONLY = _Machine(HERE, source=HERE)
SIX_ONLY = _Machine(HERE6, source=None, source6=HERE6)
BEHIND_NAT = _Machine("192.168.1.5", "127.0.0.1", source="192.168.1.5", source6="fe80::5%eth0")
CUT_OFF = _Machine("127.0.0.1", source=None)

#: Machine, addresses of the name, whether the authority is a public one, verdict, something of the text.
ADDRESSES: tuple[tuple[_Machine, list[str], bool, Verdict, str], ...] = (
    (PUBLIC, [HERE], True, OK, f"resolves to {HERE}, of this machine"),
    (PUBLIC, [HERE, HERE6], True, OK, f"resolves to {HERE}, {HERE6}, of this machine"),
    (PUBLIC, [], True, FAIL, "has no address in the DNS"),
    (PUBLIC, [ELSEWHERE], True, FAIL, f"resolves to {ELSEWHERE}, not an address of this machine"),
    (PUBLIC, [HERE, ELSEWHERE], True, FAIL, f"resolves to {ELSEWHERE}, not"),
    (PUBLIC, [HERE, ELSEWHERE6], True, FAIL, f"resolves to {ELSEWHERE6}, not"),
    (FOUR_ONLY, [HERE, ELSEWHERE6], True, FAIL, f"resolves to {ELSEWHERE6}, not"),
    (SIX_ONLY, [HERE6, ELSEWHERE], True, WARN, "behind NAT (no way to the internet)"),
    (BEHIND_NAT, [ELSEWHERE], True, WARN, f"resolves to {ELSEWHERE}; this machine is behind NAT (192.168.1.5)"),
    (BEHIND_NAT, [ELSEWHERE6], True, WARN, "behind NAT (fe80::5%eth0)"),
    (CUT_OFF, [ELSEWHERE], True, WARN, "it cannot be known"),
    (PUBLIC, ["10.0.0.1"], True, FAIL, "resolves to 10.0.0.1: no authority on the internet gets there"),
    (BEHIND_NAT, ["192.168.1.5"], True, FAIL, "no authority on the internet gets there"),
    (BEHIND_NAT, [ELSEWHERE, "127.0.0.1"], True, FAIL, "resolves to 127.0.0.1: no authority"),
    (BEHIND_NAT, ["192.168.1.5"], False, OK, "resolves to 192.168.1.5, of this machine"),
    (BEHIND_NAT, ["127.0.0.1"], False, OK, "of this machine"),
    (BEHIND_NAT, ["192.168.1.6"], False, FAIL, "resolves to 192.168.1.6, not an address"),
    (BEHIND_NAT, [ELSEWHERE], False, WARN, "behind NAT"),
)


class _Dns:
    """Knows one name."""

    def __init__(self, found: Sequence[str] | Exception) -> None:
        self._found = found
        self.asked: list[str] = []

    async def addresses(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


class AddressTests(SynchronousTestCase):
    """Where an authority that looks for a domain arrives."""

    def test_judgement(self) -> None:
        """Here, elsewhere, nowhere; behind NAT nobody can say, and that is no failure."""
        for machine, addresses, is_public, verdict, text in ADDRESSES:
            finding = judge_addresses("example.org", addresses, machine, is_public)
            self.assertEqual((addresses, finding.verdict), (addresses, verdict))
            self.assertIn(text, finding.text)
            self.assertEqual(bool(finding.remedy), verdict is not OK)

    def test_remedy(self) -> None:
        """The record that is wrong is named, of several kinds all."""
        for addresses, kinds in (([ELSEWHERE], "A"), ([ELSEWHERE6], "AAAA"), ([ELSEWHERE6, ELSEWHERE], "A and AAAA")):
            self.assertEqual(
                judge_addresses("example.org", addresses, PUBLIC, True).remedy,
                f"let the {kinds} record of example.org point to this machine, or remove it",
            )

    def look(self, name: str, dns: _Dns, is_public: bool = True) -> Finding:
        looking = look_at_addresses(name, dns, PUBLIC, is_public)  # type: ignore[arg-type]
        finding: Finding = self.successResultOf(Deferred.fromCoroutine(looking))
        return finding

    def test_looked_up(self) -> None:
        """A name is looked up; an address stands for itself; a local name is no matter for a public authority."""
        for name, is_public, verdict, asked in (
            ("example.org", True, OK, ["example.org"]),
            (HERE, True, OK, []),
            (ELSEWHERE, True, FAIL, []),
            ("localhost", True, WARN, []),
            ("chat.internal", True, WARN, []),
            ("chat.internal", False, OK, ["chat.internal"]),
        ):
            dns = _Dns([HERE])
            self.assertEqual((name, self.look(name, dns, is_public).verdict), (name, verdict))
            self.assertEqual(dns.asked, asked)

    def test_no_answer(self) -> None:
        """An error of the domain's servers is a failure; silence of the server we ask says nothing."""
        for error, verdict in ((DnsError("SERVFAIL"), FAIL), (DnsSilence("no answer"), UNKNOWN)):
            finding = self.look("example.org", _Dns(error))
            self.assertEqual((finding.verdict, finding.text), (verdict, str(error)))
            self.assertTrue(finding.remedy)


class MachineTests(SynchronousTestCase):
    """This machine."""

    def test_own(self) -> None:
        """Its own addresses are told from others, of both kinds."""
        machine = Machine()
        self.assertTrue(machine.has("127.0.0.1"))
        for address in ("192.0.2.1", "2001:db8::1", "0.0.0.0", "::"):
            self.assertFalse(machine.has(address), address)

    def test_source(self) -> None:
        """What it has on its way to the internet is one of its own; without a way it has none."""
        self.patch(check_names, "_ANYWHERE", {4: "127.0.0.1", 6: "255.255.255.255"})
        machine = Machine()
        self.assertEqual((machine.source(4), machine.source(6)), ("127.0.0.1", None))
