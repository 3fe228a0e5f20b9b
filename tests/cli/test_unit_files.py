"""The texts of units."""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.unit_files import Unit, quote, service_unit, socket_unit

UNIT = Unit("mles-tx", ["/opt/mles/bin/mles-tx", "serve"], "example.org", 15, False, False, False)

#: A word, and how a unit has it.
WORDS = (
    ("serve", "serve"),
    ("--domains=example.org,a.test", "--domains=example.org,a.test"),
    ("me@example.org", "me@example.org"),
    ("systemd:index=0", "systemd:index=0"),
    ("100%", "100%%"),
    ("%h/$HOME", '"%%h/$$HOME"'),
    ("${X}", '"$${X}"'),
    ("", '""'),
    ("a b", '"a b"'),
    ("it's", '"it\'s"'),
    ('say "x"', r'"say \"x\""'),
    ("back\\slash", r'"back\\slash"'),
    (";", '";"'),
    ("#", '"#"'),
    ("~", '"~"'),
    ("tab\tline\n\r\x07\x7f", r'"tab\tline\n\r\x07\x7f"'),
    ("grüße", '"grüße"'),
    ("\u2028", '"\u2028"'),
)


class QuoteTests(SynchronousTestCase):
    """Words of a command line."""

    def test_words(self) -> None:
        """Whatever systemd would take for something else is quoted, doubled or escaped."""
        self.assertEqual([(word, quote(word)) for word, _ in WORDS], list(WORDS))

    def test_program(self) -> None:
        """In the name of the program no variable is looked for, but specifiers are."""
        self.assertEqual(quote("/opt/$a 100%/x", is_program=True), '"/opt/$a 100%%/x"')

    def test_not_text(self) -> None:
        """What is no text cannot be in a unit."""
        for word in ("\udcff", "a\0b"):
            self.assertRaises(ValueError, quote, word)


class ServiceUnitTests(SynchronousTestCase):
    """The service."""

    def test_sections(self) -> None:
        """It has its three sections in order, each with what belongs there."""
        text = service_unit(UNIT)
        heads = [line for line in text.splitlines() if line.startswith("[")]
        self.assertEqual(heads, ["[Unit]", "[Service]", "[Install]"])
        self.assertTrue(text.endswith("\n[Install]\nWantedBy=multi-user.target\n"))
        for line in (
            "Type=notify",
            "ExecStart=/opt/mles/bin/mles-tx serve",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "WatchdogSec=30",
            "DynamicUser=yes",
            "StateDirectory=mles-tx",
            "EnvironmentFile=-/etc/default/mles-tx",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "Restart=on-failure",
        ):
            self.assertIn(line, text.splitlines())

    def lines(self, **fields: object) -> set[str]:
        """The lines of one that differs in something, less those it always has."""
        return set(service_unit(replace(UNIT, **fields)).splitlines()) - set(service_unit(UNIT).splitlines())  # type: ignore[arg-type]

    def test_differences(self) -> None:
        """Each of its values makes its difference, and no other."""
        self.assertEqual(
            self.lines(needs_low_ports=True),
            {"AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"},
        )
        self.assertIn("CapabilityBoundingSet=", service_unit(UNIT).splitlines())
        self.assertEqual(
            self.lines(has_sockets=True), {"Requires=mles-tx.socket", "After=mles-tx.socket", "Also=mles-tx.socket"}
        )
        self.assertEqual(self.lines(reads_homes=True), {"ProtectHome=read-only"})
        self.assertEqual(self.lines(stop_seconds=75), {"TimeoutStopSec=75"})
        self.assertEqual(self.lines(groups=["a", "b"]), {"SupplementaryGroups=a", "SupplementaryGroups=b"})
        self.assertEqual(self.lines(name="chat"), {"StateDirectory=chat", "EnvironmentFile=-/etc/default/chat"})
        self.assertEqual(self.lines(what="100%"), {"Description=Mles server for 100%%"})


class SocketUnitTests(SynchronousTestCase):
    """The sockets."""

    def test_whole(self) -> None:
        """One socket for each address, in the order given: the service knows them by it."""
        text = socket_unit("mles-tx", "example.org", [("0.0.0.0", 443), ("::", 443), ("192.0.2.1", 80)])
        self.assertEqual(
            text,
            "[Unit]\nDescription=Sockets of the Mles server for example.org\n\n"
            "[Socket]\nListenStream=0.0.0.0:443\nListenStream=[::]:443\nListenStream=192.0.2.1:80\n"
            "# One socket for each kind of address, as the server has them by itself.\nBindIPv6Only=ipv6-only\n\n"
            "[Install]\nWantedBy=sockets.target\n",
        )
