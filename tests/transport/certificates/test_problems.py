"""Why there is no certificate."""

from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.problems import Problem, clean, explain

_PREFIX = "urn:ietf:params:acme:error:"

#: The kind of problem, the challenge, and what the operator is to read.
_REMEDIES = (
    ("dns", "http-01", "point to this machine"),
    ("connection", "tls-alpn-01", "port 443 of a.test"),
    ("connection", "http-01", "port 80 of a.test"),
    ("tls", "tls-alpn-01", "without ending TLS"),
    ("unauthorized", "http-01", "something else answers for a.test"),
    ("unauthorized", "tls-alpn-01", "no proxy before it, and let port 443"),
    ("incorrectResponse", "tls-alpn-01", "port 443 of a.test"),
    ("caa", "http-01", "a CAA record of a.test"),
    ("rateLimited", "", "--staging"),
    ("rejectedIdentifier", "", "does not issue for a.test"),
    ("invalidContact", "", "--email"),
    ("userActionRequired", "", "terms"),
    ("serverInternal", "", "tried again later"),
)


class ProblemTests(SynchronousTestCase):
    """What an authority says is wrong."""

    def test_remedies(self) -> None:
        """What is wrong and what to do about it stands on one line."""
        for kind, challenge, remedy in _REMEDIES:
            problem = Problem.from_json({"type": _PREFIX + kind, "detail": "as it is"})
            line = explain(problem, "a.test", challenge)
            self.assertIn(remedy, line)
            self.assertIn(f"{kind}: as it is", line)
            self.assertEqual(line.startswith(challenge), True)

    def test_account(self) -> None:
        """What is wrong with the account names the account."""
        for kind in ("unauthorized", "malformed", "externalAccountRequired"):
            self.assertRegex(explain(Problem(kind, "no"), ""), "HMAC key")

    def test_unknown(self) -> None:
        """A kind nobody knows, and none, are told in the authority's own words."""
        for document, line in (
            ({"type": _PREFIX + "new", "detail": "what is new"}, "new: what is new"),
            ({"type": "about:blank", "detail": "what is wrong"}, "what is wrong"),
            ({"type": "https://x.example/e", "title": "Busy"}, "Busy"),
            ({"type": _PREFIX + "new"}, f"new: {_PREFIX}new"),
            ({}, "no reason given"),
            ({"type": 7, "detail": ["x"]}, "['x']"),
        ):
            self.assertEqual(explain(Problem.from_json(document), "a.test"), line)

    def test_several(self) -> None:
        """Where a problem is made of others, the first of them says what is wrong."""
        inner = {"type": _PREFIX + "caa", "detail": "the record"}
        document = {"type": _PREFIX + "compound", "detail": "several", "subproblems": [inner]}
        self.assertEqual(Problem.from_json(document), Problem("caa", "the record"))
        for strange in cast("tuple[object, ...]", (None, [], [7], {})):
            self.assertEqual(Problem.from_json({**document, "subproblems": strange}), Problem("compound", "several"))

    def test_clean(self) -> None:
        """A text from outside makes one line of printable characters, and not a long one."""
        self.assertEqual(clean("a\r\n b\x1b[31m\0c\u202e"), "a b?[31m?c?")
        self.assertEqual(len(clean("x" * 100000)), 303)
