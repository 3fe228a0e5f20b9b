"""Where an MQTT broker is, and which topic: a URL, taken apart."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from .config import ClientConfigError

__all__ = ["MqttAddress"]

#: Bytes of a topic (MQTT 5 section 1.5.4).
_MAX_TOPIC_BYTES = 65_535

_REMEDY = "give a URL like mqtt://[USER:PASSWORD@]HOST[:PORT][/TOPIC], or mqtts:// for TLS"


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """A topic of a broker.

    Attributes:
        is_secure: whether TLS is spoken.
        host: name or address, without brackets.
        port: its port.
        topic: the topic.
        user: who to be there; None: nobody.
        password: the password for that.
    """

    is_secure: bool
    host: str
    port: int
    topic: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, channel: str) -> "MqttAddress":
        """Take a URL apart; without a topic in it, the topic is called like the channel.

        Raises:
            ClientConfigError: it is none, or the topic is one nobody may publish to. The text does not quote the URL:
                there may be a password in it.
        """
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise ClientConfigError(f"--mqtt: this is no URL; {_REMEDY}") from None
        if parts.scheme not in ("mqtt", "mqtts") or not host or port == 0 or parts.query or parts.fragment:
            raise ClientConfigError(f"--mqtt: this is no URL of a broker; {_REMEDY}")
        topic = unquote(parts.path.removeprefix("/")) or channel
        if any(sign in topic for sign in "+#\0") or topic.startswith("$share/"):
            raise ClientConfigError(f"--mqtt: no topic is called {topic!r}; give another one behind the host, /TOPIC")
        if len(topic.encode("utf-8", "replace")) > _MAX_TOPIC_BYTES or not topic.isprintable():
            raise ClientConfigError("--mqtt: the topic is too long or not printable; give another one")
        is_secure = parts.scheme == "mqtts"
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return cls(is_secure, host, port or (8883 if is_secure else 1883), topic, user, password)

    def __str__(self) -> str:
        """The URL without anything secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.is_secure else 'mqtt'}://{host}:{self.port}/{self.topic}"
