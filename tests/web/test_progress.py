"""Whether a request goes on, judged by what has moved."""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.progress import IDLE_LOOKS, MIN_BYTES, SILENT_LOOKS, Phase, Progress, Seen, Verdict

NOTHING = Seen()

#: Phase, what is seen a minute after nothing was, and what follows.
FIRST = (
    (Phase.SENDING, NOTHING, Verdict.CLIENT_SLOW),
    (Phase.SENDING, Seen(came=MIN_BYTES - 1), Verdict.CLIENT_SLOW),
    (Phase.SENDING, Seen(came=MIN_BYTES), Verdict.GOES_ON),
    (Phase.SENDING, Seen(upstream_stalls=True), Verdict.UPSTREAM_STALLS),
    (Phase.SENDING, Seen(upstream_stalls=True, taken_by_upstream=MIN_BYTES), Verdict.GOES_ON),
    (Phase.SENDING, Seen(came=MIN_BYTES, client_stalls=True), Verdict.CLIENT_STALLS),
    (Phase.WAITING, Seen(came=MIN_BYTES), Verdict.UPSTREAM_LATE),
    (Phase.ANSWERING, NOTHING, Verdict.GOES_ON),
    (Phase.ANSWERING, Seen(moved=9**9, client_stalls=True), Verdict.CLIENT_STALLS),
    (Phase.ANSWERING, Seen(taken_by_client=MIN_BYTES, client_stalls=True), Verdict.GOES_ON),
    (Phase.DRAINING, Seen(client_stalls=True, taken_by_client=MIN_BYTES - 1), Verdict.CLIENT_STALLS),
    (Phase.DRAINING, Seen(client_stalls=True, taken_by_client=MIN_BYTES), Verdict.GOES_ON),
    (Phase.SPLICED, NOTHING, Verdict.GOES_ON),
    (Phase.SPLICED, Seen(is_half_closed=True), Verdict.IDLE),
    (Phase.SPLICED, Seen(is_half_closed=True, moved=1), Verdict.GOES_ON),
    (Phase.SPLICED, Seen(moved=9**9, client_stalls=True), Verdict.CLIENT_STALLS),
    (Phase.SPLICED, Seen(moved=9**9, upstream_stalls=True), Verdict.UPSTREAM_STALLS),
    (Phase.SPLICED, Seen(upstream_stalls=True, taken_by_upstream=MIN_BYTES), Verdict.GOES_ON),
)


class ProgressTests(SynchronousTestCase):
    """One look after the other."""

    def test_first_look(self) -> None:
        """What has moved in a minute decides, phase by phase."""
        found = [(phase, seen, Progress().judge(phase, seen)) for phase, seen, _ in FIRST]
        self.assertEqual(found, list(FIRST))

    def test_difference(self) -> None:
        """It is what has moved since the last look that counts."""
        progress, seen = Progress(), Seen(came=MIN_BYTES)
        self.assertIs(progress.judge(Phase.SENDING, seen), Verdict.GOES_ON)
        self.assertIs(progress.judge(Phase.SENDING, seen), Verdict.CLIENT_SLOW)
        self.assertIs(progress.judge(Phase.SENDING, replace(seen, came=2 * MIN_BYTES)), Verdict.GOES_ON)

    def test_silence(self) -> None:
        """Silence is allowed for some looks, and a byte is enough to begin anew."""
        for phase, looks, end in (
            (Phase.ANSWERING, SILENT_LOOKS, Verdict.UPSTREAM_SILENT),
            (Phase.SPLICED, IDLE_LOOKS, Verdict.IDLE),
        ):
            progress = Progress()
            for moved in range(1, 4):
                found = {progress.judge(phase, Seen(moved=moved)) for _ in range(looks)}
                self.assertEqual(found, {Verdict.GOES_ON})
            self.assertIs(progress.judge(phase, Seen(moved=3)), end)

    def test_begin(self) -> None:
        """A new phase begins with what is to be seen then."""
        progress = Progress()
        for _ in range(SILENT_LOOKS - 1):
            progress.judge(Phase.ANSWERING, NOTHING)
        progress.begin(Seen(came=5000))
        self.assertIs(progress.judge(Phase.ANSWERING, NOTHING), Verdict.GOES_ON)
        progress.begin(Seen(came=5000))
        self.assertIs(progress.judge(Phase.SENDING, Seen(came=5000)), Verdict.CLIENT_SLOW)
