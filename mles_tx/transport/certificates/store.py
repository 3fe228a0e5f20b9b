"""A directory of certificates, one PEM file a name: private key first, then the chain.

The interface is txacme's, so that what issues certificates can fill it. Files are written anew and renamed,
readable by their owner alone.
"""

from pathlib import Path

import pem
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from txacme.interfaces import ICertificateStore
from zope.interface import implementer

from .files import make_private_directory, read_small, replace_private

__all__ = ["CertificateDirectory"]

_SUFFIX = ".pem"

#: Bytes of a file: key and chain have some ten thousand.
_MAX_FILE = 1 << 19


@implementer(ICertificateStore)
class CertificateDirectory:
    """Certificates on disk.

    Args:
        path: the directory; made, for its owner alone, when it is not there.
    """

    _log = Logger()

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, server_name: str) -> list[pem.AbstractPEMObject]:
        """The PEM objects of a name, at once.

        Raises:
            KeyError: there is no file for it, none that is ordinary and of at most 512 KiB, or nothing in it.
            OSError: it cannot be read.
        """
        path = self._path / (server_name + _SUFFIX)
        content = None if path.is_symlink() else read_small(path, _MAX_FILE)
        objects = pem.parse(content or b"")
        if not objects:
            raise KeyError(server_name)
        return objects

    def save(self, server_name: str, pem_objects: list[pem.AbstractPEMObject]) -> None:
        """Replace the file of a name, at once."""
        make_private_directory(self._path)
        replace_private(self._path / (server_name + _SUFFIX), b"".join(item.as_bytes() for item in pem_objects))

    def get(self, server_name: str) -> "Deferred[list[pem.AbstractPEMObject]]":
        return maybeDeferred(self.load, server_name)

    def store(self, server_name: str, pem_objects: list[pem.AbstractPEMObject]) -> "Deferred[None]":
        return maybeDeferred(self.save, server_name, pem_objects)

    def as_dict(self) -> "Deferred[dict[str, list[pem.AbstractPEMObject]]]":
        return maybeDeferred(self._all)

    def _all(self) -> dict[str, list[pem.AbstractPEMObject]]:
        found = {}
        for path in sorted(self._path.glob("*" + _SUFFIX)):
            name = path.name.removesuffix(_SUFFIX)
            try:
                found[name] = self.load(name)
            except (KeyError, OSError) as error:
                self._log.warn(
                    "{path} is no certificate file, and left alone: {error!r}",
                    path=str(path),
                    error=error,
                )
        return found
