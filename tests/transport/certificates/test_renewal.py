"""When a certificate is to be renewed."""

from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.renewal import Window, certificate_id, parse_window, renewal_time, youth

from .authority import make_issuer
from .making import NOW, make

_START = datetime(2026, 1, 1, tzinfo=UTC)


class RenewalTests(SynchronousTestCase):
    """The moment of renewal."""

    def test_two_thirds(self) -> None:
        """Whatever its life, two thirds of it have passed."""
        for life, after in (
            (timedelta(days=90), timedelta(days=60)),
            (timedelta(days=47), timedelta(days=31, hours=8)),
            (timedelta(days=6), timedelta(days=4)),
            (timedelta(seconds=90), timedelta(seconds=60)),
        ):
            self.assertEqual(renewal_time(_START, _START + life), _START + after)

    def test_window(self) -> None:
        """When the authority names a window, it is a moment of that: always the same for one certificate."""
        window = Window(_START + timedelta(days=30), _START + timedelta(days=32), 60)
        ends = _START + timedelta(days=90)
        chosen = {seed: renewal_time(_START, ends, window, _START, seed) for seed in "abcdefghij"}
        self.assertEqual({seed: renewal_time(_START, ends, window, _START, seed) for seed in chosen}, chosen)
        self.assertEqual(len(set(chosen.values())), 10)
        for moment in chosen.values():
            self.assertTrue(window.start <= moment <= window.end)

    def test_past_window(self) -> None:
        """A window in the past means at once, but not before the certificate has had a little of its life."""
        for life, young in ((timedelta(days=90), timedelta(days=1)), (timedelta(seconds=50), timedelta(seconds=5))):
            window = Window(_START - timedelta(days=2), _START - timedelta(days=1), 60)
            self.assertEqual(renewal_time(_START, _START + life, window, _START), _START + young)
            self.assertLess(renewal_time(_START, _START + life, window), _START)

    def test_youth(self) -> None:
        """A new certificate is left alone for a tenth of its life, but not longer than a day."""
        for life, young in (
            (timedelta(days=90), timedelta(days=1)),
            (timedelta(days=6), timedelta(hours=14, minutes=24)),
            (timedelta(seconds=50), timedelta(seconds=5)),
            (timedelta(0), timedelta(0)),
        ):
            self.assertEqual(youth(_START, _START + life), young)

    def test_late_window(self) -> None:
        """A window after the end does not let the certificate lapse."""
        window = Window(_START + timedelta(days=100), _START + timedelta(days=101), 60)
        self.assertEqual(renewal_time(_START, _START + timedelta(days=90), window), _START + timedelta(days=81))

    def test_identifier(self) -> None:
        """The authority's key and the number, as RFC 9773 wants them; a number whose first bit is set has a zero."""
        issuer = make_issuer()
        for _ in range(20):
            made = issuer.issue("a.test", begins=NOW, ends=NOW + timedelta(days=1)).certificate
            signer, dot, number = (certificate_id(made) or "").partition(".")
            key = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
            self.assertEqual((urlsafe_b64decode(signer + "==="), dot), (key, "."))
            digits = urlsafe_b64decode(number + "===")
            self.assertEqual(int.from_bytes(digits, "big", signed=True), made.serial_number)
            self.assertTrue(digits[0] or digits[1] & 0x80)

    def test_no_identifier(self) -> None:
        """A certificate that does not say who signed it has none."""
        self.assertIsNone(certificate_id(make("a.test").certificate))

    def test_answers(self) -> None:
        """What the authority says is read, with the time of the next question within bounds."""
        suggested = {"start": "2026-02-01T00:00:00Z", "end": "2026-02-02T12:00:00+01:00"}
        start, end = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 2, 11, tzinfo=UTC)
        for retry_after, again in ((0.0, 21600.0), (1.0, 60.0), (7200.0, 7200.0), (1e9, 86400.0)):
            self.assertEqual(parse_window({"suggestedWindow": suggested}, retry_after), Window(start, end, again))

    def test_strange_answers(self) -> None:
        """An answer that makes no sense is none."""
        good = {"start": "2026-02-01T00:00:00Z", "end": "2026-02-02T00:00:00Z"}
        strange: tuple[Any, ...] = (
            None,
            [],
            {},
            {"start": good["start"]},
            {"start": 7, "end": 8},
            {"start": "soon", "end": "later"},
            {"start": good["end"], "end": good["start"]},
            {"start": good["start"], "end": good["start"]},
            {"start": "2026-02-01T00:00:00", "end": good["end"]},
            {"start": "2026-02-01T00:00:00", "end": "2026-02-02T00:00:00"},
        )
        for suggested in strange:
            self.assertIsNone(parse_window({"suggestedWindow": suggested}, 0.0), suggested)
        self.assertIsNone(parse_window({}, 0.0))
