"""Tests of the first frame: each rule, each limit from both sides, and what later joiners get to see of it."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol import header as module
from mles_tx.protocol.closing import CloseReason, ProtocolViolation
from mles_tx.protocol.header import (
    HEADER_SECONDS,
    MAX_FRAGMENTS,
    MAX_HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_RESYNC,
    MAX_SINCE,
    Header,
    make_header,
    parse_header,
)
from tests import examples

_JSON = CloseReason.HEADER_NOT_JSON
_TWICE = CloseReason.HEADER_DUPLICATE_KEY
_UID = CloseReason.HEADER_UID
_CHANNEL = CloseReason.HEADER_CHANNEL
_AUTH = CloseReason.HEADER_AUTH
_HISTORY = CloseReason.HEADER_HISTORY
_SINCE = CloseReason.HEADER_SINCE
_RECEIVE = CloseReason.HEADER_RECEIVE


def _with(more: str) -> bytes:
    """A good header with one more member, given as JSON text."""
    return ('{"uid":"alice","channel":"example",' + more + "}").encode()


def _fields(**fields: Any) -> bytes:
    return json.dumps({"uid": "alice", "channel": "example"} | fields).encode()


def _padded(size: int) -> bytes:
    """A good header of exactly that many bytes."""
    frame = _with('"pad":""')
    return frame[:-2] + b"x" * (size - len(frame)) + frame[-2:]


class _HeaderTests(SynchronousTestCase):
    def refused(self, payload: bytes, is_binary: bool = False) -> CloseReason | None:
        """The reason for which a first frame is refused, or None."""
        try:
            parse_header(payload, is_binary)
        except ProtocolViolation as violation:
            return violation.reason
        return None


class LimitTests(_HeaderTests):
    """The numbers that clients were told."""

    def test_numbers(self) -> None:
        """The limits are the ones the protocol is documented with."""
        self.assertEqual(MAX_HEADER_BYTES, 16_384)
        self.assertEqual(MAX_MESSAGE_BYTES, 1_048_576)
        self.assertEqual(MAX_FRAGMENTS, 16_384)
        self.assertEqual(HEADER_SECONDS, 30.0)
        self.assertEqual(MAX_SINCE, 8)

    def test_reasons_tell_the_numbers(self) -> None:
        """Who runs into a limit reads the right number in the close frame."""
        for reason, number in (
            (CloseReason.HEADER_TOO_LARGE, MAX_HEADER_BYTES),
            (CloseReason.MESSAGE_TOO_LARGE, MAX_MESSAGE_BYTES),
            (CloseReason.TOO_MANY_FRAGMENTS, MAX_FRAGMENTS),
            (CloseReason.NO_HEADER, int(HEADER_SECONDS)),
            (CloseReason.NOT_LET_IN, int(HEADER_SECONDS)),
            (CloseReason.HEADER_SINCE, MAX_SINCE),
        ):
            self.assertIn(str(number), reason.text.split(), reason.label)

    def test_size(self) -> None:
        """A first frame may have 16 KiB and not a byte more."""
        for size, expected in (
            (MAX_HEADER_BYTES - 1, None),
            (MAX_HEADER_BYTES, None),
            (MAX_HEADER_BYTES + 1, CloseReason.HEADER_TOO_LARGE),
            (MAX_MESSAGE_BYTES, CloseReason.HEADER_TOO_LARGE),
        ):
            payload = _padded(size)
            self.assertEqual(len(payload), size, f"{size=}")
            self.assertEqual(self.refused(payload), expected, f"{size=}")

    def test_size_counts_bytes(self) -> None:
        """The limit is one of bytes, not of characters."""
        payload = _with('"pad":"' + "ä" * 8_200 + '"')
        self.assertLess(len(payload.decode()), MAX_HEADER_BYTES)
        self.assertEqual(self.refused(payload), CloseReason.HEADER_TOO_LARGE)

    def test_size_before_content(self) -> None:
        """Who sends megabytes as a first frame is told so, whatever they are."""
        self.assertEqual(self.refused(b"\xff" * (MAX_HEADER_BYTES + 1)), CloseReason.HEADER_TOO_LARGE)

    def test_depth(self) -> None:
        """The limit of nesting is ours, and the same in every version of Python."""
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            # The header is the first level; of lists and objects in it there may be 63.
            fits = _with('"x":' + opening * 62 + ("[]" if opening == "[" else "{}") + closing * 62)
            self.assertEqual(parse_header(fits, False).uid, "alice")
            self.assertEqual(
                self.refused(_with('"x":' + opening * 63 + "[]" + closing * 63)), CloseReason.HEADER_NOT_JSON
            )


class GoodHeaderTests(_HeaderTests):
    """What a client may say."""

    def test_plain(self) -> None:
        """Uid and channel are enough: no auth, all of the history, receiving."""
        payload = b'{"uid":"alice","channel":"example"}'
        self.assertEqual(
            parse_header(payload, False),
            Header(
                uid="alice",
                channel="example",
                auth=None,
                history=None,
                since=(),
                receive=True,
                resync=0,
                replay=payload,
            ),
        )

    def test_everything(self) -> None:
        """All keys together are understood, and only the public ones are replayed."""
        self.assertEqual(
            parse_header(
                _fields(
                    auth="9b3b95527f7c2d80",
                    history=7,
                    since=["00000000000000ff", "FFFFFFFFFFFFFFFF"],
                    receive=False,
                    resync=3,
                ),
                False,
            ),
            Header(
                uid="alice",
                channel="example",
                auth="9b3b95527f7c2d80",
                history=7,
                since=(255, 2**64 - 1),
                receive=False,
                resync=3,
                replay=b'{"uid":"alice","channel":"example"}',
            ),
        )

    def test_null_is_absent(self) -> None:
        """A key of ours with null counts as one that is not there."""
        header = parse_header(_fields(auth=None, history=None, since=None, receive=None, resync=None), False)
        found = (header.auth, header.history, header.since, header.receive, header.resync)
        self.assertEqual(found, (None, None, (), True, 0))

    def test_names(self) -> None:
        """All of printable ASCII may stand in a uid and a channel, the space too, of any length."""
        for name in (" ", "~", "a b", '"\\/', "".join(map(chr, range(32, 127))), "x" * 8_000, "\\ud800"):
            header = parse_header(json.dumps({"uid": name, "channel": name}).encode(), False)
            self.assertEqual((header.uid, header.channel), (name, name), f"name={name[:20]!r}")

    def test_base64_names(self) -> None:
        """Names as the phone app makes them get in unchanged."""
        header = parse_header(b'{"uid":"q83vEjRWeJA=","channel":"+/8="}', False)
        self.assertEqual((header.uid, header.channel), ("q83vEjRWeJA=", "+/8="))

    def test_escapes(self) -> None:
        """A name spelt with JSON escapes is the name it stands for."""
        header = parse_header(b'{"\\u0075id":"\\u0061lice","channel":"ex\\u0061mple"}', False)
        self.assertEqual((header.uid, header.channel), ("alice", "example"))

    def test_white_space(self) -> None:
        """White space around and within the object does no harm."""
        self.assertIsNone(self.refused(b' \r\n\t{ "uid" : "alice" ,\n"channel":"example" } \n'))

    def test_auth_is_only_read(self) -> None:
        """Whether an auth is right is not decided here, nor whether it is hex: any string is handed on."""
        for auth in ("", "0", "xyz", "ä"):
            self.assertEqual(parse_header(_fields(auth=auth), False).auth, auth, f"{auth=}")

    def test_history_numbers(self) -> None:
        """Any whole number from zero up may be asked for, also more than anybody has."""
        for text, expected in (("0", 0), ("-0", 0), ("1", 1), ("999999", 999_999), ("9" * 40, int("9" * 40))):
            self.assertEqual(parse_header(_with(f'"history":{text}'), False).history, expected, f"{text=}")

    def test_since_lists(self) -> None:
        """None to eight digests are taken, in their order, repeated ones too."""
        for count in range(MAX_SINCE + 1):
            digests = [f"{number % 3:016x}" for number in range(count)]
            self.assertEqual(
                parse_header(_fields(since=digests), False).since, tuple(n % 3 for n in range(count)), f"{count=}"
            )

    def test_receive(self) -> None:
        """A member may say whether it wants to receive."""
        for value in (True, False):
            self.assertIs(parse_header(_fields(receive=value), False).receive, value)

    def test_resync(self) -> None:
        """A member may announce history it holds, as much as any channel could remember."""
        for value in (0, 1, 200, 999_999):
            self.assertEqual(parse_header(_fields(resync=value), False).resync, value)


class BadHeaderTests(_HeaderTests):
    """What a client may not say, and what it is told."""

    def test_binary(self) -> None:
        """A binary first frame is refused, be it a good header or anything else."""
        for payload in (b'{"uid":"alice","channel":"example"}', b"", b"\xff", b"x" * 20_000):
            self.assertEqual(
                self.refused(payload, is_binary=True), CloseReason.HEADER_NOT_TEXT, f"payload={payload[:10]!r}"
            )

    def test_not_a_json_object(self) -> None:
        """Whatever is not one whole JSON object in UTF-8 is refused as such."""
        table: dict[str, bytes] = {
            "empty": b"",
            "a space": b" ",
            "null": b"null",
            "list": b'["uid","alice"]',
            "list of pairs": b'[["uid","alice"],["channel","example"]]',
            "string": b'"alice"',
            "number": b"1",
            "true": b"true",
            "cut short": b'{"uid":"alice","channel":"exam',
            "two objects": b'{"uid":"alice","channel":"example"}{}',
            "trailing text": b'{"uid":"alice","channel":"example"} x',
            "trailing NUL": b'{"uid":"alice","channel":"example"}\0',
            "trailing comma": b'{"uid":"alice","channel":"example",}',
            "single quotes": b"{'uid':'alice','channel':'example'}",
            "bare keys": b'{uid:"alice",channel:"example"}',
            "comment": b'{"uid":"alice",/* */"channel":"example"}',
            "byte order mark": b'\xef\xbb\xbf{"uid":"alice","channel":"example"}',
            "UTF-16": '{"uid":"alice","channel":"example"}'.encode("utf-16"),
            "UTF-32": '{"uid":"alice","channel":"example"}'.encode("utf-32-be"),
            "broken UTF-8": b'{"uid":"alice","channel":"example","x":"\xff"}',
            "broken UTF-8 in a value": b'{"uid":"alice","channel":"example","x":"\xc3("}',
            "overlong UTF-8": b'{"uid":"alice","channel":"example","x":"\xc0\xaf"}',
            "encoded surrogate": b'{"uid":"alice","channel":"example","x":"\xed\xa0\x80"}',
            "raw control character": b'{"uid":"al\nice","channel":"example"}',
            "raw NUL": b'{"uid":"al\0ice","channel":"example"}',
            "bad escape": b'{"uid":"\\x41","channel":"example"}',
        }
        for name, payload in table.items():
            self.assertEqual(self.refused(payload), _JSON, name)

    def test_hostile_values(self) -> None:
        """Numbers that are none, half characters and endless nesting are refused wherever they stand."""
        for name, value in {
            "NaN": "NaN",
            "infinity": "Infinity",
            "minus infinity": "-Infinity",
            "overflow": "1e999",
            "minus overflow": "-1e999",
            "nested overflow": '[{"a":[1,1e999]}]',
            "nested NaN": '{"a":[NaN]}',
            "lone high surrogate": '"\\ud800"',
            "lone low surrogate": '"x\\udc00x"',
            "surrogates in the wrong order": '"\\udc00\\ud800"',
            "lone surrogate as a key": '{"\\udfff":1}',
            "a number of 5,000 digits": "9" * 5_000,
            "deep lists": "[" * 8_000 + "]" * 8_000,
            "deep objects": '{"a":' * 2_500 + "1" + "}" * 2_500,
            "deep, never closed": "[" * 16_000,
            "leading zero": "01",
            "plus sign": "+1",
            "hex": "0x1",
        }.items():
            self.assertEqual(self.refused(_with(f'"x":{value}')), _JSON, name)

    def test_any_depth(self) -> None:
        """However deep a header is nested, it is taken or refused, never anything else."""
        seen = set()
        for depth in (*range(1, 40), *range(40, 1_200, 7), *range(1_200, 8_100, 300)):
            payload = _with('"history":1,"x":' + "[" * depth + "]" * depth)
            seen.add(self.refused(payload))
        self.assertEqual(seen, {None, _JSON})

    def test_duplicate_keys(self) -> None:
        """A key that is there twice is refused wherever it stands and however it is spelt."""
        for payload in (
            b'{"uid":"alice","channel":"example","uid":"bob"}',
            b'{"uid":"alice","uid":"alice","channel":"example"}',
            b'{"uid":"alice","channel":"example","\\u0075id":"bob"}',
            b'{"uid":"alice","channel":"example","x":1,"x":1}',
            b'{"uid":"alice","channel":"example","":1,"":2}',
            b'{"uid":"alice","channel":"example","x":{"a":1,"a":2}}',
            b'{"uid":"alice","channel":"example","x":[[{"y":[{"a":1,"b":2,"a":2}]}]]}',
            b'[{"a":1,"a":2}]',
        ):
            self.assertEqual(self.refused(payload), _TWICE, f"{payload=}")

    def test_keys_that_look_alike(self) -> None:
        """Keys that differ in case, or repeat in another object, are different keys."""
        self.assertIsNone(self.refused(_with('"Uid":1,"UID":2,"x":{"uid":3},"y":{"uid":4}')))

    def test_names(self) -> None:
        """A uid or channel that is missing, empty, no string, or not printable ASCII is refused by its own reason."""
        bad: dict[str, Any] = {
            "missing": None,
            "empty": "",
            "number": 7,
            "true": True,
            "list": ["alice"],
            "object": {},
            "newline": "al\nice",
            "trailing newline": "alice\n",
            "carriage return": "alice\r",
            "tab": "al\tice",
            "NUL": "alice\0",
            "escape": "\x1b[2J",
            "unit separator": "a\x1f",
            "delete": "alice\x7f",
            "C1 control": "a\x85",
            "umlaut": "älice",
            "no-break space": "a\xa0b",
            "line separator": "a\u2028",
            "emoji": "\U0001f600",
        }
        for name, value in bad.items():
            self.assertEqual(self.refused(_fields(uid=value)), _UID, name)
            self.assertEqual(self.refused(_fields(channel=value)), _CHANNEL, name)

    def test_missing_keys(self) -> None:
        """A header without uid is told about the uid first, one without channel about the channel."""
        for payload, expected in (
            (b"{}", _UID),
            (b'{"channel":"example"}', _UID),
            (b'{"UID":"alice","channel":"example"}', _UID),
            (b'{"uid":"alice"}', _CHANNEL),
        ):
            self.assertEqual(self.refused(payload), expected, f"{payload=}")

    def test_auth(self) -> None:
        """An auth that is no string is refused."""
        for text in ("1", "0", "true", "false", "[]", '["9b3b95527f7c2d80"]', "{}", "1.5"):
            self.assertEqual(self.refused(_with(f'"auth":{text}')), _AUTH, f"{text=}")

    def test_history(self) -> None:
        """A history that is not a whole number from zero up is refused; true and false are no numbers."""
        for text in (
            "true",
            "false",
            "-1",
            "1.0",
            "0.0",
            "-0.0",
            "1e2",
            '"5"',
            '""',
            "[]",
            "[1]",
            "{}",
            "-" + "9" * 30,
        ):
            self.assertEqual(self.refused(_with(f'"history":{text}')), _HISTORY, f"{text=}")

    def test_since(self) -> None:
        """A since that is no list of at most eight digests of exactly sixteen hex digits is refused."""
        good = "0123456789abcdef"
        for value in (
            good,
            "",
            0,
            True,
            False,
            {},
            {good: good},
            [good] * (MAX_SINCE + 1),
            [good] * 700,
            [good[:-1]],
            [good + "0"],
            [""],
            [good, ""],
            [good, None],
            [1],
            [[good]],
            [" " + good[1:]],
            ["+" + good[1:]],
            ["0x" + good[2:]],
            [good[:-1] + "g"],
            [good + "\n"],
            [good[:-1] + "\uff11"],
            [good[:7] + "_" + good[8:]],
        ):
            self.assertEqual(self.refused(_fields(since=value)), _SINCE, f"value={str(value)[:40]!r}")

    def test_receive(self) -> None:
        """A receive that is neither true nor false is refused."""
        for text in ("0", "1", '"false"', '""', "[]", "{}", "0.0"):
            self.assertEqual(self.refused(_with(f'"receive":{text}')), _RECEIVE, f"{text=}")

    def test_resync(self) -> None:
        """An announcement that is no whole number, or of more than any channel remembers, is refused."""
        for text in ("-1", "1000000", "1.0", "1e2", '"1"', "true", "[]", "{}"):
            self.assertEqual(self.refused(_with(f'"resync":{text}')), CloseReason.HEADER_RESYNC, f"{text=}")


class ReplayTests(_HeaderTests):
    """What later joiners see of the first frame."""

    def test_byte_for_byte(self) -> None:
        """A frame without anything private is replayed exactly as it came, so that clients know it again."""
        for payload in (
            b'{"uid":"alice","channel":"example"}',
            b'  { "channel" : "example",\n\t"uid":"\\u0061lice" , "x":1.50, "y":[1E3,"\\/"] }\n',
            '{"uid":"alice","channel":"example","name":"Zoë \U0001f600"}'.encode(),
            b'{"uid":"alice","channel":"example","Auth":"x","HISTORY":1,"nested":{"auth":"kept","since":[]}}',
        ):
            self.assertEqual(parse_header(payload, False).replay, payload, f"{payload=}")

    def test_private_keys_go(self) -> None:
        """Auth and the keys that are meant for the server are taken out, also when they are null."""
        for key, values in {
            "auth": ['"9b3b95527f7c2d80"', "null"],
            "history": ["0", "200", "null"],
            "since": ["[]", '["0123456789abcdef"]', "null"],
            "receive": ["true", "false", "null"],
            "resync": ["0", "200", "null"],
        }.items():
            for value in values:
                for payload in (
                    _with(f'"{key}":{value}'),
                    f'{{"{key}":{value},"uid":"alice","channel":"example"}}'.encode(),
                    f'{{ "uid":"alice", "\\u{ord(key[0]):04x}{key[1:]}":{value},"channel":"example"}}'.encode(),
                ):
                    self.assertEqual(
                        parse_header(payload, False).replay, b'{"uid":"alice","channel":"example"}', f"{payload=}"
                    )

    def test_other_keys_stay(self) -> None:
        """Keys the server does not know are passed on with their values, in their order, nested ones included."""
        payload = (
            '{"z":[1,-2.5,true,false,null],"uid":"alice","auth":"0","channel":"example",'
            '"name":"Zoë \\ud83d\\ude00 \\u0000","a":{"auth":"kept","x":{"history":1}},'
            '"big":123456789012345678901234567890}'
        ).encode()
        replay = parse_header(payload, False).replay
        expected = json.loads(payload)
        del expected["auth"]
        self.assertEqual(list(json.loads(replay).items()), list(expected.items()))
        self.assertIn("Zoë \U0001f600".encode(), replay)

    def test_replay_is_a_header(self) -> None:
        """What is replayed is a good header itself, and replaying it takes nothing more away."""
        replay = parse_header(_fields(auth="0", history=1, name="Zoë", x=[1.0, {"y": "\u2028"}]), False).replay
        again = parse_header(replay, False)
        self.assertEqual(again.replay, replay)
        self.assertEqual((again.uid, again.channel, again.auth, again.history), ("alice", "example", None, None))


_JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)

_NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)


class AnyBytesTests(_HeaderTests):
    """Whatever a peer sends."""

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
    @given(
        payload=st.one_of(
            st.binary(max_size=200),
            st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
            _JSON_VALUES.map(lambda value: json.dumps(value).encode()),
            st.fixed_dictionaries(
                {},
                optional={
                    key: _JSON_VALUES | _NAMES | st.lists(st.sampled_from(("0" * 16, "f" * 16, "1")), max_size=9)
                    for key in ("uid", "channel", "auth", "history", "since", "receive", "resync", "x")
                },
            ).map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
        ),
        is_binary=st.booleans(),
    )
    def test_header_or_violation(self, payload: bytes, is_binary: bool) -> None:
        """Any bytes whatever are either a header that obeys all rules or are refused with a reason."""
        try:
            header = parse_header(payload, is_binary)
        except ProtocolViolation as violation:
            self.assertIsInstance(violation.reason, CloseReason)
            return
        except Exception as error:
            self.fail(f"{payload!r} ends in {error!r}")
        self.assertFalse(is_binary)
        for name in (header.uid, header.channel):
            self.assertTrue(name and name.isascii() and name.isprintable())
        self.assertTrue(header.history is None or header.history >= 0)
        self.assertTrue(len(header.since) <= MAX_SINCE and all(0 <= item < 2**64 for item in header.since))
        self.assertIn(header.receive, (True, False))
        self.assertTrue(0 <= header.resync <= MAX_RESYNC)
        self.assertTrue({"auth", "history", "since", "receive", "resync"}.isdisjoint(json.loads(header.replay)))

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        uid=_NAMES,
        channel=_NAMES,
        history=st.none() | st.integers(0, 10**9),
        since=st.lists(st.integers(0, 2**64 - 1), max_size=MAX_SINCE),
        receive=st.booleans(),
        resync=st.integers(0, MAX_RESYNC),
        more=st.dictionaries(st.sampled_from(("x", "name", "Resync", "Auth")), st.text(max_size=5), max_size=3),
    )
    def test_good_ones_are_understood(
        self,
        uid: str,
        channel: str,
        history: int | None,
        since: list[int],
        receive: bool,
        resync: int,
        more: dict[str, str],
    ) -> None:
        """Every header that keeps the rules is understood as it was meant."""
        digests = [f"{item:016x}" for item in since]
        public = {"uid": uid, "channel": channel} | more
        private = {"history": history, "since": digests, "receive": receive, "resync": resync}
        header = parse_header(json.dumps(public | private).encode(), False)
        self.assertEqual(
            (header.uid, header.channel, header.history, header.since, header.receive, header.resync),
            (uid, channel, history, tuple(since), receive, resync),
        )
        self.assertEqual(json.loads(header.replay), public)


@st.composite
def _nearly_usual(draw: st.DrawFn) -> bytes:
    """What clients usually send, but for a thing or two."""
    name = st.text(st.characters(max_codepoint=0x80), max_size=6) | st.sampled_from(('\\"', "\\\\", "\\u0041", "\\"))
    members = [f'"uid":"{draw(name)}"', f'"channel":"{draw(name)}"']
    if draw(st.booleans()):
        members.append(f'"auth":"{draw(st.sampled_from(("", "0", "0123456789abcdef", "x")) | name)}"')
    if draw(st.integers(0, 9)) == 9:
        members.append(draw(st.sampled_from(('"uid":"a"', '"auth":null', '"history":0', '"x":1', ""))))
    if draw(st.integers(0, 9)) == 9:
        members = draw(st.permutations(members))
    payload = bytearray("{" + ",".join(members) + "}", "utf-8")
    if draw(st.integers(0, 4)) == 4:
        payload[draw(st.integers(0, len(payload) - 1))] = draw(st.integers(0, 255))
    return bytes(payload)


class UsualTests(SynchronousTestCase):
    """The short cut for what clients nearly always send."""

    def test_taken(self) -> None:
        """A header without an auth value takes it, and one with it: JSON is not needed for them."""

        def unwanted(payload: bytes) -> None:
            raise AssertionError(payload)

        self.patch(module, "_any_header", unwanted)
        for payload in (b'{"uid":"alice","channel":"a b"}', b'{"uid":"!","channel":"~","auth":"9b3b95527f7c2d80"}'):
            self.assertEqual(parse_header(payload, False).replay, payload.partition(b',"auth"')[0].rstrip(b"}") + b"}")

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(300))
    @given(payload=_nearly_usual())
    def test_same(self, payload: bytes) -> None:
        """Whatever a client sends, it is understood as without the short cut."""

        def outcome() -> Header | CloseReason:
            try:
                return parse_header(payload, False)
            except ProtocolViolation as violation:
                return violation.reason

        short = outcome()
        patcher = self.patch(module, "_usual_header", lambda payload: None)
        try:
            self.assertEqual(short, outcome())
        finally:
            patcher.restore()


class MakeTests(SynchronousTestCase):
    """The header of a member that is part of the program."""

    def test_as_a_client(self) -> None:
        """It is the one of a client that sends its uid and channel, with the history that was asked for."""
        for history in (None, 0, 1, 999_999):
            header = make_header("alice", 'exa"mple\\', history)
            payload = b'{"uid":"alice","channel":"exa\\"mple\\\\"}'
            self.assertEqual(header, Header("alice", 'exa"mple\\', None, history, (), True, 0, payload))
            self.assertEqual(replace(parse_header(header.replay, False), history=history), header)

    def test_what_no_client_could_send(self) -> None:
        """Names and histories that would be refused from a client are refused, with the rule that they break."""
        long = "x" * MAX_HEADER_BYTES
        table: tuple[tuple[Any, Any, Any, CloseReason], ...] = (
            ("", "example", None, _UID),
            ("älice", "example", None, _UID),
            ("al\nice", "example", None, _UID),
            ("\ud800", "example", None, _JSON),
            (None, "example", None, _UID),
            (7, "example", None, _UID),
            ("alice", "", None, _CHANNEL),
            ("alice", "ex\tample", None, _CHANNEL),
            ("alice", None, None, _CHANNEL),
            ("alice", "example", -1, _HISTORY),
            ("alice", "example", True, _HISTORY),
            ("alice", "example", 1.0, _HISTORY),
            ("alice", "example", "1", _HISTORY),
            (long, "example", None, CloseReason.HEADER_TOO_LARGE),
            ("alice", long, None, CloseReason.HEADER_TOO_LARGE),
        )
        for uid, channel, history, reason in table:
            error = self.assertRaises(ValueError, make_header, uid, channel, history)
            self.assertEqual(str(error), reason.text, f"{uid!r:.20} {channel!r:.20} {history!r}")
