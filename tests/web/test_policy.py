"""What browsers are told beside a file."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.policy import HASHED, PLAIN, REVALIDATE, Policy, cache_control

#: Paths of files whose names change with their content.
HASHED_NAMES = (
    b"/app.3f2a9c1b.js",
    b"/app-3f2a9c1b.js",
    b"/app~3f2a9c1b.js",
    b"/app_3f2a9c1b.js",
    b"/sub/deep/app.3f2a9c1b0d.css",
    b"/main.0a1b2c3d4e5f60718293.chunk.js",
    b"/main.3f2a9c1b.js.map",
    b"/logo-d41d8cd98f00b204e9800998ecf8427e.png",
    b"/font.e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.woff2",
    b"/app-ABCDEF2G.js",
    b"/assets/index-Diwrg7da.js",
    b"/assets/index-D_wrg7da.css",
    b"/assets/index-D-wrg7da.css",
    b"/assets/index-_Dwrg7da.js",
    b"/_astro/hoisted.B4x9KzQ1.js",
    b"/_next/static/chunk-aB3dE6gH.js",
)

#: Paths of others.
UNHASHED_NAMES = (
    b"/",
    b"/index.html",
    b"/app.3f2a9c1b.html",
    b"/app.3f2a9c1b.HTM",
    b"/404.html",
    b"/app.js",
    b"/app.min.js",
    b"/app.bundle.js",
    b"/3f2a9c1b.js",
    b"/3f2a9c1b/app.js",
    b"/app.3f2a9c1b",
    b"/jquery-3.7.1.min.js",
    b"/photo-20210102.jpg",
    b"/photo-2021-01-02.jpg",
    b"/facade-deadbeef.png",
    b"/letter-abcdefgh.txt",
    b"/my-DOCUMENT.pdf",
    b"/icon-512x512.png",
    b"/app-1a2b3c.js",
    b"/index-Diwrg7da.js",
    b"/assets/index.js",
    b"/assets/my-Document.js",
    b"/assets/icon-MacOSX10.png",
    b"/assets/icon-iPhone15.png",
    b"/.well-known/security.txt",
    b"/MlesTalk.apk",
    b"/service-worker.js",
    b"/site.webmanifest",
    b"/\xff-\xff.js",
)

ON_TLS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class CacheControlTests(SynchronousTestCase):
    """How long a file may be kept."""

    def test_hashed(self) -> None:
        """A file with a hash in its name is kept for a year."""
        self.assertEqual([name for name in HASHED_NAMES if cache_control(name) != HASHED], [])

    def test_unhashed(self) -> None:
        """Any other file, and every page, is asked for each time: dates, versions, sizes and words are no hashes."""
        self.assertEqual([name for name in UNHASHED_NAMES if cache_control(name) != REVALIDATE], [])

    def test_long(self) -> None:
        """A path as long as a head may be is judged all the same."""
        self.assertEqual(cache_control(b"/" + b"-" * 16000 + b".js"), REVALIDATE)
        self.assertEqual(cache_control(b"/assets/" + b"aA1" * 5000 + b".js"), REVALIDATE)


class PolicyTests(SynchronousTestCase):
    """The headers all answers have."""

    def fields(self, policy: Policy, host: str = "example.org") -> dict[str, str]:
        """Them, by name."""
        return {name.decode(): value.decode() for name, value in policy.fields(host)}

    def test_table(self) -> None:
        """They follow from TLS, --cors and who may demand TLS; there is never a Content-Security-Policy."""

        def ours(host: str) -> bool:
            return host == "example.org"

        for policy, host, expected in (
            (PLAIN, "example.org", {}),
            (Policy(False, False, ours), "example.org", {}),
            (Policy(False, True, ours), "example.org", ISOLATION),
            (Policy(True), "example.org", ON_TLS),
            (Policy(True, False, ours), "example.org", ON_TLS | HSTS),
            (Policy(True, False, ours), "localhost", ON_TLS),
            (Policy(True, False, ours), "", ON_TLS),
            (Policy(True, True, ours), "localhost", ISOLATION | ON_TLS),
            (Policy(True, True, ours), "example.org", ISOLATION | ON_TLS | HSTS),
        ):
            self.assertEqual(self.fields(policy, host), expected)
