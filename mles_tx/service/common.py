"""What the options of the server and those of the commands around it have in common.

An option of the same name means the same everywhere. It must not know what a command does.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NoReturn

from twisted.python import usage

import mles_tx
from mles_tx.transport.certificates.authority import LETS_ENCRYPT_STAGING

from .config import ConfigError, state_directory
from .parsing import canonical_address, domain_names, one_line

__all__ = ["CommonOptions"]


class CommonOptions(usage.Options):
    """Options about names, addresses and the authority, and one line for whoever gives wrong ones.

    To be completed with `--cache`, `--acme-directory` and `--staging`.

    Args:
        environ: the environment; `STATE_DIRECTORY` is looked at.

    Attributes:
        command: what an error begins with.
        wrong: the exit code after an error.
    """

    command: ClassVar[str]
    wrong: ClassVar[int]

    def __init__(self, environ: Mapping[bytes, bytes] = os.environb) -> None:
        super().__init__()
        self._environ = environ
        self["domains"] = []
        self["interface"] = []

    def opt_domains(self, value: str) -> None:
        """Domain to serve; more of them by commas, or by giving the option again."""
        for domain in domain_names(value):
            if domain not in self["domains"]:
                self["domains"].append(domain)

    opt_d = opt_domains

    def opt_interface(self, value: str) -> None:
        """Address to listen on; may be given again. [default: all, with --no-tls loopback]"""
        address = canonical_address(value)
        if address not in self["interface"]:
            self["interface"].append(address)

    opt_h = usage.Options.opt_help

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"mles_tx {mles_tx.__version__}")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse; on an error, say in one line what is wrong and exit."""
        try:
            self.parse(options)
        except (usage.UsageError, ConfigError) as error:
            text = str(error)
            if isinstance(error, usage.UsageError) and not text.startswith("--"):
                text += "; --help lists the options"
            sys.stderr.write(f"{self.command}: {one_line(text)}\n")
            sys.exit(self.wrong)

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802
        """There are options only."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r}: not an option")

    def parse(self, options: Sequence[str] | None = None) -> None:
        """Parse, and look at the values as a whole.

        Raises:
            UsageError: an option cannot be made sense of.
            ConfigError: they do not fit together.
        """
        super().parseOptions(options)

    @property
    def cache(self) -> Path:
        """The directory for certificates."""
        given: Path | None = self["cache"]
        # systemd lists several with colons; the first is ours.
        by_systemd = self._environ.get(b"STATE_DIRECTORY", b"").split(b":")[0]
        return given or (Path(os.fsdecode(by_systemd)) if by_systemd else state_directory(self.home()))

    def home(self) -> Path | None:
        """The home directory of the user the command will run as; None: that of the one who runs it.

        Raises:
            ConfigError: that one has none, and it is needed.
        """
        return None

    @property
    def directory(self) -> str | None:
        """The URL of the authority's directory; None: Let's Encrypt's.

        Raises:
            ConfigError: two are asked for.
        """
        given: str | None = self["acme-directory"]
        if not self["staging"]:
            return given
        if given is not None:
            raise ConfigError("--staging: --acme-directory is given as well; keep one of them")
        return LETS_ENCRYPT_STAGING
