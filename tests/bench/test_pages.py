"""The static files that are asked for."""

import gzip
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.pages import PAGES, Page, write_site


class PageTests(SynchronousTestCase):
    """Made-up files."""

    def test_sizes(self) -> None:
        """Each has its size; texts become smaller when they are compressed, the others do not."""
        for page in PAGES:
            self.assertEqual(len(page.content), page.size, page.name)
            self.assertEqual(len(gzip.compress(page.content)) < page.size * 0.6, page.is_text, page.name)

    def test_same_in_every_run(self) -> None:
        """The bytes depend on nothing but the name and the size."""
        one, two = (Page("some.js", 2000, True).content for _ in range(2))
        self.assertEqual(one, two)
        self.assertNotEqual(one, Page("other.js", 2000, True).content)

    def test_site(self) -> None:
        """A directory has all of them, also when it was there before."""
        directory = Path(self.mktemp()) / "localhost"
        for _ in range(2):
            write_site(directory)
            self.assertEqual(
                {page.name: page.size for page in PAGES},
                {path.name: path.stat().st_size for path in directory.iterdir()},
            )
