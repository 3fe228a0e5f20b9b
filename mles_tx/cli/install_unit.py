"""`mles-tx install-unit`: prints the units with which systemd runs the server it was asked for.

It changes nothing: where the text goes is the operator's to say. What would keep the service from starting is said.
"""

import getopt
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from twisted.python import usage

import mles_tx
from mles_tx.service.config import ServerConfig
from mles_tx.service.options import Options as ServeOptions

from .unit_files import Unit, quote, service_unit, socket_unit

__all__ = ["InstallUnitOptions", "install_unit"]

#: Unit names are longer and stranger than that; directories and files are called after ours.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

#: What systemd takes for the name of a group.
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}")

#: What the sockets of a unit stand for.
_REPLACED = frozenset({"--port", "-p", "--interface", "--redirect", "-r", "--redirect-port"})

_LOW_PORTS = 1024

#: Below these, services find nothing (systemd.exec(5), ProtectHome).
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


def _unit_name(text: str) -> str:
    """The coerce function of `--name`."""
    if _NAME.fullmatch(text) is None:
        raise usage.UsageError(f"--name {text!r}: give lower-case letters, digits, - and _, a letter first")
    return text


class InstallUnitOptions(usage.Options):
    """What `mles-tx install-unit` understands; behind `--` stand the options of the server."""

    synopsis = "[options] [-- OPTIONS OF THE SERVER]"
    longdesc = (
        "Prints a systemd unit for a server with the options that stand behind --, to be written to"
        " /etc/systemd/system/NAME.service. For a restart that loses no connection attempt, systemd may hold the"
        " ports: then --activated prints the service, and --socket the socket unit for NAME.socket. Give both the same"
        " options behind --."
    )

    optFlags = (
        ["activated", None, "The service takes its ports over from the socket unit."],
        ["socket", None, "Print the socket unit instead of the service."],
    )

    optParameters = (["name", None, "mles-tx", "Name of the units.", _unit_name],)

    def __init__(self) -> None:
        super().__init__()
        self["group"] = []
        self.serve: Sequence[str] = ()

    def opt_group(self, value: str) -> None:
        """Group the service belongs to as well, so that it may read certificates; may be given again."""
        if _GROUP.fullmatch(value) is None:
            raise usage.UsageError(f"--group {value!r}: not a group's name")
        self["group"].append(value)

    opt_h = usage.Options.opt_help

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"mles_tx {mles_tx.__version__}")
        sys.exit(0)

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802
        """The options of the server."""
        self.serve = arguments


def install_unit(options: InstallUnitOptions) -> None:
    """Print the unit, and on standard error what would keep it from running; exits with one line when there is none."""
    try:
        text, notes = _make(options)
    except usage.UsageError as error:
        sys.stderr.write(f"mles-tx: {error}\n")
        sys.exit(1)
    print(text, end="")
    for note in notes:
        sys.stderr.write(f"mles-tx: note: {note}\n")


def _make(options: InstallUnitOptions) -> tuple[str, list[str]]:
    # Here, not above: `mles-tx --help` needs no Autobahn.
    from mles_tx.service.binding import DRAIN_SECONDS

    name = options["name"]
    serve = ServeOptions({b"STATE_DIRECTORY": os.fsencode(f"/var/lib/{name}")})
    _refuse_check(serve, options.serve)
    serve.parseOptions(options.serve)
    config = serve.config()
    paths = _paths(serve)
    _check(config, serve, paths)
    wants_sockets = options["activated"] or options["socket"]
    arguments = list(options.serve)
    addresses: list[tuple[str, int]] = []
    if wants_sockets:
        addresses, arguments = _activate(config, serve, options.serve)
    what = ", ".join(config.domains) or "this machine"
    if options["socket"]:
        return socket_unit(name, what, addresses), []
    command = [str(_program()), "serve", *arguments]
    try:
        for word in command:
            quote(word)
    except ValueError as error:
        raise usage.UsageError(f"{str(error)!r}: units hold UTF-8 text; give another name") from None
    ports: tuple[int, ...] = () if wants_sockets or config.listen_on else (config.listen_port,)
    ports += () if wants_sockets or config.redirect_port is None else (config.redirect_port,)
    ports += () if config.admin is None else (config.admin.port,)
    files = [path for _, path in paths]
    parts = [Path(sys.prefix), Path(sys.base_prefix), Path(mles_tx.__file__).parent, _program()]
    unit = Unit(
        name,
        command,
        what,
        stop_seconds=int(config.drain + 2 * DRAIN_SECONDS + 5),
        has_sockets=bool(wants_sockets or config.listen_on or config.redirect_on),
        needs_low_ports=any(0 < port < _LOW_PORTS for port in ports),
        reads_homes=any(path.is_relative_to(home) for path in [*parts, *files] for home in _HOMES),
        groups=options["group"],
        has_runtime=_needs_runtime(config, name),
    )
    notes = [f"{path}: the service's user cannot get there; install the server elsewhere" for path in _closed(parts)]
    if not options["group"]:
        notes += [
            f"{path}: the service's user cannot read it; let a group read it, and give --group"
            for path in _closed(files)
        ]
    return service_unit(unit), list(dict.fromkeys(notes))


def _paths(serve: ServeOptions) -> list[tuple[str, Path]]:
    """The files and directories that are given, each with its option."""
    given = ((option, value if isinstance(value, list) else [value]) for option, value in serve.items())
    return [(f"--{option}", path) for option, paths in given for path in paths if isinstance(path, Path)]


def _refuse_check(serve: ServeOptions, arguments: Sequence[str]) -> None:
    """It would end this command as well, and the unit would be empty."""
    try:
        given, _ = getopt.getopt(list(arguments), serve.shortOpt, serve.longOpt)
    except getopt.GetoptError:
        return  # what is wrong is said when they are parsed
    if ("--check", "") in given:
        raise usage.UsageError("--check: ends before anything is served; leave it away")


def _check(config: ServerConfig, serve: ServeOptions, paths: Sequence[tuple[str, Path]]) -> None:
    if config.run_as is not None:
        raise usage.UsageError("--run-as: the service never is root; leave it away")
    if serve["cache"] is not None:
        raise usage.UsageError("--cache: the service has a directory of its own below /var/lib; leave it away")
    for option, path in paths:
        if not path.is_absolute():
            raise usage.UsageError(f"{option} {path}: a service is not started here; give the whole path")


def _needs_runtime(config: ServerConfig, name: str) -> bool:
    """Whether the service has to have a directory for a UNIX socket.

    Raises:
        UsageError: the socket is to be where the service cannot make one.
    """
    if config.admin is None or not config.admin.path:
        return False
    place = Path(config.admin.path).parent
    if place == Path("/var/lib", name):
        return False
    if place != Path("/run", name):
        raise usage.UsageError(f"--admin {config.admin}: the service cannot write there; give unix:/run/{name}/admin")
    return True


def _activate(
    config: ServerConfig, serve: ServeOptions, arguments: Sequence[str]
) -> tuple[list[tuple[str, int]], list[str]]:
    """What systemd is to listen on, and the arguments with which the server takes that over."""
    from mles_tx.transport.port import usable

    if config.listen_on or config.redirect_on:
        raise usage.UsageError("--listen: that is what --socket and --activated see to; give --port and --interface")
    if config.is_local:
        raise usage.UsageError("--socket: needs --domains; without it only this machine is served")
    interfaces = config.interfaces or usable(config.listen_interfaces)
    addresses: list[tuple[str, int]] = []
    rest = []
    for option, port in (("--listen", config.listen_port), ("--redirect-listen", config.redirect_port)):
        if port == 0:
            raise usage.UsageError("port 0: clients have to know the port of a service; give a number")
        for interface in interfaces if port is not None else ():
            rest.append(f"{option}=systemd:index={len(addresses)}")
            addresses.append((interface, port or 0))
    kept, _ = getopt.getopt(list(arguments), serve.shortOpt, serve.longOpt)
    return addresses, [*_without_ports(kept), *rest]


def _without_ports(given: Sequence[tuple[str, str]]) -> Iterator[str]:
    for option, value in given:
        if option in _REPLACED:
            continue
        if value and option.startswith("--"):
            yield f"{option}={value}"
        else:
            yield option
            if value:
                yield value


def _program() -> Path:
    """This program, as an absolute path.

    Raises:
        UsageError: it cannot be told.
    """
    started = shutil.which(sys.argv[0]) if Path(sys.argv[0]).name == "mles-tx" else None
    beside = Path(sys.executable).parent / "mles-tx"
    if started is not None:
        return Path(started).absolute()
    if beside.is_file():
        return beside
    raise usage.UsageError("the command mles-tx is not installed; install the package")


def _closed(paths: Sequence[Path]) -> Iterator[Path]:
    """Those of some paths that a user without any rights of its own cannot read."""
    for path in paths:
        for part in (path, *path.parents):
            try:
                mode = part.stat().st_mode
            except OSError:
                break
            needed = 0o4 if part == path and not part.is_dir() else 0o1
            if not mode & needed:
                yield path
                break
