"""What the machine and the process have."""

import os
import resource
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service import resources
from mles_tx.service.resources import (
    connections_for,
    descriptor_limit,
    has_descriptors,
    machine_memory,
    raise_descriptor_limit,
    upstreams_for,
)


class DescriptorTests(SynchronousTestCase):
    """Descriptors: connections, files, and what else needs one."""

    def setUp(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.soft, self.hard = before
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)

    def test_raised(self) -> None:
        """A process may have as many as the system allows it, and no fewer when that is asked for twice."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.soft - 1, self.hard))
        self.assertEqual(descriptor_limit(), self.soft - 1)
        for _ in range(2):
            raise_descriptor_limit()
            self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (self.hard, self.hard))

    def test_refused(self) -> None:
        """Where the system refuses what it says it allows, the process goes on with what it has."""
        for error in (ValueError, PermissionError):

            def refuse(*args: object, error: type[Exception] = error) -> None:
                raise error

            self.patch(resource, "setrlimit", refuse)
            raise_descriptor_limit()
            self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (self.soft, self.hard))

    def test_unlimited(self) -> None:
        """A process without a limit counts on a million."""
        self.patch(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.assertEqual(descriptor_limit(), 1_048_576)

    def test_left(self) -> None:
        """A process knows whether it can open anything more."""
        self.assertTrue(has_descriptors())
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, self.hard))
        self.assertFalse(has_descriptors())

    def test_connections(self) -> None:
        """Connections get what files and the rest leave; files get a quarter at most, connections one at least."""
        for descriptors, files, connections in (
            (1_048_576, 256, 1_048_272),
            (65_536, 256, 65_232),
            (1024, 256, 720),
            (1024, 999_999, 720),
            (1024, 1, 975),
            (256, 256, 144),
            (64, 256, 1),
            (10, 1, 1),
            (0, 1, 1),
        ):
            found = connections_for(descriptors, files)
            self.assertEqual((descriptors, files, found), (descriptors, files, connections))

    def test_upstreams(self) -> None:
        """Upstreams get a quarter, so that there is something for clients; and one at least."""
        for descriptors, upstreams in ((1024, 244), (256, 52), (52, 1), (10, 1), (0, 1)):
            self.assertEqual((descriptors, upstreams_for(descriptors)), (descriptors, upstreams))


class MemoryTests(SynchronousTestCase):
    """Memory of the machine, or of the container."""

    def limit(self, content: bytes) -> None:
        """What the container's file says."""
        file = Path(self.mktemp())
        file.write_bytes(content)
        self.patch(resources, "_CGROUP_MEMORY", file)

    def test_machine(self) -> None:
        """Without a limit, or with one that is none, it is the machine's."""
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.patch(resources, "_CGROUP_MEMORY", Path(self.mktemp()))
        self.assertEqual(machine_memory(), machine)
        for content in (b"max\n", b"", b"9" * 30 + b"\n"):
            self.limit(content)
            self.assertEqual(machine_memory(), machine)

    def test_container(self) -> None:
        """In a container with less it is the container's."""
        self.limit(b"1048576\n")
        self.assertEqual(machine_memory(), 1_048_576)
