"""The bundled page with a secret: it and an independent implementation read each other, and nobody else does."""

import hashlib
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt,
)
from nacl.exceptions import CryptoError

from .browsers import Chat, PageTestCase
from .clients import Member
from .support import LOCAL

#: A secret for all tests; what is in it has to be escaped in links.
SECRET = "correct & horse ü"

FRAGMENT_SECRET = "&secret=correct%20%26%20horse%20%C3%BC"


def key_for(secret: str, channel: str) -> bytes:
    """The key of a room, as mles-client derives it."""
    salt = hashlib.blake2b(channel.encode()).digest()[:16]
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**17, r=8, p=1, dklen=32, maxmem=256 * 1024 * 1024)


def seal(key: bytes, text: str) -> bytes:
    """A frame of mles-client."""
    nonce = os.urandom(24)
    return nonce + encrypt(text.encode(), None, nonce, key)


def unseal(key: bytes, frame: str | bytes) -> str:
    """What is in a frame of mles-client.

    Raises:
        CryptoError: it was sealed with another key.
    """
    assert isinstance(frame, bytes)
    return decrypt(frame[24:], None, frame[:24], key).decode()


class SealedTests(PageTestCase):
    """Two that share a secret, and some that do not."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.shared_server(LOCAL)
        self.key = key_for(SECRET, self.room)

    def bob(self) -> Member:
        """Another client, which sees what the server sees."""
        return self.member(self.server, "bob", self.room)

    def sealed_page(self, secret: str = FRAGMENT_SECRET, uid: str = "alice") -> Chat:
        """The page with a secret."""
        return self.open(self.server, f"{self.room}{secret}", uid).joined()

    def test_both_ways(self) -> None:
        """What the page says is what mles-client says, and what mles-client says is shown; a line that is sealed
        twice is one.
        """
        bob = self.bob()
        bob.send(seal(self.key, '{"uid": "bob", "channel": "x", "auth": "0"}'))
        bob.send(seal(self.key, "2026-11-22T12:00:00Z bob: from before: ü\nand more"))
        page = self.sealed_page()
        self.assertEqual(page.find("#privacy").text, "Encrypted")
        bob.send(seal(self.key, "2026-11-22T12:00:01Z bob: live"))
        bob.send(seal(self.key, "2026-11-22T12:00:01Z bob: live"))
        page.await_texts("bob joined", "bob joined", "from before: ü\nand more", "live")
        page.say("hello ü")
        page.say("hello ü")  # other clients would take an equal line for the same
        said = [unseal(self.key, bob.receive()) for _ in range(2)]
        for line in said:
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ alice: hello ü$")
        self.assertNotEqual(*said)
        page.browser.refresh()
        page.joined()
        page.await_texts("bob joined", "bob joined", "from before: ü\nand more", "live", "hello ü", "hello ü")
        self.assertEqual([json.loads(frame)["channel"] for frame in page.first_frames()], [self.room])

    def test_command_line(self) -> None:
        """`mles-tx pub` and `mles-tx sub` with the same secret are understood, and understand."""
        folder = Path(self.enterContext(TemporaryDirectory()))
        (folder / "secret").write_text(SECRET)
        shared = ("--server", self.server.url, "--secret-file", "secret")
        page = self.sealed_page()
        listening = self.start(["mles-tx", "sub", self.room, "--uid", "bob", "--json", *shared], folder)
        said = self.run_to_end(["mles-tx", "pub", self.room, "from the shell", "--uid", "carol", *shared], folder)
        self.assertEqual(said, "")
        page.wait("document.querySelector('#messages').innerText.includes('from the shell')")
        self.assertEqual(page.ask("document.querySelectorAll('#messages .mark').length"), 0)
        listening.expect('"from the shell"')
        page.say("from the page")
        listening.expect('"from the page"')

    def test_wrong_secret(self) -> None:
        """Who has another secret reads nothing, is told so, and is not read either."""
        bob = self.bob()
        page = self.sealed_page("&secret=another")
        bob.send(seal(self.key, "2026-11-22T12:00:00Z bob: for alice only"))
        page.await_texts("bob joined", "A message that your secret does not open")
        bob.send(seal(self.key, "2026-11-22T12:00:00Z bob: and this"))
        page.await_texts("bob joined", "2 messages that your secret does not open")
        page.say("hello")
        frame = bob.receive()
        self.assertRaises(CryptoError, unseal, self.key, frame)
        self.assertIn("alice: hello", unseal(key_for("another", self.room), frame))

    def test_not_encrypted(self) -> None:
        """What anybody could have said stands there as such."""
        bob = self.bob()
        page = self.sealed_page()
        bob.send('{"text": "trust me", "uid": "alice"}')
        bob.send(seal(self.key, "2026-11-22T12:00:00Z bob: better not"))
        page.await_texts("bob joined", "trust me", "better not")
        marks = page.ask("[...document.querySelectorAll('.said')].map((row) => row.querySelector('.mark')?.innerText)")
        self.assertEqual(marks, ["not encrypted", None])
        self.assertEqual(page.ask("document.querySelectorAll('.own').length"), 0)

    def test_secret_in_settings(self) -> None:
        """A secret that is typed becomes part of the address, which never reaches the server, and of the invitation."""
        bob = self.bob()
        page = self.open(self.server, uid="alice").joined()
        page.say("in the clear")
        self.assertIn("in the clear", str(bob.receive()))
        page.click("#privacy")
        page.fill("#secret", SECRET)
        page.click("#settings [type=submit]")
        page.wait("document.querySelector('#privacy').innerText === 'Encrypted'")
        page.joined()
        self.assertEqual(page.browser.current_url.partition("#")[2], f"{self.room}{FRAGMENT_SECRET}")
        page.await_texts("bob joined", "in the clear")  # others may read it still: it says that it was not encrypted
        page.say("sealed")
        self.assertIn("alice: sealed", unseal(self.key, bob.receive()))
        page.click("#open-invite")
        self.assertEqual(page.find("#link").get_property("value"), page.browser.current_url)
        page.click("#with-secret")
        page.wait("!document.querySelector('#link').value.includes('&secret')")
        self.assertNotIn(SECRET, self.server.output)
        self.assertNotIn("%26", self.server.output)
