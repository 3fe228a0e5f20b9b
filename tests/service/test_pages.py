"""Where the bundled web page is."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mles_tx
from mles_tx.service.pages import bundled_pages


class BundledPagesTests(SynchronousTestCase):
    """The page that comes with the server."""

    def test_it_is_there(self) -> None:
        """There is a page to open."""
        self.assertTrue((bundled_pages() / "index.html").is_file())

    def test_installed_and_checked_out(self) -> None:
        """In a checkout it lies beside the package; what was installed with the package comes first."""
        base = Path(self.mktemp()).absolute()
        package = base / "mles_tx"
        package.mkdir(parents=True)
        self.patch(mles_tx, "__file__", str(package / "__init__.py"))
        self.assertEqual(bundled_pages(), base / "static" / "localhost")
        (package / "static").mkdir()
        self.assertEqual(bundled_pages(), package / "static" / "localhost")
