"""Options that come from several places: the command line, the environment, a file. The strongest is believed.

It must not know what an option is for.
"""

import getopt
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

from twisted.python import usage

from .common import CommonOptions
from .config import ConfigError
from .sources import Kind, Source, from_environment, from_file, kinds, read

__all__ = ["LayeredOptions"]


class LayeredOptions(CommonOptions):
    """To be completed with `--config`, and with options: each one keeps its value under its own name.

    Args:
        environ: the environment; what begins with `MLES_TX_` is looked at.

    Attributes:
        together: options that say one thing together: who gives one says all of it, and nothing of a weaker place is
            left.
        instead: options that stand for others: who gives one means none of those, and they may not be given beside it.
        path_lists: options that may be given again, and are paths.
        not_in_environment: options that are of no use there.
        not_in_file: likewise.
    """

    together: ClassVar[Sequence[Sequence[str]]]
    instead: ClassVar[Mapping[str, Sequence[str]]]
    path_lists: ClassVar[Sequence[str]]
    not_in_environment: ClassVar[Sequence[str]]
    not_in_file: ClassVar[Sequence[str]]

    def __init__(self, environ: Mapping[bytes, bytes] = os.environb) -> None:
        super().__init__(environ)
        self._arguments: Sequence[str] = ()
        self._called: dict[str, str] = {}
        self._directory = _working_directory()  # where relative paths begin; twistd may leave it
        self._is_again = False
        self._contents: dict[Path, bytes] = {}

    def parse(self, options: Sequence[str] | None = None) -> None:
        self._arguments = list(sys.argv[1:] if options is None else options)
        super().parse(self._arguments)
        with self.naming():
            self._take_sources()

    def reread(self) -> Self:
        """The options as they are now: files are read anew, environment and command line are as they were.

        Raises:
            UsageError: an option cannot be made sense of.
            ConfigError: something cannot be read, or does not fit together.
        """
        again = type(self)(self._environ)
        again._directory = self._directory
        again._is_again = True
        again.parse(self._arguments)
        return again

    def handed_on(self) -> tuple[Sequence[str], Path, Mapping[Path, bytes]]:
        """What `resumed` needs: the arguments, where relative paths begin, and what was in the files."""
        return self._arguments, self._directory, self._contents

    @classmethod
    def resumed(
        cls,
        arguments: Sequence[str],
        directory: Path,
        contents: Mapping[Path, bytes],
        environ: Mapping[bytes, bytes] = os.environb,
    ) -> Self:
        """The options of another process, with what was in its files when it read them.

        Raises:
            UsageError: an option cannot be made sense of.
            ConfigError: they do not fit together.
        """
        options = cls(environ)
        options._directory = directory
        options._contents = dict(contents)
        options._is_again = True
        options.parse(arguments)
        return options

    def read(self, option: str, path: Path) -> bytes:
        """The content of a file that an option names. It is read once: it may be a pipe.

        Raises:
            ConfigError: it cannot be read.
        """
        if path not in self._contents:
            self._contents[path] = read(option, path, self._directory, again=self._is_again)
        return self._contents[path]

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let an error name an option as whoever has given it knows it."""
        try:
            yield
        except ConfigError as error:
            match = re.match(r"--([a-z-]+)", str(error))
            if match is None or match[1] not in self._called:
                raise
            raise ConfigError(self._called[match[1]] + str(error)[match.end() :]) from None

    def known(self) -> Mapping[str, Kind]:
        """The options that environment and file may hold; those that are none of these are passed over."""
        return kinds(self)

    def _take_sources(self) -> None:
        """Add what environment and file say about what nobody stronger has said."""
        known = self.known()
        given, _ = getopt.getopt(list(self._arguments), self.shortOpt, self.longOpt)
        said = self._with_relatives(self.synonyms[option.lstrip("-")] for option, _ in given)
        said |= self._take(from_environment(self._environ, known, self.not_in_environment), said)
        path: Path | None = self["config"]
        if path is not None:
            content = self.read("--config", path)
            directory = (self._directory / path).parent
            self._take(from_file(path, content, directory, known, self.path_lists, self.not_in_file), said)

    def _take(self, source: Source, said: Set[str]) -> set[str]:
        """Take over what a source says, but for what was said already; all of it is looked at.

        Returns:
            What it says.
        """
        values = type(self)({})
        for name, words in source.words.items():
            if name not in self:
                continue
            try:
                # One after the other, so that it is clear which one is at fault.
                usage.Options.parseOptions(values, list(words))
            except usage.UsageError as error:
                text = str(error)
                rest = text.removeprefix(f"--{name}") if text.startswith("--") else f": {text}"
                raise ConfigError(source.called[name] + rest) from None
            if name not in said:
                self[name] = values[name]
                self._called[name] = source.called[name]
        return self._with_relatives(source.words)

    def _with_relatives(self, names: Iterable[str]) -> set[str]:
        given = set(names)
        related = [group for group in self.together if not given.isdisjoint(group)]
        return given.union(*related, *(self.instead.get(name, ()) for name in given))


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it is gone
        return Path("/")
