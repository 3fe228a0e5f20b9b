"""What can be chosen, and what is asked of the load generator."""

from twisted.trial.unittest import SynchronousTestCase

from bench.pages import PAGE
from bench.workloads import CURVES, WORKLOADS, Kind, Workload, find, names


class WorkloadTests(SynchronousTestCase):
    """One workload."""

    def test_closed_loop(self) -> None:
        """A window of messages in flight becomes the generator's arguments."""
        workload = Workload("some", "some", channels=3, subscribers=7, publishers=2, window=4)
        self.assertEqual(
            " ".join(workload.arguments(1.5, 0.5)), "-m fanout -s 7 -u 2 -i 0 -b 128 -w 4 -d 1.5 -W 0.5 -c 3 -e 0"
        )
        self.assertEqual(workload.connections, 27)

    def test_idle_channels(self) -> None:
        """Idle channels have one member each."""
        workload = Workload("some", "some", channels=3, subscribers=1, idle_channels=100)
        self.assertIn("-i 100", " ".join(workload.arguments(1.0, 0.5)))
        self.assertEqual(workload.connections, 106)

    def test_open_loop(self) -> None:
        """A rate takes the place of the window."""
        arguments = Workload("some", "some", rate=100.0, window=4).arguments(1.0, 0.5)
        self.assertEqual(arguments[arguments.index("-r") + 1], "100.0")
        self.assertNotIn("-w", arguments)

    def test_joins(self) -> None:
        """Joiners wait for the history that there is."""
        workload = Workload("some", "some", Kind.JOIN, count=50, history=1000)
        self.assertEqual(" ".join(workload.arguments(1.0, 0.5)), "-m join -n 50 -c 1 -e 1000")
        self.assertEqual(workload.connections, 50)

    def test_static_files(self) -> None:
        """Connections ask for one file, and say what browsers take."""
        workload = Workload("some", "some", Kind.WEB, count=32, page=PAGE)
        self.assertEqual(
            workload.arguments(2.0, 0.5),
            ["-f", "/page.html", "-E", "gzip, deflate, br, zstd", "-n", "32", "-d", "2.0", "-W", "0.5"],
        )
        self.assertEqual(workload.connections, 32)

    def test_pair(self) -> None:
        """Two members talk while others ask for a file until they are told to end."""
        workload = Workload("some", "some", Kind.PAIR, subscribers=1, rate=500.0, count=32, page=PAGE)
        self.assertIn("-m fanout -s 1 -u 1", " ".join(workload.arguments(2.0, 0.5)))
        self.assertIn("-n 32 -d 0", " ".join(workload.web_arguments(0, 0.5)))
        self.assertEqual(workload.connections, 34)


class KindTests(SynchronousTestCase):
    """Kinds of workloads."""

    def test_units(self) -> None:
        """Each kind is one of its own, also where units are the same."""
        self.assertEqual([kind.unit for kind in Kind], ["µs", "ms", "KiB", "µs", "µs"])

    def test_references(self) -> None:
        """What a kind is about is not what it is held against."""
        for kind in Kind:
            self.assertNotIn(kind.subject, kind.references)


class FindTests(SynchronousTestCase):
    """The choice."""

    def test_names_are_unique(self) -> None:
        """A name stands for one workload or curve."""
        points = [workload.name for curve in CURVES for _, workload in curve.points]
        every = {*WORKLOADS, *(workload for curve in CURVES for _, workload in curve.points)}
        self.assertEqual(len(names()), len(set(names())))
        self.assertEqual(len(every), len({workload.name for workload in every}))
        self.assertEqual(len(points), len(set(points)))

    def test_all_and_quick(self) -> None:
        """Without names there is everything; quick leaves out the curves and what takes long."""
        self.assertEqual(find([], quick=False), (list(WORKLOADS), list(CURVES)))
        workloads, curves = find([], quick=True)
        left_out = ["10k-members", "script", "download", "pair-script", "pair-picture", "pair-download"]
        self.assertEqual(([w.name for w in WORKLOADS if w not in workloads], curves), (left_out, []))

    def test_chosen(self) -> None:
        """Names choose, also what quick would leave out; a wrong one is told."""
        workloads, curves = find(["members", "10k-members"], quick=True)
        self.assertEqual(([w.name for w in workloads], [c.name for c in curves]), (["10k-members"], ["members"]))
        error = self.assertRaises(ValueError, find, ["memebrs"], False)
        self.assertIn("'memebrs'", str(error))
