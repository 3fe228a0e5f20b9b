"""The short answers."""

from twisted.web.server import Site

from mles_tx.web.pages import BAD_REQUEST, FAILED, METHOD_NOT_ALLOWED, MISDIRECTED, NOT_FOUND, Answer

from .asking import Reply, WebTestCase, get

PLAIN = "text/plain; charset=utf-8"

#: Answer, status, headers besides those of every answer, text.
ANSWERS: tuple[tuple[Answer, int, dict[str, str], bytes], ...] = (
    (BAD_REQUEST, 400, {}, b"This is no request a web server can answer.\n"),
    (NOT_FOUND, 404, {}, b"There is nothing at this address.\n"),
    (METHOD_NOT_ALLOWED, 405, {"allow": "GET, HEAD"}, b"Only GET and HEAD are answered here.\n"),
    (MISDIRECTED, 421, {}, b"This connection was opened for another host.\n"),
    (FAILED, 500, {}, b"The server could not answer. Its log says why.\n"),
    (Answer(418, "Tea.", {"x-pot": "brown"}), 418, {"x-pot": "brown"}, b"Tea.\n"),
)


class AnswerTests(WebTestCase):
    """What somebody sees whose request leads nowhere."""

    def _ask(self, answer: Answer, method: bytes) -> Reply:
        reply = self.ask(Site(answer), get(b"/asked-for?marker", method=method))
        reply.headers.pop("server", None)
        return reply

    def test_answers(self) -> None:
        """The status and one line of plain text, with its length, whatever was asked, each time."""
        for answer, status, headers, text in ANSWERS * 2:
            expected = Reply(status, {"content-type": PLAIN, "content-length": str(len(text)), **headers}, text)
            self.assertEqual(self._ask(answer, b"GET"), expected)

    def test_phrase(self) -> None:
        """The status is named as the standard names it, also where twisted.web does not know it."""
        for answer, phrase in ((NOT_FOUND, b"404 Not Found"), (MISDIRECTED, b"421 Misdirected Request")):
            peer = self.connect(Site(answer))
            peer.receive(get(b"/"))
            self.assertTrue(peer.taken().startswith(b"HTTP/1.1 " + phrase + b"\r\n"))

    def test_head(self) -> None:
        """Who asks for the head alone gets the same head, and nothing about it goes to the log."""
        for answer, status, headers, text in ANSWERS:
            expected = Reply(status, {"content-type": PLAIN, "content-length": str(len(text)), **headers}, b"")
            self.assertEqual(self._ask(answer, b"HEAD"), expected)
        self.assertEqual(self.logged, [])
