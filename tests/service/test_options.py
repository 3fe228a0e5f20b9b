"""The command line and the environment."""

import os
import pwd
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from pwd import struct_passwd
from typing import Any

from platformdirs import user_state_path
from twisted.trial.unittest import SynchronousTestCase

import mles_tx
from mles_tx.service.config import ServerConfig
from mles_tx.service.endpoints import Endpoint
from mles_tx.service.options import Options
from mles_tx.service.privileges import Account
from mles_tx.stores.redis.address import RedisAddress
from mles_tx.transport.certificates.authority import LETS_ENCRYPT_STAGING, ExternalAccount
from mles_tx.transport.inherited import SystemdSocket
from mles_tx.web.routes import Route

STATE = Path("/var/lib/mles")

ENVIRON = {b"STATE_DIRECTORY": b"/var/lib/mles"}

#: What a server is that nobody has told anything.
DEFAULT = ServerConfig(
    domains=(),
    port=None,
    interfaces=(),
    tls=True,
    certificates=(),
    cache=STATE,
    emails=(),
    acme_directory=None,
    acme_ca=None,
    acme_account=None,
    redirect_port=None,
    wwwroot=None,
    proxies=(),
    key=None,
    other_keys=(),
    origins=(),
    limit=200,
    ping_interval=24.0,
    max_missed_pongs=3,
    rate_limit=100,
    filelimit=256,
    trusted_proxies=(),
    proxy_protocol=False,
    compression_cache=10,
    cors=False,
    per_ip_limit=None,
    per_ip_window=None,
    max_channels=100_000,
    history=None,
    durability="relaxed",
    history_max=1024,
    history_total=None,
    metrics_logging=True,
    admin=None,
    log_format="readable",
    log_level="info",
    listen=True,
)

#: A domain that anybody may have, with what it needs.
PUBLIC = "--domains example.org --certificate chain.pem --private-key key.pem"
PUBLIC_FIELDS = {"domains": ("example.org",), "certificates": ((Path("chain.pem"), Path("key.pem")),)}

#: One that orders its certificate.
ORDERING = "--domains example.org"
EMAIL = "me@example.org"

#: What is said about something that is no proxy.
_NETWORK = "not an address or network; give some like 127.0.0.1, 10.0.0.0/8 or fd00::/8"

#: Arguments, and what is then other than by default. `{root}` is a directory, `{key}` a file with a key, `{hmac}`
#: one with the HMAC key of an account with an authority, `{damaged}` one with something else, `{config}` a TOML file.
GOOD: tuple[tuple[str, dict[str, Any]], ...] = (
    ("", {}),
    ("--port 8443", {"port": 8443}),
    ("--port=8443", {"port": 8443}),
    ("-p 8443", {"port": 8443}),
    ("-p8443", {"port": 8443}),
    ("--port 0", {"port": 0}),
    ("--port 1", {"port": 1}),
    ("--port 65535", {"port": 65535}),
    ("--port 0080", {"port": 80}),
    ("--port 1 --port 2", {"port": 2}),
    ("--limit 1", {"limit": 1}),
    ("--limit 999999", {"limit": 999999}),
    ("-l 7", {"limit": 7}),
    ("--ping-interval 1000", {"ping_interval": 1.0}),
    ("--ping-interval 1500", {"ping_interval": 1.5}),
    ("--ping-interval 999999999", {"ping_interval": 999999.999}),
    ("--max-missed-pongs 1", {"max_missed_pongs": 1}),
    ("--max-missed-pongs 9", {"max_missed_pongs": 9}),
    ("--rate-limit 0", {"rate_limit": 0}),
    ("--rate-limit 1", {"rate_limit": 1}),
    ("--rate-limit 9999", {"rate_limit": 9999}),
    ("--filelimit 1", {"filelimit": 1}),
    ("--filelimit 999999", {"filelimit": 999999}),
    ("-f 7", {"filelimit": 7}),
    ("--compression-cache 0", {"compression_cache": 0}),
    ("--compression-cache 1", {"compression_cache": 1}),
    ("--compression-cache 999999", {"compression_cache": 999999}),
    ("-C 7", {"compression_cache": 7}),
    ("--cors", {"cors": True}),
    ("--history memory", {}),
    ("--history sqlite:/var/lib/h.db", {"history": Path("/var/lib/h.db")}),
    ("--history sqlite:/h.db --durability relaxed", {"history": Path("/h.db")}),
    ("--history sqlite:/h.db --durability strict", {"history": Path("/h.db"), "durability": "strict"}),
    ("--history redis://h/1", {"history": RedisAddress("h", database=1)}),
    (
        "--history redis://h/1 --workers 1",
        {"history": RedisAddress("h", database=1), "workers": 1},
    ),
    (
        "--history redis://h/1 --workers 256",
        {"history": RedisAddress("h", database=1), "workers": 256},
    ),
    ("--history-max 16", {"history_max": 16}),
    ("--history-max 99999999", {"history_max": 99999999}),
    ("--history-total 1", {"history_total": 1}),
    ("--history-total 99999999", {"history_total": 99999999}),
    ("--max-channels 1", {"max_channels": 1}),
    ("--max-channels 99999999", {"max_channels": 99999999}),
    ("--trusted-proxy 127.0.0.1", {"trusted_proxies": ("127.0.0.1",)}),
    ("--trusted-proxy 10.0.0.0/8,fd00::/8", {"trusted_proxies": ("10.0.0.0/8", "fd00::/8")}),
    ("--trusted-proxy ::1 --trusted-proxy 10.0.0.1,::1", {"trusted_proxies": ("::1", "10.0.0.1")}),
    ("--proxy-protocol --trusted-proxy ::1", {"trusted_proxies": ("::1",), "proxy_protocol": True}),
    ("--per-ip-limit 0", {"per_ip_limit": 0}),
    ("--per-ip-limit 1", {"per_ip_limit": 1}),
    ("--per-ip-limit 99999", {"per_ip_limit": 99999}),
    ("--per-ip-limit 1 --per-ip-window 1", {"per_ip_limit": 1, "per_ip_window": 1}),
    ("--trusted-proxy ::1 --per-ip-window 86399", {"trusted_proxies": ("::1",), "per_ip_window": 86399}),
    ("--no-metrics-logging", {"metrics_logging": False}),
    ("--admin tcp:9100", {"admin": Endpoint("127.0.0.1", 9100)}),
    ("--admin tcp:0:interface=0.0.0.0", {"admin": Endpoint("0.0.0.0", 0)}),
    ("--admin unix:/run/mles/admin.sock", {"admin": Endpoint("", 0, "/run/mles/admin.sock")}),
    ("--log-format readable", {}),
    ("--log-format json", {"log_format": "json"}),
    ("--log-level info", {}),
    *((f"--log-level {level}", {"log_level": level}) for level in ("debug", "warn", "error")),
    ("--cache /srv/cache", {"cache": Path("/srv/cache")}),
    ("--cache .", {"cache": Path()}),
    ("-c cache", {"cache": Path("cache")}),
    ("--wwwroot {root}", {"wwwroot": ...}),
    ("-w {root}", {"wwwroot": ...}),
    ("--proxy /api=http://127.0.0.1:3000", {"proxies": (Route("/api", "127.0.0.1", 3000),)}),
    (
        "--proxy /a=http://[::1]:1/v1 --proxy=/=http://localhost:2/",
        {"proxies": (Route("/a", "::1", 1, "/v1"), Route("/", "localhost", 2, "/"))},
    ),
    ("--key-file {key}", {"key": b"s3cret"}),
    ("--key-file {key} --key-file {hmac} --key-file {key}", {"key": b"s3cret", "other_keys": (b"c2VjcmV0_-",)}),
    ("--config {config}", {"limit": 7}),
    ("--origin https://example.org", {"origins": ("https://example.org",)}),
    (
        "--origin https://a.test,null --origin https://*.b.test:8443 --origin null",
        {"origins": ("https://a.test", "null", "https://*.b.test:8443")},
    ),
    ("--no-tls", {"tls": False}),
    (PUBLIC, PUBLIC_FIELDS),
    ("-d example.org --certificate chain.pem --private-key key.pem", PUBLIC_FIELDS),
    ("--private-key key.pem --certificate chain.pem -d example.org", PUBLIC_FIELDS),
    (
        PUBLIC + " --certificate other.pem --private-key other-key.pem",
        {
            **PUBLIC_FIELDS,
            "certificates": ((Path("chain.pem"), Path("key.pem")), (Path("other.pem"), Path("other-key.pem"))),
        },
    ),
    ("--domains localhost", {"domains": ("localhost",)}),
    ("--domains localhost,chat.internal,10.0.0.1,::1", {"domains": ("localhost", "chat.internal", "10.0.0.1", "::1")}),
    ("--domains a.test --domains b.test -d c.test", {"domains": ("a.test", "b.test", "c.test")}),
    ("--domains a.test,b.test --domains c.test", {"domains": ("a.test", "b.test", "c.test")}),
    ("--domains A.Test,LOCALHOST", {"domains": ("a.test", "localhost")}),
    ("--domains a.test.,b.test.", {"domains": ("a.test", "b.test")}),
    ("--domains a.test,b.test --domains A.test.", {"domains": ("a.test", "b.test")}),
    ("--domains xn--bcher-kva.test,_chat.a-b.test", {"domains": ("xn--bcher-kva.test", "_chat.a-b.test")}),
    ("--no-tls --domains example.org", {"domains": ("example.org",), "tls": False}),
    (
        "--domains localhost --listen systemd:name=https --listen systemd:domain=INET:index=0",
        {"domains": ("localhost",), "listen_on": (SystemdSocket(None, "https"), SystemdSocket(0, None, "INET"))},
    ),
    (
        "--domains localhost --redirect-listen systemd:index=1 --redirect-listen systemd:index=2",
        {"domains": ("localhost",), "redirect_on": (SystemdSocket(1), SystemdSocket(2))},
    ),
    (
        "--domains localhost --redirect --redirect-listen systemd:index=1",
        {"domains": ("localhost",), "redirect_on": (SystemdSocket(1),)},
    ),
    (
        "--domains localhost --listen systemd:index=0 --redirect-port 443",
        {"domains": ("localhost",), "listen_on": (SystemdSocket(0),), "redirect_port": 443},
    ),
    ("--run-as 1234:5678 --cache /srv", {"run_as": Account(1234, 5678), "cache": Path("/srv")}),
    ("--drain 30", {"drain": 30}),
    ("--drain 0", {}),
    ("--domains localhost --interface 127.0.0.1", {"domains": ("localhost",), "interfaces": ("127.0.0.1",)}),
    (
        "--domains localhost --interface 0.0.0.0 --interface [::]",
        {"domains": ("localhost",), "interfaces": ("0.0.0.0", "::")},
    ),
    ("--domains localhost --interface ::1", {"domains": ("localhost",), "interfaces": ("::1",)}),
    (ORDERING, {"domains": ("example.org",)}),
    ("--domains localhost,example.org", {"domains": ("localhost", "example.org")}),
    (f"{ORDERING} --email {EMAIL}", {"domains": ("example.org",), "emails": (EMAIL,)}),
    (f"{ORDERING} -e {EMAIL} -e you@a.test", {"domains": ("example.org",), "emails": (EMAIL, "you@a.test")}),
    (f"{ORDERING} --staging", {"domains": ("example.org",), "acme_directory": LETS_ENCRYPT_STAGING}),
    (f"-s {ORDERING}", {"domains": ("example.org",), "acme_directory": LETS_ENCRYPT_STAGING}),
    (
        "--domains a.test --acme-directory https://ca.test:14000/dir --acme-ca ca.pem",
        {"domains": ("a.test",), "acme_directory": "https://ca.test:14000/dir", "acme_ca": Path("ca.pem")},
    ),
    (
        f"{ORDERING} --acme-key-id kid --acme-hmac-key {{hmac}}",
        {"domains": ("example.org",), "acme_account": ExternalAccount("kid", "c2VjcmV0_-")},
    ),
    (f"{ORDERING} --redirect", {"domains": ("example.org",), "redirect_port": 80}),
    (f"-r {ORDERING}", {"domains": ("example.org",), "redirect_port": 80}),
    (f"{ORDERING} --redirect-port 8080", {"domains": ("example.org",), "redirect_port": 8080}),
    (f"{ORDERING} --redirect --redirect-port 8080", {"domains": ("example.org",), "redirect_port": 8080}),
    (f"{ORDERING} --redirect-port 0", {"domains": ("example.org",), "redirect_port": 0}),
    (f"{ORDERING} --redirect --redirect-port 0", {"domains": ("example.org",), "redirect_port": 0}),
    (PUBLIC + " --redirect", {**PUBLIC_FIELDS, "redirect_port": 80}),
    ("--max-m 5", {"max_missed_pongs": 5}),
    ("--max-c 5", {"max_channels": 5}),
)

_ENDPOINT = r"give tcp:PORT, tcp:PORT:interface=ADDRESS (its colons as \:) or unix:PATH"
_WHOLE = "give a whole number from "
_HOST = ": not a host name; give names like example.org, international ones in their xn-- form"
_LISTS = "; --help lists the options"
_INTERFACE = ": not an IP address; give one of this machine's, or 0.0.0.0 for all"
_SOCKET = "give systemd:index=N or systemd:name=NAME; for an address there are --port and --interface"
_PAIR = "--certificate: each one needs its --private-key, given in the same order"

_LOCAL = "needs --domains; without it only this machine is served"
_NO_TLS = "of no use with --no-tls; leave one of them away"
_OWN = "of no use with --certificate; leave it away"
_UNKNOWN = "no authority gives those names certificates; leave it away"
_DIRECTORY = "give the https:// URL of the authority's directory"
_EMAIL = "not an address; give one like me@example.org"
_NO_KEY = "no key in base64url; write the key into it"

#: Where no certificate is ordered, and why an option that is about that is refused there.
_NOT_ORDERING = (
    ("", _LOCAL),
    ("--no-tls --domains example.org", _NO_TLS),
    (PUBLIC, _OWN),
    ("--domains localhost,10.0.0.1", _UNKNOWN),
)

#: Options about ordering, and the one that is named when they are refused.
_ABOUT_ORDERS = (
    (f"--email {EMAIL}", "--email"),
    ("--staging", "--staging"),
    ("--acme-ca ca.pem", "--acme-ca"),
    ("--acme-key-id kid --acme-hmac-key {hmac}", "--acme-key-id"),
)

#: Arguments, and the line that then stands on standard error, behind `mles: `.
BAD: tuple[tuple[str, str], ...] = (
    ("--port 65536", f"--port '65536': {_WHOLE}0 to 65535"),
    ("--port -1", f"--port '-1': {_WHOLE}0 to 65535"),
    ("--port http", f"--port 'http': {_WHOLE}0 to 65535"),
    ("--port 80.0", f"--port '80.0': {_WHOLE}0 to 65535"),
    ("--port +80", f"--port '+80': {_WHOLE}0 to 65535"),
    ("--port 0x50", f"--port '0x50': {_WHOLE}0 to 65535"),
    ("--port 8_0", f"--port '8_0': {_WHOLE}0 to 65535"),
    ("--port \u0668\u0660", f"--port '\u0668\u0660': {_WHOLE}0 to 65535"),
    ("--port=", f"--port '': {_WHOLE}0 to 65535"),
    ("--port 99999999999999999999999999", f"--port '99999999999999999999999999': {_WHOLE}0 to 65535"),
    ("-p x", f"--port 'x': {_WHOLE}0 to 65535"),
    ("--limit 0", f"--limit '0': {_WHOLE}1 to 999999"),
    ("--limit 1000000", f"--limit '1000000': {_WHOLE}1 to 999999"),
    ("-l many", f"--limit 'many': {_WHOLE}1 to 999999"),
    ("--ping-interval 999", f"--ping-interval '999': {_WHOLE}1000 to 999999999"),
    ("--ping-interval 1000000000", f"--ping-interval '1000000000': {_WHOLE}1000 to 999999999"),
    ("--ping-interval 24s", f"--ping-interval '24s': {_WHOLE}1000 to 999999999"),
    ("--max-missed-pongs 0", f"--max-missed-pongs '0': {_WHOLE}1 to 9"),
    ("--max-missed-pongs 10", f"--max-missed-pongs '10': {_WHOLE}1 to 9"),
    ("--rate-limit 10000", f"--rate-limit '10000': {_WHOLE}1 to 9999, or 0 to switch it off"),
    ("--rate-limit -5", f"--rate-limit '-5': {_WHOLE}1 to 9999, or 0 to switch it off"),
    ("--rate-limit off", f"--rate-limit 'off': {_WHOLE}1 to 9999, or 0 to switch it off"),
    ("--filelimit 0", f"--filelimit '0': {_WHOLE}1 to 999999"),
    ("--filelimit 1000000", f"--filelimit '1000000': {_WHOLE}1 to 999999"),
    ("--compression-cache -1", f"--compression-cache '-1': {_WHOLE}1 to 999999, or 0 to switch it off"),
    ("--compression-cache 1000000", f"--compression-cache '1000000': {_WHOLE}1 to 999999, or 0 to switch it off"),
    ("-C all", f"--compression-cache 'all': {_WHOLE}1 to 999999, or 0 to switch it off"),
    ("-f all", f"--filelimit 'all': {_WHOLE}1 to 999999"),
    ("--history x", "--history 'x': give memory, sqlite:FILE with the file to keep it in, or the URL of a Redis"),
    ("--history redis://h:p", "--history redis: the host or the port is none; give a URL like redis://HOST:6379/0"),
    (
        "--history redis://h --durability strict",
        "--durability strict: Redis decides that itself (appendfsync); leave it away",
    ),
    ("--durability x", "--durability 'x': give relaxed or strict"),
    ("--durability strict", "--durability strict: memory does not last; give --history sqlite:FILE as well"),
    ("--history-max 15", f"--history-max '15': {_WHOLE}16 to 99999999"),
    ("--history-total 0", f"--history-total '0': {_WHOLE}1 to 99999999"),
    ("--history-total 100000000", f"--history-total '100000000': {_WHOLE}1 to 99999999"),
    ("--history-total 1G", f"--history-total '1G': {_WHOLE}1 to 99999999"),
    ("--max-channels 0", f"--max-channels '0': {_WHOLE}1 to 99999999"),
    ("--max-channels 100000000", f"--max-channels '100000000': {_WHOLE}1 to 99999999"),
    ("--per-ip-limit 100000", f"--per-ip-limit '100000': {_WHOLE}1 to 99999, or 0 to switch it off"),
    ("--per-ip-limit -1", f"--per-ip-limit '-1': {_WHOLE}1 to 99999, or 0 to switch it off"),
    ("--per-ip-limit off", f"--per-ip-limit 'off': {_WHOLE}1 to 99999, or 0 to switch it off"),
    ("--trusted-proxy proxy.test", f"--trusted-proxy 'proxy.test': {_NETWORK}"),
    ("--trusted-proxy unix", f"--trusted-proxy 'unix': {_NETWORK}"),
    ("--trusted-proxy 10.0.0.1,", f"--trusted-proxy '': {_NETWORK}"),
    ("--trusted-proxy 10.0.0.0/33", f"--trusted-proxy '10.0.0.0/33': {_NETWORK}"),
    (
        "--trusted-proxy 10.0.0.1/8",
        "--trusted-proxy '10.0.0.1/8': write it as 10.0.0.0/8, or give a single address",
    ),
    ("--trusted-proxy fe80::1%eth0", "--trusted-proxy 'fe80::1%eth0': leave the zone away"),
    ("--proxy-protocol", "--proxy-protocol: needs --trusted-proxy; give the address of the proxy"),
    ("--per-ip-window 0", f"--per-ip-window '0': {_WHOLE}1 to 86399"),
    ("--per-ip-window 86400", f"--per-ip-window '86400': {_WHOLE}1 to 86399"),
    ("--per-ip-window 60s", f"--per-ip-window '60s': {_WHOLE}1 to 86399"),
    ("--wwwroot {root}/no", "--wwwroot {root}/no: not a directory; make it, or leave the option away"),
    ("--wwwroot {key}", "--wwwroot {key}: not a directory; make it, or leave the option away"),
    ("--proxy /api", "--proxy '/api': give PREFIX=http://HOST:PORT, like /api=http://127.0.0.1:3000"),
    (
        "--proxy /api=http://a:1 --proxy /api/=http://a:2",
        "--proxy /api: given more than once; keep one of them",
    ),
    ("--key-file {root}/no", "--key-file {root}/no: No such file or directory; give a file that can be read"),
    ("--key-file {root}", "--key-file {root}: Is a directory; give a file that can be read"),
    ("--config {root}/no", "--config {root}/no: No such file or directory; give a file that can be read"),
    ("--check=yes", f"option --check must not have an argument{_LISTS}"),
    ("--check --rate-limit x", f"--rate-limit 'x': {_WHOLE}1 to 9999, or 0 to switch it off"),
    ("--origin=", "--origin '': give an origin like https://example.org, https://*.example.org or null"),
    (
        "--origin https://a.test,b.test",
        "--origin 'b.test': an origin is a scheme, a host and perhaps a port: give https://b.test",
    ),
    ("--domains=", f"--domains ''{_HOST}"),
    ("--domains a.test,", f"--domains ''{_HOST}"),
    ("--domains a..test", f"--domains 'a..test'{_HOST}"),
    ("--domains -a.test", f"--domains '-a.test'{_HOST}"),
    ("--domains *.test", f"--domains '*.test'{_HOST}"),
    ("--domains a.test:443", f"--domains 'a.test:443'{_HOST}"),
    ("--domains https://a.test", f"--domains 'https://a.test'{_HOST}"),
    ("--domains ../a.test", f"--domains '../a.test'{_HOST}"),
    ("--domains b\u00fccher.test", f"--domains 'b\u00fccher.test'{_HOST}"),
    ("--domains " + "a" * 64 + ".test", f"--domains '{'a' * 64}.test'{_HOST}"),
    ("--domains a\n.test", f"--domains 'a\\n.test'{_HOST}"),
    *(
        (f"{where} {words}", f"{option}: {reason}")
        for where, reason in _NOT_ORDERING
        for words, option in _ABOUT_ORDERS
    ),
    ("--acme-directory https://ca.test/", f"--acme-directory: {_LOCAL}"),
    ("--no-tls --domains a.test --acme-directory https://ca.test/", f"--acme-directory: {_NO_TLS}"),
    (PUBLIC + " --acme-directory https://ca.test/", f"--acme-directory: {_OWN}"),
    ("--domains 10.0.0.1 --acme-directory https://ca.test/", f"--acme-directory: {_UNKNOWN}"),
    *(
        (f"{ORDERING} --acme-directory {url}", f"--acme-directory '{url}': {_DIRECTORY}")
        for url in ("http://ca.test/", "ca.test", "https://", "https://ca.test:port/", "https://me@ca.test/")
    ),
    (
        f"{ORDERING} --staging --acme-directory https://ca.test/",
        "--staging: --acme-directory is given as well; keep one of them",
    ),
    *((f"{ORDERING} --email {email}", f"--email '{email}': {_EMAIL}") for email in ("me", "@a.test", "a@b@c")),
    (f"{ORDERING} -e {EMAIL},you@a.test", f"--email '{EMAIL},you@a.test': {_EMAIL}"),
    (f"{ORDERING} --acme-key-id kid", "--acme-key-id: needs --acme-hmac-key; the authority gives both"),
    (f"{ORDERING} --acme-hmac-key {{hmac}}", "--acme-hmac-key: needs --acme-key-id; the authority gives both"),
    (f"{ORDERING} --acme-key-id kid --acme-hmac-key {{damaged}}", f"--acme-hmac-key {{damaged}}: {_NO_KEY}"),
    (
        f"{ORDERING} --acme-key-id kid --acme-hmac-key {{root}}/no",
        "--acme-hmac-key {root}/no: No such file or directory; give a file that can be read",
    ),
    ("--redirect", f"--redirect: {_LOCAL}"),
    ("--redirect-port 0", f"--redirect: {_LOCAL}"),
    ("--redirect --no-tls --domains example.org", f"--redirect: {_NO_TLS}"),
    ("--redirect-port 8081 --no-tls --domains example.org", f"--redirect: {_NO_TLS}"),
    (f"{ORDERING} --redirect-port 65536", f"--redirect-port '65536': {_WHOLE}0 to 65535"),
    (f"{ORDERING} --redirect-port http", f"--redirect-port 'http': {_WHOLE}0 to 65535"),
    *(
        (f"--domains localhost {option} {text}", f"{option} '{text}': {_SOCKET}")
        for option in ("--listen", "--redirect-listen")
        for text in ("tcp:443", "systemd:", "systemd:index=x", "443")
    ),
    ("--listen systemd:index=0", "--listen: needs --domains; without it only this machine is served"),
    ("--redirect-listen systemd:index=0", f"--redirect-listen: {_LOCAL}"),
    ("--redirect-listen systemd:index=0 --no-tls --domains a.test", f"--redirect-listen: {_NO_TLS}"),
    (
        "--domains localhost --listen systemd:index=0 --port 443",
        "--listen: --port is given as well; keep one of them",
    ),
    (
        "--domains localhost --listen systemd:index=0 --interface ::1",
        "--listen: --interface is given as well; keep one of them",
    ),
    (
        "--domains localhost --redirect-listen systemd:index=0 --redirect-port 0",
        "--redirect-listen: --redirect-port is given as well; keep one of them",
    ),
    (
        "--domains localhost --listen systemd:index=0 --listen systemd:index=0",
        "--listen systemd:index=0: taken already; name each socket once",
    ),
    (
        "--domains localhost --listen systemd:index=0 --redirect-listen systemd:index=0",
        "--redirect-listen systemd:index=0: taken already; name each socket once",
    ),
    ("--workers 0", "--workers '0': give a whole number from 1 to 256"),
    ("--workers 257", "--workers '257': give a whole number from 1 to 256"),
    (
        "--workers 2",
        "--workers 2: several processes share what is said through Redis; give --history redis://HOST/DB as well",
    ),
    (
        "--workers 2 --history sqlite:/h.db",
        "--workers 2: several processes share what is said through Redis; give --history redis://HOST/DB as well",
    ),
    ("--run-as root", "--run-as 'root': that is root; give a user that has no privileges"),
    (
        "--run-as no-such-user",
        "--run-as 'no-such-user': no such user on this machine; make one (useradd --system), or give another",
    ),
    ("--drain 3601", f"--drain '3601': {_WHOLE}0 to 3600"),
    ("--drain 1.5", f"--drain '1.5': {_WHOLE}0 to 3600"),
    ("--admin 9100", f"--admin '9100': {_ENDPOINT}"),
    ("--admin=", f"--admin '': {_ENDPOINT}"),
    ("--admin ssl:9100", f"--admin 'ssl:9100': {_ENDPOINT}"),
    ("--admin tcp:http", "--admin 'tcp:http': the port is a whole number from 0 to 65535"),
    (
        "--admin tcp:9100:interface=eth0",
        "--admin 'tcp:9100:interface=eth0': the interface is a numeric address, 127.0.0.1 when it is left away",
    ),
    ("--log-format xml", "--log-format 'xml': give readable or json"),
    ("--log-format=", "--log-format '': give readable or json"),
    ("--log-format JSON", "--log-format 'JSON': give readable or json"),
    ("--log-level critical", "--log-level 'critical': give debug, info, warn or error"),
    ("--log-level 3", "--log-level '3': give debug, info, warn or error"),
    ("--staging=yes", f"option --staging must not have an argument{_LISTS}"),
    ("--domains localhost --interface eth0", f"--interface 'eth0'{_INTERFACE}"),
    ("--domains localhost --interface localhost", f"--interface 'localhost'{_INTERFACE}"),
    ("--domains localhost --interface 127.0.0.1:80", f"--interface '127.0.0.1:80'{_INTERFACE}"),
    ("--interface 127.0.0.1", "--interface: needs --domains; without it only this machine is served"),
    (
        "--certificate a.pem --private-key b.pem",
        "--certificate: needs --domains; without it only this machine is served",
    ),
    ("--domains example.org --certificate chain.pem", _PAIR),
    ("--domains example.org --private-key key.pem", _PAIR),
    (PUBLIC + " --certificate other.pem", _PAIR),
    ("--no-tls " + PUBLIC, "--certificate: of no use with --no-tls; leave one of them away"),
    ("--cors=yes", f"option --cors must not have an argument{_LISTS}"),
    ("--no-metrics-logging=yes", f"option --no-metrics-logging must not have an argument{_LISTS}"),
    ("--no-tls=yes", f"option --no-tls must not have an argument{_LISTS}"),
    ("--port", f"option --port requires argument{_LISTS}"),
    ("-p", f"option -p requires argument{_LISTS}"),
    ("--cache", f"option --cache requires argument{_LISTS}"),
    ("--nonsense", f"option --nonsense not recognized{_LISTS}"),
    ("-x", f"option -x not recognized{_LISTS}"),
    ("--p 80", f"option --p not a unique prefix{_LISTS}"),
    ("serve", f"'serve': not an option{_LISTS}"),
    ("--port 80 extra", f"'extra': not an option{_LISTS}"),
    ("80 --port", f"'80': not an option{_LISTS}"),
)


@dataclass(frozen=True)
class Ended:
    """How a program ended that did not begin to serve."""

    code: object
    out: str
    err: str


class OptionsTestCase(SynchronousTestCase):
    """A directory, a key file, and command lines."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.key_file = self.root / "key"
        self.key_file.write_bytes(b"s3cret\n")
        self.hmac_file = self.root / "hmac"
        self.hmac_file.write_bytes(b"c2VjcmV0_-\n")
        self.damaged_file = self.root / "damaged"
        self.damaged_file.write_bytes(b"not base64url!\n")
        self.config_file = self.root / "mles.toml"
        self.config_file.write_text("limit = 7\n")

    def fill(self, text: str) -> str:
        """A text of the tables with the names of directory and files."""
        for name, path in (
            ("{root}", self.root),
            ("{key}", self.key_file),
            ("{hmac}", self.hmac_file),
            ("{damaged}", self.damaged_file),
            ("{config}", self.config_file),
        ):
            text = text.replace(name, str(path))
        return text

    def parse(self, line: str, environ: Mapping[bytes, bytes] = ENVIRON) -> Options:
        """A command line, parsed."""
        options = Options(environ)
        options.parseOptions([self.fill(word) for word in line.split(" ") if word])
        return options

    def config(self, line: str, environ: Mapping[bytes, bytes] = ENVIRON) -> ServerConfig:
        """What a server is to be."""
        return self.parse(line, environ).config()

    def end(self, line: str, environ: Mapping[bytes, bytes] = ENVIRON) -> Ended:
        """A command line that ends the program."""
        out, err = StringIO(), StringIO()
        code: object = "it goes on"
        with redirect_stdout(out), redirect_stderr(err):
            try:
                self.parse(line, environ)
            except SystemExit as error:
                code = error.code
        return Ended(code, out.getvalue(), err.getvalue())

    def assert_refused(self, line: str, message: str, environ: Mapping[bytes, bytes] = ENVIRON) -> None:
        """The program ends with code 1, and this line alone on standard error."""
        self.assertEqual(self.end(line, environ), Ended(1, "", self.fill(f"mles: {message}\n")))


class ArgumentTests(OptionsTestCase):
    """Arguments of the command line."""

    def test_defaults(self) -> None:
        """Without arguments each option has its default, and there are no other options."""
        self.assertEqual(
            dict(self.parse("")),
            {
                "acme-ca": None,
                "acme-directory": None,
                "acme-hmac-key": None,
                "acme-key-id": None,
                "admin": None,
                "cache": None,
                "certificate": [],
                "check": 0,
                "config": None,
                "compression-cache": 10,
                "cors": 0,
                "domains": [],
                "drain": 0,
                "email": [],
                "filelimit": 256,
                "history": None,
                "durability": "relaxed",
                "history-max": 1024,
                "history-total": None,
                "interface": [],
                "key-file": [],
                "limit": 200,
                "listen": [],
                "log-format": "readable",
                "log-level": "info",
                "max-channels": 100000,
                "max-missed-pongs": 3,
                "no-metrics-logging": 0,
                "no-tls": 0,
                "origin": [],
                "per-ip-limit": None,
                "per-ip-window": None,
                "ping-interval": 24000,
                "port": None,
                "private-key": [],
                "proxy-protocol": 0,
                "proxy": [],
                "rate-limit": 100,
                "redirect": 0,
                "redirect-listen": [],
                "redirect-port": None,
                "run-as": None,
                "workers": None,
                "staging": 0,
                "trusted-proxy": [],
                "wwwroot": None,
            },
        )

    def test_good(self) -> None:
        """Each option does what it says, and changes nothing else."""
        found, expected = [], []
        for line, fields in GOOD:
            changes: dict[str, Any] = dict(fields)
            if "wwwroot" in changes:
                changes["wwwroot"] = self.root
            found.append((line, self.config(line)))
            expected.append((line, replace(DEFAULT, **changes)))
        self.assertEqual(found, expected)

    def test_bad(self) -> None:
        """What cannot be served with is told in one line, with the option and what to do instead."""
        found = [(line, self.end(line)) for line, _ in BAD]
        self.assertEqual(found, [(line, Ended(1, "", self.fill(f"mles: {message}\n"))) for line, message in BAD])

    def test_every_option_is_tested(self) -> None:
        """The tables have a good and a bad value for each option, in its long and short form."""
        options = Options(ENVIRON)
        names = {name.rstrip("=") for name in options.longOpt} - {"help", "version"}
        for table in (GOOD, BAD):
            lines = " ".join(line for line, _ in table)
            missing = [name for name in sorted(names) if f"--{name}" not in lines]
            self.assertEqual(missing, ["check"] if table is GOOD else [])  # that one has tests of its own
        short = set(options.shortOpt.replace(":", "")) - {"h"}
        lines = " ".join(line for line, _ in GOOD)
        self.assertEqual([name for name in sorted(short) if f"-{name} " not in lines], [])

    def test_damaged_hmac_key(self) -> None:
        """A file without an HMAC key in base64url is refused, and what is in it is not shown."""
        line = f"{ORDERING} --acme-key-id kid --acme-hmac-key {{damaged}}"
        for content in (b"", b"\n", b"s3cret+/s3cret", b"\xff\xfe", b"two\nlines", b"a"):
            self.damaged_file.write_bytes(content)
            self.assert_refused(line, f"--acme-hmac-key {{damaged}}: {_NO_KEY}")

    def test_hmac_key_is_not_shown(self) -> None:
        """The HMAC key stands in nothing that could be logged."""
        options = self.parse(f"{ORDERING} --acme-key-id kid --acme-hmac-key {{hmac}}")
        self.assertNotIn("c2VjcmV0", f"{options.config()!r} {options} {dict(options)}")

    def test_domain_twice(self) -> None:
        """A domain that is given twice counts once, however it is given."""
        self.assertEqual(self.config("--domains a.test,b.test,A.test. --domains b.test").domains, ("a.test", "b.test"))

    def test_address_as_domain(self) -> None:
        """An address counts in the form in which browsers and certificates write it, and without a zone."""
        self.assertEqual(self.config("--domains 0:0:0:0:0:0:0:1,::1,2001:DB8:0::1").domains, ("::1", "2001:db8::1"))
        self.assert_refused("--domains fe80::1%eth0", f"--domains 'fe80::1%eth0'{_HOST}")

    def test_values_that_are_not_text(self) -> None:
        """Bytes that are no text are shown in some form, and are no reason for a traceback."""
        options = Options(ENVIRON)
        err = StringIO()
        with redirect_stderr(err):
            self.assertRaises(SystemExit, options.parseOptions, ["--domains", os.fsdecode(b"\xff.test")])
        self.assertEqual(err.getvalue(), f"mles: --domains '\\udcff.test'{_HOST}\n")

    def test_runs_share_nothing(self) -> None:
        """What one command line says is not there for the next."""
        self.config("--domains localhost --interface 127.0.0.1 --port 1")
        self.assertEqual(self.config(""), DEFAULT)


class CheckTests(OptionsTestCase):
    """--check."""

    def test_good(self) -> None:
        """Settings a server could start with are told so, with code 0."""
        for line in ("--check", "--check --config {config}", "--port 1 --check"):
            self.assertEqual(self.end(line), Ended(0, "mles: the settings are good\n", ""))

    def test_bad(self) -> None:
        """A file that a server would only look at when it starts is looked at, and told with code 1."""
        self.assert_refused(
            "--domains a.test --certificate {root}/no --private-key {key} --check",
            "--certificate {root}/no: No such file or directory; give a file that can be read",
        )


class HelpTests(OptionsTestCase):
    """Questions about the program itself."""

    def test_help(self) -> None:
        """--help and -h show every option with what it is for, its default and the environment, and end well."""
        ended = self.end("--help")
        self.assertEqual((ended.code, ended.err), (0, ""))
        self.assertEqual(self.end("-h"), ended)
        for name in Options(ENVIRON).longOpt:
            self.assertIn(f"--{name}", ended.out)
        self.assertIn("MLES_KEY", ended.out)
        text = " ".join(ended.out.split())
        for default in ("[default: 200]", "[default: 3]", "[default: 24000]", "[default: 443 with TLS, else 8080]"):
            self.assertIn(default, text)
        self.assertLessEqual(max(len(line) for line in ended.out.splitlines()), 80)

    def test_version(self) -> None:
        """--version shows the version, and ends well."""
        self.assertEqual(self.end("--version"), Ended(0, f"mles_tx {mles_tx.__version__}\n", ""))

    def test_help_comes_first(self) -> None:
        """Who asks for help gets it, whatever else is missing or does not fit."""
        self.assertEqual(self.end("--email me --help").code, 0)


class EnvironmentTests(OptionsTestCase):
    """What the environment says."""

    def test_key(self) -> None:
        """MLES_KEY is the key, byte for byte."""
        for key in (b"s3cret", b" with space ", b"\xff\x01", b"0", b"\n"):
            self.assertEqual(self.config("", {**ENVIRON, b"MLES_KEY": key}), replace(DEFAULT, key=key))

    def test_empty_key(self) -> None:
        """An empty MLES_KEY is refused: it was to be a key, and would let everybody in."""
        self.assert_refused(
            "", "MLES_KEY: empty; set a key, or unset it to let everybody join", {**ENVIRON, b"MLES_KEY": b""}
        )

    def test_key_file(self) -> None:
        """A key from a file loses the end of its line, and nothing else."""
        for content, key in (
            (b"s3cret", b"s3cret"),
            (b"s3cret\n", b"s3cret"),
            (b"s3cret\r\n", b"s3cret"),
            (b" s3cret \n", b" s3cret "),
            (b"\ns3cret\n\n", b"\ns3cret"),
            (b"\x00\xff", b"\x00\xff"),
        ):
            self.key_file.write_bytes(content)
            self.assertEqual((content, self.config("--key-file {key}").key), (content, key))

    def test_empty_key_file(self) -> None:
        """A file without a key in it is refused."""
        for content in (b"", b"\n", b"\r\n\r\n"):
            self.key_file.write_bytes(content)
            self.assert_refused("--key-file {key}", "--key-file {key}: empty; write the key into it")

    def test_two_keys(self) -> None:
        """A key in both places is two keys, and the same key twice is one; an empty one is none."""
        for key, others in ((b"s3cret", ()), (b"other", (b"s3cret",))):
            self.assertEqual(
                self.config("--key-file {key}", {**ENVIRON, b"MLES_KEY": key}),
                replace(DEFAULT, key=key, other_keys=others),
            )
        self.assert_refused(
            "--key-file {key}",
            "MLES_KEY: empty; set a key, or unset it to let everybody join",
            {**ENVIRON, b"MLES_KEY": b""},
        )

    def test_key_is_not_shown(self) -> None:
        """The key stands in nothing that could be logged."""
        options = self.parse("", {**ENVIRON, b"MLES_KEY": b"s3cret"})
        self.assertEqual(options.config().key, b"s3cret")
        self.assertNotIn("s3cret", f"{options.config()!r} {options} {dict(options)}")
        ended = self.end("--limit 0", {**ENVIRON, b"MLES_KEY": b"s3cret"})
        self.assertNotIn("s3cret", ended.err)

    def test_state_directory(self) -> None:
        """State goes where systemd says, the first place of several; --cache is stronger."""
        for value, cache in (
            (b"/var/lib/mles", Path("/var/lib/mles")),
            (b"/var/lib/mles:/var/lib/other", Path("/var/lib/mles")),
            (b"/var/lib/\xff", Path(os.fsdecode(b"/var/lib/\xff"))),
        ):
            self.assertEqual(self.config("", {b"STATE_DIRECTORY": value}).cache, cache)
        self.assertEqual(self.config("--cache here").cache, Path("here"))

    def test_state_directory_of_another_user(self) -> None:
        """Who is to become somebody else keeps its state in that user's home, if there is one."""
        user = pwd.getpwnam("daemon")
        self.patch(pwd, "getpwnam", lambda name: struct_passwd((*user[:5], str(self.root), user.pw_shell)))
        self.assertEqual(self.config("--run-as daemon", {}).cache, self.root / ".local" / "state" / "mles_tx")
        self.assertEqual(self.config("--run-as daemon", {b"STATE_DIRECTORY": b"/srv"}).cache, Path("/srv"))
        self.assertEqual(self.config("--run-as daemon --cache here", {}).cache, Path("here"))
        line = "--run-as 1234:5678 --domains localhost"
        no_home = "--run-as 1234: has no home directory; give --cache, a directory of its own"
        self.assert_refused(line, no_home, {})
        self.assertEqual(self.config(f"{line} --no-tls", {}).cache, user_state_path("mles_tx"))
        own = self.config(f"{line} --certificate a.pem --private-key a.key", {})  # nothing is kept in the cache then
        self.assertEqual((own.cache, own.uses_cache), (user_state_path("mles_tx"), False))

    def test_no_state_directory(self) -> None:
        """Without it, state goes where the platform puts it."""
        for environ in ({}, {b"STATE_DIRECTORY": b""}):
            self.assertEqual(self.config("", environ).cache, user_state_path("mles_tx"))

    def test_own_environment(self) -> None:
        """Unless told otherwise it looks at the environment of its process."""
        before = dict(os.environb)
        self.addCleanup(os.environb.update, before)
        self.addCleanup(os.environb.clear)
        os.environb.update({b"MLES_KEY": b"from outside", b"STATE_DIRECTORY": b"/srv/state"})
        options = Options()
        options.parseOptions([])
        self.assertEqual(options.config(), replace(DEFAULT, key=b"from outside", cache=Path("/srv/state")))

    def test_other_variables(self) -> None:
        """No other variable makes a difference."""
        environ = {**ENVIRON, b"PORT": b"1", b"MLES_PORT": b"2", b"MLES_LIMIT": b"3", b"LIMIT": b"x"}
        self.assertEqual(self.config("", environ), DEFAULT)
