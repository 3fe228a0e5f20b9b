"""Where the bundled web page is."""

from pathlib import Path

import mles_tx

__all__ = ["bundled_pages"]


def bundled_pages() -> Path:
    """The directory of the bundled site: inside the package when it is installed, beside it in a checkout."""
    package = Path(mles_tx.__file__).parent
    installed = package / "static"
    return (installed if installed.is_dir() else package.parent / "static") / "localhost"
