"""Keys, auth values and payloads that are planted, and looked for in everything a server lets out."""

import urllib.request
from contextlib import suppress
from pathlib import Path

from mles_tx.protocol.auth import auth_value
from tests.integration.clients import BINARY, TEXT, frame, join_frame
from tests.ports import free_port

from .peers import Peer, fresh_name
from .program import Probe, Run, main


def plant(run: Run) -> None:
    """Join rightly and wrongly, say something, and look for all of it."""
    key, file_key = fresh_name("s3cretkey"), fresh_name("fil3key")
    directory = run.directory()
    (directory / "key").write_text(file_key)
    admin = free_port()
    flags = ("--key-file", str(directory / "key"), "--admin", f"tcp:{admin}", "--log-level", "debug")
    server = run.start(*flags, environ={"MLES_KEY": key})
    channel, said = fresh_name("secrets"), fresh_name("payl0ad")
    auth = auth_value("alice", channel, key.encode())
    wrong = "0badc0de0badc0de"
    with run.pair(auth=key):
        with Peer(run.target, "alice", channel, auth=auth) as alice:
            bob_auth = auth_value("bob", channel, file_key.encode())
            with Peer(run.target, "bob", channel, auth=bob_auth) as bob:
                alice.say(said.encode(), TEXT)
                while (heard := bob.receive(5)) not in (None, said.encode()):
                    pass
                run.equal("members with the key hear each other", heard, said.encode())
        texts = []
        for data in (
            frame(TEXT, join_frame("eve", channel, auth=wrong).encode()),
            frame(TEXT, join_frame("eve", channel, auth=said).encode()),
            frame(TEXT, said.encode()),
            frame(BINARY, said.encode()),
            frame(TEXT, b'{"uid":"eve","channel":"%s","auth":"%s"' % (channel.encode(), auth.encode())),
        ):
            with Peer(run.target) as eve:
                eve.send(data)
                eve.ended(5)
                texts.append(str(eve.close))
        with run.target.connect() as connection, suppress(OSError):
            fields = f"Host: {said}\r\nAuthorization: {said}\r\nConnection: close"
            head = f"GET /{said}?auth={auth} HTTP/1.1\r\n{fields}\r\n\r\n"
            connection.sendall(head.encode())
            while data := connection.recv(65536):
                texts.append(data.decode("latin-1"))
        for path in ("metrics", "readyz", "livez"):
            texts.append(urllib.request.urlopen(f"http://127.0.0.1:{admin}/{path}", timeout=10).read().decode())
        process = Path(f"/proc/{server.server_pid}")
        shown = (process / "cmdline").read_text() + (process / "comm").read_text()
        planted = {"the key": key, "the key of the file": file_key, "an auth value": auth, "a wrong one": wrong}
        planted["a payload"] = said
        for where, text in (("the log", server.output), ("answers and metrics", "\n".join(texts)), ("ps", shown)):
            found = [what for what, secret in planted.items() if secret in text]
            run.equal(f"planted secrets in {where}", ", ".join(found) or "none", "none")
    run.equal("faults in its log", len(server.faults()), 0)


PROBE = Probe(
    promise="the key, auth values, payloads: in no log, metric, error text or process title",
    does=plant,
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
