"""Where a broker is and which topic."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.config import ClientConfigError
from mles_tx.client.mqtt_address import MqttAddress

_FORM = "give a URL like mqtt://[USER:PASSWORD@]HOST[:PORT][/TOPIC], or mqtts:// for TLS"

GOOD = (
    ("mqtt://broker", (False, "broker", 1883, "the channel", None, None), "mqtt://broker:1883/the channel"),
    ("mqtts://broker/", (True, "broker", 8883, "the channel", None, None), "mqtts://broker:8883/the channel"),
    ("mqtt://[::1]:99/a/b", (False, "::1", 99, "a/b", None, None), "mqtt://[::1]:99/a/b"),
    ("mqtt://me@h/gr%C3%BCn%20", (False, "h", 1883, "grün ", "me", None), "mqtt://h:1883/grün "),
    ("mqtt://me:p%40ss@h", (False, "h", 1883, "the channel", "me", "p@ss"), "mqtt://h:1883/the channel"),
)

BAD = (
    ("broker:1883", f"--mqtt: this is no URL of a broker; {_FORM}"),
    ("http://broker", f"--mqtt: this is no URL of a broker; {_FORM}"),
    ("mqtt:///topic", f"--mqtt: this is no URL of a broker; {_FORM}"),
    ("mqtt://me:s3cret@h:0", f"--mqtt: this is no URL of a broker; {_FORM}"),
    ("mqtt://me:s3cret@h:99999", f"--mqtt: this is no URL; {_FORM}"),
    ("mqtt://me:s3cret@h/x?y", f"--mqtt: this is no URL of a broker; {_FORM}"),
    ("mqtt://h/a%2Bb", "--mqtt: no topic is called 'a+b'; give another one behind the host, /TOPIC"),
    ("mqtt://h/a%23", "--mqtt: no topic is called 'a#'; give another one behind the host, /TOPIC"),
    ("mqtt://h/$share/x/y", "--mqtt: no topic is called '$share/x/y'; give another one behind the host, /TOPIC"),
    ("mqtt://h/a%0A", "--mqtt: the topic is too long or not printable; give another one"),
    ("mqtt://h/" + "x" * 65_536, "--mqtt: the topic is too long or not printable; give another one"),
)


class AddressTests(SynchronousTestCase):
    """URLs."""

    def test_good(self) -> None:
        """A URL says all there is to say; what it does not is the usual; shown, it has nothing secret."""
        for url, fields, shown in GOOD:
            address = MqttAddress.parse(url, "the channel")
            self.assertEqual(address, MqttAddress(*fields), url)
            self.assertEqual(str(address), shown)
            self.assertNotIn("p@ss", repr(address))

    def test_bad(self) -> None:
        """Whatever is none is refused with the remedy, and without what may be secret."""
        for url, text in BAD:
            error = self.assertRaises(ClientConfigError, MqttAddress.parse, url, "the channel")
            self.assertEqual(str(error), text, url)

    def test_channel(self) -> None:
        """A channel that no topic can be called like needs another topic."""
        self.assertRaises(ClientConfigError, MqttAddress.parse, "mqtt://h", "c#")
        self.assertEqual(MqttAddress.parse("mqtt://h/c", "c#").topic, "c")
