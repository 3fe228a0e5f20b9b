"""The settings file, and through it every option."""

from pathlib import Path

from twisted.python import usage

from mles_tx.service.config import ConfigError, ServerConfig
from mles_tx.service.options import Options

__all__ = ["run", "seeds"]


class _Options(Options):
    content = b""

    def read(self, option: str, path: Path) -> bytes:
        if option == "--config":
            return self.content
        raise ConfigError(f"{option} {path}: no other file is read here")


def run(data: bytes) -> None:
    """A configuration, or an error of one printable line."""
    options = _Options({})
    options.content = data
    try:
        options.parse(["--config", "settings.toml"])
        config = options.config()
    except (ConfigError, usage.UsageError) as error:
        line = str(error)
        assert line.isprintable(), f"not one printable line: {line!r}"
    else:
        assert isinstance(config, ServerConfig)


def seeds() -> list[bytes]:
    """Files as an operator writes them."""
    return [
        b'domains = ["localhost", "example.org"]\nport = 8443\nlimit = 10\nredirect = true\n',
        b'history = "sqlite:x.db"\ndurability = "strict"\nno-tls = true\n',
        b'history = "redis://:secret@localhost:6379/1"\n',
        b'origin = "https://example.org"\nproxy = "/api=http://127.0.0.1:3000"\ntrusted-proxy = ["10.0.0.0/8"]\n',
        b'admin = "tcp:9100"\nlog-level = "debug"\nrate-limit = 1_0\nper-ip-window = 0x10\ndrain = 1.5\n',
    ]
