"""Giving up root: to whom, for good, and with what they need to go on.

Only what runs as a program of its own may do this to its process. It must not know what is served.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Account", "PrivilegeError", "become", "find_account", "hand_over", "unusable"]


class PrivilegeError(Exception):
    """Root cannot be given up, or not to this user; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user and a group of this machine.

    Attributes:
        uid: the user's number, not 0.
        gid: the group's number.
        name: the user's name; None: the number has none.
        home: the user's home directory; None: it is not there.
    """

    uid: int
    gid: int
    name: str | None = None
    home: Path | None = None

    def __str__(self) -> str:
        return self.name or str(self.uid)


def find_account(text: str) -> Account:
    """The account that `USER`, `USER:GROUP` or their numbers name.

    Raises:
        PrivilegeError: there is none, or it is root's.
    """
    user, colon, group = text.partition(":")
    entry = _entry(user)
    if entry is None and not _is_number(user):
        raise PrivilegeError("no such user on this machine; make one (useradd --system), or give another")
    if colon:
        gid = _gid(group)
    elif entry is None:
        raise PrivilegeError("a number without a name has no group: give USER:GROUP")
    else:
        gid = entry.pw_gid
    uid = int(user) if entry is None else entry.pw_uid
    if uid == 0:
        raise PrivilegeError("that is root; give a user that has no privileges")
    if entry is None:
        return Account(uid, gid)
    home = Path(entry.pw_dir)
    return Account(uid, gid, entry.pw_name, home if home.is_dir() else None)


def become(account: Account) -> None:
    """Be somebody else from now on, for good.

    Raises:
        PrivilegeError: this process may not.
    """
    if (os.getresuid(), os.getresgid()) == ((account.uid,) * 3, (account.gid,) * 3):
        return
    if os.geteuid() != 0:
        raise PrivilegeError("only root can become somebody else: start as root, or leave the option away")
    try:
        if account.name is None:
            os.setgroups([account.gid])
        else:
            os.initgroups(account.name, account.gid)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    except OSError as error:
        raise PrivilegeError(
            f"{error.strerror}; in a container, allow CAP_SETUID and CAP_SETGID, or start as that user"
        ) from None
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise PrivilegeError("root can be taken back, so it was not given up; start as that user")


def hand_over(directory: Path, account: Account) -> None:
    """Make a directory for a user, readable by nobody else; what is there already stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700)
        # Whoever owns the directory above may have put something else in its place.
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def unusable(directory: Path) -> Path | None:
    """Something in a directory, or itself, that this process cannot use; None: all of it can be used."""
    for folder, folders, files in os.walk(directory):
        here = Path(folder)
        if not os.access(here, os.R_OK | os.W_OK | os.X_OK):
            return here
        for name in folders:  # os.walk passes over what it cannot read
            if not os.access(here / name, os.R_OK | os.W_OK | os.X_OK):
                return here / name
        for name in files:
            if not os.access(here / name, os.R_OK):
                return here / name
    return directory if directory.is_dir() and not os.access(directory, os.R_OK | os.W_OK | os.X_OK) else None


def _entry(user: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(user)) if _is_number(user) else pwd.getpwnam(user)
    except KeyError:
        return None


def _gid(group: str) -> int:
    if _is_number(group):
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise PrivilegeError("no such group on this machine; make one (groupadd --system), or give another") from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
