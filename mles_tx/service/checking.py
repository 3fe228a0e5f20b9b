"""`--check`: whether a server could start, found out without starting one.

What is not looked at: whether its addresses can be bound, and what certificate authorities say.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from mles_tx.transport.certificates.pairs import CertificateError

from .certificates import read_pairs, shortcomings
from .config import ConfigError, ServerConfig

__all__ = ["check"]


def check(config: ServerConfig) -> list[str]:
    """Look at the files a server would use.

    Returns:
        Lines for the operator: what could be better, and that all is well.

    Raises:
        ConfigError: it could not start; the text names the option and the remedy.
    """
    lines = []
    try:
        pairs = read_pairs(config)
        if config.acme_ca is not None:
            # Here, not above: it brings half of twisted.web with it.
            from mles_tx.transport.certificates.fetch import read_authorities

            read_authorities(config.acme_ca)
    except CertificateError as error:
        raise ConfigError(str(error)) from None
    if config.certificates:
        lines += [f"warning: {text}" for _, text in shortcomings(config, pairs, datetime.now(UTC))]
    elif config.speaks_tls:
        _check_cache(config.cache)
    if config.wwwroot is not None:
        lines += [
            f"warning: {config.wwwroot / directory} is not a directory: {host} has no pages"
            for host, directory in config.hosts.items()
            if not (config.wwwroot / directory).is_dir()
        ]
    return [*lines, "the settings are good"]


def _check_cache(cache: Path) -> None:
    """Whether the directory can be written to, or made."""
    place = cache.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f"--cache {cache}: {place} is not a directory; give a directory that can be written to")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"--cache {cache}: {place} cannot be written to; give a directory that can be written to")
