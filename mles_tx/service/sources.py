"""Options from elsewhere than the command line: a TOML file, and the environment.

Each gives texts, as the command line would have them, and is parsed by the same options: so every option there is can
be given there, under the same name. It must not know what an option is for; what it may look at is its kind: a flag, a
number, a path, a list, or something else.
"""

import os
import tomllib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto
from pathlib import Path

from twisted.python import reflect, usage

from .config import ConfigError
from .parsing import WholeNumber, history_place, one_line

__all__ = ["VARIABLE", "Kind", "Source", "from_environment", "from_file", "kinds", "read"]

#: What the names of variables begin with.
VARIABLE = b"MLES_TX_"

#: Bytes of a file that is read whole: a mistaken name must not fill the memory.
_MAX_FILE_BYTES = 1024 * 1024

_YES = frozenset({"1", "true", "yes"})
_NO = frozenset({"0", "false", "no"})

#: What somebody may call the key that clients need.
_KEY_NAMES = frozenset({"key", "mles-key"})

_KEY_VARIABLE = "a key is set as MLES_KEY, files with keys as MLES_TX_KEY_FILE"


class Kind(Enum):
    """What the value of an option is made of."""

    FLAG = auto()
    NUMBER = auto()
    PATH = auto()
    PLACE = auto()  #: a word, sqlite:PATH or a URL
    TEXT = auto()
    LIST = auto()  #: an option that may be given again


@dataclass(frozen=True, slots=True)
class Source:
    """What one place says.

    Attributes:
        called: what an option is called there, in errors.
        words: the words of a command line that says the same; none: a flag is off, or a list is empty.
    """

    called: Mapping[str, str]
    words: Mapping[str, Sequence[str]]


def kinds(options: usage.Options) -> dict[str, Kind]:
    """The kind of each option that has a value."""
    parameters: list[Sequence[object]] = []
    reflect.accumulateClassList(type(options), "optParameters", parameters)
    coerces = {str(row[0]): row[4] if len(row) > 4 else None for row in parameters}
    flags: list[Sequence[object]] = []
    reflect.accumulateClassList(type(options), "optFlags", flags)
    found = dict.fromkeys((str(row[0]) for row in flags), Kind.FLAG)
    for name in options.longOpt:
        if name.endswith("="):
            found[name[:-1]] = _kind(coerces[name[:-1]]) if name[:-1] in coerces else Kind.LIST
    return found


def _kind(coerce: object) -> Kind:
    if isinstance(coerce, WholeNumber):
        return Kind.NUMBER
    if coerce is history_place:
        return Kind.PLACE
    return Kind.PATH if coerce is Path else Kind.TEXT


def read(option: str, path: Path, directory: Path, *, again: bool = False) -> bytes:
    """The content of a file of the operator's.

    Args:
        option: what names it, for errors.
        path: where it is.
        directory: where relative paths begin.
        again: whether it was read before: what can be read but once would keep a server waiting then.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        place = directory / path
        if again and place.exists() and not place.is_file():
            raise ConfigError(f"{option} {path}: no regular file, so it cannot be read again; restart the server")
        with place.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}; give a file that can be read") from None
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(f"{option} {path}: larger than {_MAX_FILE_BYTES} bytes; give the file that was meant")
    return content


# -- the file


def from_file(
    path: Path,
    content: bytes,
    directory: Path,
    known: Mapping[str, Kind],
    path_lists: Container[str],
    unfit: Container[str],
) -> Source:
    """What a TOML file says.

    Args:
        path: its name, for errors.
        content: what is in it.
        directory: where it is: relative paths begin there.
        known: the options.
        path_lists: those lists that are of paths.
        unfit: the options that are of no use in a file.

    Raises:
        ConfigError: it is broken, has a name that is no option, or a value of the wrong type.
    """
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"--config {path}: line {line} is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--config {path}: broken TOML: {one_line(str(error))}; mend that line") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"--config {path}: broken TOML; options are NAME = VALUE, one a line") from None
    called, words = {}, {}
    for name, value in table.items():
        shown = f"{path}: {one_line(name)}"
        kind = known.get(name)
        if kind is None:
            raise ConfigError(f"{shown}: {_unknown(name, value, known)}")
        if name in unfit:
            raise ConfigError(f"{shown}: of no use in a file; give --{name} on the command line")
        called[name] = shown
        is_path = kind in (Kind.PATH, Kind.PLACE) or name in path_lists
        words[name] = _words_of(shown, name, kind, value, directory if is_path else None)
    return Source(called, words)


def _unknown(name: str, value: object, known: Iterable[str]) -> str:
    if name.lower().replace("_", "-") in _KEY_NAMES:
        return "a key does not stand in this file; write it into one of its own, and name that with key-file"
    if isinstance(value, dict):
        return "no option, and options stand in no table; write NAME = VALUE, one a line"
    return f"no option of this name; {_guess(name.lower().replace('_', '-'), known)}"


def _guess(name: str, known: Iterable[str], called: Callable[[str], str] = str) -> str:
    close = get_close_matches(name, known, 1)
    return f"did you mean {called(close[0])}?" if close else "--help lists the options"


def _words_of(shown: str, name: str, kind: Kind, value: object, directory: Path | None) -> list[str]:
    if kind is Kind.FLAG:
        if not isinstance(value, bool):
            raise ConfigError(f"{shown}: give true or false")
        return [f"--{name}"] if value else []
    values = value if kind is Kind.LIST and isinstance(value, list) else [value]
    texts = [_text(shown, kind, item) for item in values]
    if directory is not None:
        texts = [_place(text, directory) if kind is Kind.PLACE else str(directory / text) for text in texts]
    return [f"--{name}={text}" for text in texts]


def _place(text: str, directory: Path) -> str:
    scheme, _, path = text.partition(":")
    return f"{scheme}:{directory / path}" if scheme == "sqlite" and path else text


def _text(shown: str, kind: Kind, value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is Kind.NUMBER:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(f"{shown}: give a whole number, without quotes")
    elif kind is Kind.TEXT and is_number:
        pass  # what it may be, the option knows
    elif not isinstance(value, str):
        raise ConfigError(f"{shown}: give a text in quotes{', or a list of them' if kind is Kind.LIST else ''}")
    elif not value and kind is not Kind.LIST:
        raise ConfigError(f"{shown}: empty; give a value, or leave the line away")
    elif "\0" in value:
        raise ConfigError(f"{shown}: has a NUL in it; leave that away")
    return str(value)


# -- the environment


def from_environment(environ: Mapping[bytes, bytes], known: Mapping[str, Kind], unfit: Container[str]) -> Source:
    """What the variables say that begin with `MLES_TX_`.

    Args:
        environ: the environment.
        known: the options.
        unfit: those that are of no use there.

    Raises:
        ConfigError: one is for no option, or has a value of the wrong kind.
    """
    variables = {variable(name): name for name in known}
    called, words = {}, {}
    for raw, value in environ.items():
        if not raw.startswith(VARIABLE):
            continue
        shown = one_line(raw.decode("ascii", "backslashreplace"))
        name = variables.get(shown)
        if name is None:
            meant = shown.removeprefix(os.fsdecode(VARIABLE)).lower().replace("_", "-")
            guess = _KEY_VARIABLE if meant in _KEY_NAMES else _guess(meant, known, variable)
            raise ConfigError(f"{shown}: no option has this variable; {guess}")
        if name in unfit:
            raise ConfigError(f"{shown}: of no use as a variable; give --{name} on the command line")
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"{shown}: not UTF-8; set it to a text in UTF-8") from None
        called[name] = shown
        words[name] = _variable_words(shown, name, known[name], text)
    return Source(called, words)


def variable(name: str) -> str:
    """The variable of an option."""
    return os.fsdecode(VARIABLE) + name.upper().replace("-", "_")


def _variable_words(shown: str, name: str, kind: Kind, text: str) -> list[str]:
    if kind is Kind.FLAG:
        if text.lower() not in _YES | _NO:
            raise ConfigError(f"{shown} {text!r}: give 1 or 0, true or false, yes or no")
        return [f"--{name}"] if text.lower() in _YES else []
    if kind is Kind.LIST:
        return [f"--{name}={part.strip()}" for part in text.split(",")] if text else []
    if not text:
        raise ConfigError(f"{shown}: empty; set a value, or unset it")
    return [f"--{name}={text}"]
