"""Who is to issue certificates."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.authority import (
    LETS_ENCRYPT,
    LETS_ENCRYPT_STAGING,
    Authority,
    ExternalAccount,
)

GOOD_URLS = (
    "https://ca.example/directory",
    "https://ca.example",
    "https://localhost:14000/dir",
    "https://127.0.0.1:14000/dir?a=b",
    "https://[::1]:14000/dir",
)

BAD_URLS = (
    "",
    "ca.example",
    "http://ca.example/directory",
    "ftp://ca.example",
    "https://",
    "https:///directory",
    "https://ca.example:99999/",
    "https://ca.example:x/",
    "https://[::1/",
    "https://user:password@ca.example/",
    "https://ca.example/#x",
    "https://ca.example/a b",
    "https://ca.example/\r\nx",
    "https://b\u00fccher.example/",
)


class AuthorityTests(SynchronousTestCase):
    """What the operator says about the authority."""

    def test_folder(self) -> None:
        """Each authority has a part of the cache of its own, named after it."""
        folders = [Authority(url).folder for url in (LETS_ENCRYPT, LETS_ENCRYPT_STAGING, LETS_ENCRYPT + "2")]
        self.assertEqual(len(set(folders)), 3)
        self.assertEqual(Authority().folder, folders[0])
        self.assertRegex(folders[0], r"^acme-v02\.api\.letsencrypt\.org-[0-9a-f]{8}$")
        self.assertRegex(Authority("https://[::1]:14000/dir").folder, r"^__1-[0-9a-f]{8}$")

    def test_url(self) -> None:
        """An authority is asked over https, or not at all: its URL is an address and nothing more."""
        self.assertEqual([Authority(url).directory for url in GOOD_URLS], list(GOOD_URLS))
        for url in BAD_URLS:
            error = self.assertRaises(ValueError, Authority, url)
            self.assertEqual(
                str(error), f"--acme-directory {url!r}: give the https:// URL of the authority's directory"
            )

    def test_external_account(self) -> None:
        """A key id and a key in base64url are needed; the key is not shown."""
        for key_id, key in (
            ("", "AAAA"),
            ("id", ""),
            ("id", "A+/A"),
            ("id", "AA AA"),
            ("id", "key\n"),
            ("id", "abcde"),
            ("id", "abcde="),
        ):
            self.assertRaises(ValueError, ExternalAccount, key_id, key)
        for key in ("abcd", "abcdef", "abcdef==", "abc", "abc="):
            self.assertEqual(ExternalAccount("id", key).hmac_key, key)
        self.assertNotIn("c2VjcmV0", repr(Authority(external=ExternalAccount("id", "c2VjcmV0"))))
