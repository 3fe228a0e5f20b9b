"""Started as root: whether it says how to do without, and gives root up when it is told to."""

import os
import pwd
from pathlib import Path

from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main


def start_as_root(run: Run) -> None:
    """Start it twice: as it is, and with a user to become."""
    if os.geteuid() != 0:
        run.unknown("root", "this is not run by root")
        return
    server = run.start()
    with Peer(run.target, "alice", fresh_name("root")):
        pass
    run.equal("says how to run without root", "running as root" in server.output, True)
    server.stop()
    directory = run.directory()
    directory.chmod(0o755)
    cache = directory / "cache"
    cache.mkdir(mode=0o700)
    user = pwd.getpwnam(run.user)
    os.chown(cache, user.pw_uid, user.pw_gid)
    server = run.start("--run-as", run.user, directory=directory)
    with run.pair():
        status = Path(f"/proc/{server.server_pid}/status").read_text()
        ids = {name: set(line.split()) for name, _, line in (row.partition(":") for row in status.splitlines())}
        run.equal("its user ids", ids["Uid"], {str(user.pw_uid)})
        run.equal("its group ids", ids["Gid"] | ids["Groups"], {str(user.pw_gid)})
        run.equal("its capabilities", ids["CapEff"] | ids["CapPrm"], {"0000000000000000"})
    run.no_faults()


PROBE = Probe(
    promise="running as root: gives up root after binding, or says how to run without it",
    does=start_as_root,
    options=(Option("user", "nobody", "whom it is to become"),),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
