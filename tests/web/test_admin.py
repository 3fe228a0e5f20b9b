"""The site of operators and their programs."""

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from twisted.internet.defer import Deferred

from mles_tx.web.admin import make_admin_site

from .asking import Reply, WebTestCase, get

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

#: What Prometheus 3 sends.
PROMETHEUS = (
    b"Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    b"application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    b"text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


class AdminTests(WebTestCase):
    """Metrics, life and readiness."""

    def setUp(self) -> None:
        super().setUp()
        self.registry = CollectorRegistry()
        self.gauge = Gauge("teapots", "Teapots.", registry=self.registry)
        self.reasons: list[str] = []
        self.warnings: list[str] = []
        self.site = make_admin_site(self.registry, lambda: self.reasons, lambda: self.warnings)

    def get(self, target: bytes, *headers: bytes, method: bytes = b"GET") -> Reply:
        """An answer."""
        return self.ask(self.site, get(target, *headers, method=method))

    def test_hosts(self) -> None:
        """Any host may be named, or none where that is allowed; what is no host, or several, is refused."""
        for host in (b"x", b"10.0.0.1:9100", b"[::1]:9100", b""):
            self.assertEqual((host, self.ask(self.site, get(b"/livez", host=host)).status), (host, 200))
        self.assertEqual(self.ask(self.site, b"GET /livez HTTP/1.0\r\n\r\n").status, 200)
        self.assertEqual(self.ask(self.site, get(b"/livez", host=None)).status, 400)
        for more in (b"Host: x", b"Host: y", b"host:x"):
            self.assertEqual((more, self.get(b"/livez", more).status), (more, 400))
        for host in (b"x/y", b"x:y", b"x y", b"\xff"):
            self.assertEqual((host, self.ask(self.site, get(b"/livez", host=host)).status), (host, 400))

    def test_alive(self) -> None:
        """Whoever asks whether it lives hears it, ready or not."""
        for reasons in ([], ["stopping"]):
            self.reasons[:] = reasons
            reply = self.get(b"/livez")
            self.assertEqual((reply.status, reply.body), (200, b"alive\n"))

    def test_ready(self) -> None:
        """It is ready when nothing keeps it from that; else it says what, a line each."""
        reply = self.get(b"/readyz")
        self.assertEqual((reply.status, reply.body), (200, b"ready\n"))
        self.reasons[:] = ["stopping", "a.test has\r\nno \x1b[31mcertificate"]
        reply = self.get(b"/readyz")
        self.assertEqual((reply.status, reply.body), (503, b"stopping\na.test has  no  [31mcertificate\n"))
        self.assertEqual(reply.headers["content-type"], "text/plain; charset=utf-8")
        self.reasons.clear()
        self.assertEqual(self.get(b"/readyz").status, 200)

    def test_warnings(self) -> None:
        """What will keep it from being ready soon stands below, a line each; what keeps it from that goes first."""
        self.warnings[:] = ["the certificate for a.test ends\r\non 2026-01-31"]
        reply = self.get(b"/readyz")
        body = b"ready\nthe certificate for a.test ends  on 2026-01-31\n"
        self.assertEqual((reply.status, reply.body), (200, body))
        self.reasons[:] = ["stopping"]
        self.assertEqual(self.get(b"/readyz").body, b"stopping\n")

    def test_metrics(self) -> None:
        """The metrics are read when somebody asks, in the plain format."""
        for value in (1.0, 2.0):
            self.gauge.set(value)
            reply = self.get(b"/metrics?name[]=nothing")
            self.assertEqual((reply.status, reply.headers["content-type"]), (200, PLAIN))
            (family,) = plain(reply.body.decode())
            self.assertEqual((family.name, [sample.value for sample in family.samples]), ("teapots", [value]))

    def test_openmetrics(self) -> None:
        """Who asks for OpenMetrics, as Prometheus does, gets it; nothing of what is asked for is repeated."""
        for accept in (PROMETHEUS, b"Accept: application/openmetrics-text; version=<x>; escaping=<y>"):
            reply = self.get(b"/metrics", accept)
            self.assertEqual((reply.status, reply.headers["content-type"]), (200, OPENMETRICS))
            (family,) = openmetrics(reply.body.decode())
            self.assertEqual(family.name, "teapots")
        for accept in (b"Accept: */*", b"Accept: text/plain; version=<x>", b"Accept:", b"Accept: \xff"):
            self.assertEqual(self.get(b"/metrics", accept).headers["content-type"], PLAIN)

    def test_head(self) -> None:
        """HEAD has the same head, and no body."""
        for target in (b"/livez", b"/readyz", b"/metrics", b"/nothing"):
            whole, head = self.get(target), self.get(target, method=b"HEAD")
            self.assertEqual((head.status, head.headers, head.body), (whole.status, whole.headers, b""))
            self.assertEqual(head.headers["content-length"], str(len(whole.body)))

    def test_nothing_else(self) -> None:
        """There is nothing at other addresses, and nothing can be changed."""
        for target in (b"/", b"/metrics/", b"/metrics/x", b"//metrics", b"/Metrics", b"*", b"/%6detrics", b"/<x>"):
            reply = self.get(target)
            self.assertEqual((target, reply.status, b"<x>" in reply.body), (target, 404, False))
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PURGE"):
            reply = self.get(b"/metrics", method=method)
            self.assertEqual((method, reply.status, reply.headers.get("allow")), (method, 405, "GET, HEAD"))

    def test_refreshed(self) -> None:
        """What has to be asked for first is waited for; whether it lives is not."""
        asked: list[Deferred[None]] = []

        def refresh() -> "Deferred[None]":
            asked.append(Deferred())
            return asked[-1]

        self.site = make_admin_site(self.registry, lambda: self.reasons, refresh=refresh)
        self.assertEqual((self.get(b"/livez").status, self.get(b"/nothing").status, asked), (200, 404, []))
        for target in (b"/readyz", b"/metrics"):
            for method in (b"GET", b"HEAD"):
                peer = self.connect(self.site)
                peer.receive(get(target, method=method))
                self.finish()
                self.assertEqual(peer.taken(), b"")
                asked.pop().callback(None)
                self.finish()
                self.assertEqual(peer.taken().startswith(b"HTTP/1.1 200 OK"), True)
                peer.hang_up()
        peer = self.connect(self.site)
        peer.receive(get(b"/readyz"))
        peer.hang_up()
        asked.pop().callback(None)  # who has gone gets nothing
        peer = self.connect(self.site)
        peer.receive(get(b"/readyz"))
        asked.pop().errback(ValueError("no"))
        self.finish()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(peer.taken()[:12], b"HTTP/1.1 500")
        peer.hang_up()

    def test_not_kept(self) -> None:
        """No cache keeps an answer, and nobody is told who gives it."""
        for target in (b"/livez", b"/readyz", b"/metrics", b"/nothing"):
            headers = self.get(target).headers
            self.assertEqual((headers["cache-control"], headers.get("server")), ("no-store", None))

    def test_broken(self) -> None:
        """Metrics that cannot be read are an error that says nothing; the log has it, and the rest goes on."""
        self.gauge.set_function(lambda: 1 // 0)
        for accept in (b"Accept: */*", PROMETHEUS):
            reply = self.get(b"/metrics", accept)
            self.assertEqual((reply.status, b"ZeroDivision" in reply.body), (500, False))
        self.assertEqual(self.logged, ["the metrics could not be read"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.get(b"/livez").status, 200)
