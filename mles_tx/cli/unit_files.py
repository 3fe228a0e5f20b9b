"""The texts of systemd units: a service, and the sockets it takes over.

Plain functions from values to text. It must not know where the values come from.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Unit", "quote", "service_unit", "socket_unit"]

#: Words that mean themselves. Whatever has other characters stands in double quotes (systemd.syntax(7)).
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)

_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r", '"': r"\"", "\\": r"\\"}

#: Seconds without a sign of life after which it is ended and started again. Two signs fall into them.
_WATCHDOG_SECONDS = 30

#: Descriptors: a connection takes one. It is systemd's own upper bound, which the program raises its limit to.
_DESCRIPTORS = 524288


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit is made from.

    Attributes:
        name: of the unit, without a suffix.
        command: the program, as an absolute path, and its arguments.
        what: what it serves, for people.
        stop_seconds: how long it may take to end.
        has_sockets: whether it takes over sockets of the unit of the same name.
        needs_low_ports: whether it binds ports below 1024 by itself.
        reads_homes: whether it has to read below /home.
        groups: more groups it belongs to.
        has_runtime: whether it has a directory below /run, as for a UNIX socket.
    """

    name: str
    command: Sequence[str]
    what: str
    stop_seconds: int
    has_sockets: bool
    needs_low_ports: bool
    reads_homes: bool
    groups: Sequence[str] = ()
    has_runtime: bool = False


def quote(word: str, *, is_program: bool = False) -> str:
    """A word of a command line as it stands in a unit (systemd.service(5), "Command lines").

    Args:
        word: the word.
        is_program: whether it is the first one, in which no variable is looked for.

    Raises:
        ValueError: it is no UTF-8 text, or has a NUL in it.
    """
    if "\0" in word or any("\ud800" <= character <= "\udfff" for character in word):
        raise ValueError(word)
    word = word.replace("%", "%%")
    if not is_program:
        word = word.replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    escaped = (_ESCAPES.get(c) or (c if c.isprintable() or ord(c) > 127 else f"\\x{ord(c):02x}") for c in word)
    return f'"{"".join(escaped)}"'


def service_unit(unit: Unit) -> str:
    """The service."""
    program, *arguments = unit.command
    exec_start = " ".join([quote(program, is_program=True), *(quote(word) for word in arguments)])
    own = f"{unit.name}.socket" if unit.has_sockets else ""
    capability = "CAP_NET_BIND_SERVICE" if unit.needs_low_ports else ""
    sections = (
        (
            "Unit",
            f"Description=Mles server for {_text(unit.what)}",
            *([f"Requires={own}", f"After={own}"] if own else []),
            "Wants=network-online.target",
            "After=network-online.target",
        ),
        (
            "Service",
            "Type=notify",
            f"ExecStart={exec_start}",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "# MLES_KEY=... goes into this file, which root alone has to be able to read.",
            f"EnvironmentFile=-/etc/default/{unit.name}",
            "Restart=on-failure",
            "RestartSec=1",
            f"WatchdogSec={_WATCHDOG_SECONDS}",
            f"TimeoutStopSec={unit.stop_seconds}",
            f"LimitNOFILE={_DESCRIPTORS}",
            "# The memory of a server holds keys and what was said.",
            "LimitCORE=0",
            "",
            "# A user that exists while it runs; its certificates and keys stay in /var/lib/private.",
            "DynamicUser=yes",
            *(f"SupplementaryGroups={group}" for group in unit.groups),
            f"StateDirectory={unit.name}",
            "StateDirectoryMode=0700",
            *([f"RuntimeDirectory={unit.name}"] if unit.has_runtime else []),
            "UMask=0077",
            *([f"AmbientCapabilities={capability}"] if capability else []),
            f"CapabilityBoundingSet={capability}",
            "NoNewPrivileges=yes",
            "",
            "# Not MemoryDenyWriteExecute: the callbacks of OpenSSL's binding are made while it runs.",
            "ProtectSystem=strict",
            f"ProtectHome={'read-only' if unit.reads_homes else 'yes'}",
            "PrivateTmp=yes",
            "PrivateDevices=yes",
            "ProtectClock=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectKernelLogs=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelTunables=yes",
            "ProtectProc=invisible",
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            "RemoveIPC=yes",
            "LockPersonality=yes",
            "SystemCallArchitectures=native",
            "SystemCallFilter=@system-service",
            "SystemCallFilter=~@privileged",
            "SystemCallErrorNumber=EPERM",
        ),
        ("Install", *([f"Also={own}"] if own else []), "WantedBy=multi-user.target"),
    )
    return _write(sections)


def socket_unit(name: str, what: str, addresses: Sequence[tuple[str, int]]) -> str:
    """The sockets of a service, in this order.

    Args:
        name: of the unit, without a suffix.
        what: what it serves, for people.
        addresses: numeric addresses with ports.
    """
    streams = (
        f"ListenStream=[{host}]:{port}" if ":" in host else f"ListenStream={host}:{port}" for host, port in addresses
    )
    return _write(
        (
            ("Unit", f"Description=Sockets of the Mles server for {_text(what)}"),
            (
                "Socket",
                *streams,
                "# One socket for each kind of address, as the server has them by itself.",
                "BindIPv6Only=ipv6-only",
            ),
            ("Install", "WantedBy=sockets.target"),
        )
    )


def _text(text: str) -> str:
    return text.replace("%", "%%")


def _write(sections: Sequence[Sequence[str]]) -> str:
    return "\n".join("\n".join([f"[{name}]", *lines, ""]) for name, *lines in sections)
