"""Which paths belong to which upstream."""

from dataclasses import FrozenInstanceError

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.routes import Route, Routes, climbs

API = Route("/api", "127.0.0.1", 3000)
ADMIN = Route("/api/admin", "127.0.0.1", 3001)
DEEP = Route("/a/b", "127.0.0.1", 3002)
ALL = Route("/", "127.0.0.1", 3003)

#: Path, its route among the first three, and with one for all paths beside them.
PATHS = (
    (b"/api", API, API),
    (b"/api/", API, API),
    (b"/api/x/y", API, API),
    (b"/api//x", API, API),
    (b"/api/adm", API, API),
    (b"/api/admin", ADMIN, ADMIN),
    (b"/api/admin/x", ADMIN, ADMIN),
    (b"/api/administrator", API, API),
    (b"/apix", None, ALL),
    (b"/ap", None, ALL),
    (b"/API", None, ALL),
    (b"/%61pi", None, ALL),
    (b"//api", None, ALL),
    (b"/x/api", None, ALL),
    (b"/a", None, ALL),
    (b"/a/b", DEEP, DEEP),
    (b"/a/bc", None, ALL),
    (b"/", None, ALL),
    (b"", None, ALL),
)

#: Prefix, base, target of the request, and what the upstream is asked for.
TARGETS = (
    ("/api", None, b"/api/x?y=/api", b"/api/x?y=/api"),
    ("/api", None, b"/api", b"/api"),
    ("/api", "/", b"/api/x?y", b"/x?y"),
    ("/api", "/", b"/api", b"/"),
    ("/api", "/", b"/api?y", b"/?y"),
    ("/api", "/", b"/api/", b"/"),
    ("/api", "/v1", b"/api/x", b"/v1/x"),
    ("/api", "/v1", b"/api", b"/v1"),
    ("/api", "/v1", b"/api?y", b"/v1?y"),
    ("/api", "/v1/", b"/api/x", b"/v1/x"),
    ("/api", "/v1/", b"/api//x", b"/v1//x"),
    ("/", None, b"/x", b"/x"),
    ("/", "/", b"/x", b"/x"),
    ("/", "/v1", b"/x?y", b"/v1/x?y"),
    ("/", "/v1", b"/", b"/v1/"),
)

CLIMBING = (
    b"/api/..;/x",
    b"/api/.;a=b",
    b"/api/%2e.%3b/x",
    b"/api/..",
    b"/api/../x",
    b"/./x",
    b"/%2e%2e/x",
    b"/.%2E/x",
    b"/a\\..\\x",
    b"/a%5c..%5Cx",
    b"/a%2f..%2fx",
)
NOT_CLIMBING = (
    b"/",
    b"/api",
    b"/a.b",
    b"/.well-known/x",
    b"/...",
    b"/x..",
    b"/%252e%252e/x",
    b"/%20",
    b"/a%2fb",
    b"/a;..",
    b"/a..;b/x",
)


class RoutesTests(SynchronousTestCase):
    """The choice."""

    def test_longest_wins(self) -> None:
        """Prefixes match whole segments, and the longest one wins, in whatever order they are given."""
        for routes in ((API, ADMIN, DEEP), (DEEP, ADMIN, API)):
            found = [(path, Routes(routes).find(path), Routes((ALL, *routes)).find(path)) for path, _, _ in PATHS]
            self.assertEqual(found, list(PATHS))

    def test_none(self) -> None:
        """Without routes no path has one."""
        self.assertIsNone(Routes(()).find(b"/"))

    def test_targets(self) -> None:
        """The path goes on unchanged, or with its prefix replaced."""
        found = [
            (prefix, base, target, Route(prefix, "h", 1, base).target(target)) for prefix, base, target, _ in TARGETS
        ]
        self.assertEqual(found, list(TARGETS))

    def test_origin(self) -> None:
        """An upstream is named by the beginning of a URL."""
        self.assertEqual(Route("/", "::1", 80).origin, "http://[::1]:80")
        self.assertEqual(API.origin, "http://127.0.0.1:3000")

    def test_value(self) -> None:
        """A route is a value."""
        self.assertEqual(API, Route("/api", "127.0.0.1", 3000))
        self.assertRaises(FrozenInstanceError, setattr, API, "port", 1)

    def test_climbing(self) -> None:
        """Segments of dots are found, however they are written; names with dots are none."""
        self.assertEqual([path for path in CLIMBING if not climbs(path)], [])
        self.assertEqual([path for path in NOT_CLIMBING if climbs(path)], [])
