"""Tests of one connection's life: what each message means, and which steps there are."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol import session as module
from mles_tx.protocol.auth import auth_value
from mles_tx.protocol.closing import CloseReason, ProtocolViolation
from mles_tx.protocol.frames import encode_message
from mles_tx.protocol.header import Header
from mles_tx.protocol.session import TRANSITIONS, Event, Session, SessionStateError, State

_HELLO = b'{"uid":"alice","channel":"example"}'

#: The whole table: None where there is no such step.
_TABLE: dict[tuple[State, Event], State | None] = {
    (State.AWAIT_HEADER, Event.HEADER): State.JOINING,
    (State.AWAIT_HEADER, Event.JOINED): None,
    (State.AWAIT_HEADER, Event.OFFERING): None,
    (State.AWAIT_HEADER, Event.OFFERED): None,
    (State.AWAIT_HEADER, Event.CLOSE): State.CLOSED,
    (State.JOINING, Event.HEADER): None,
    (State.JOINING, Event.JOINED): State.LIVE,
    (State.JOINING, Event.OFFERING): State.RESYNC,
    (State.JOINING, Event.OFFERED): None,
    (State.JOINING, Event.CLOSE): State.CLOSED,
    (State.RESYNC, Event.HEADER): None,
    (State.RESYNC, Event.JOINED): None,
    (State.RESYNC, Event.OFFERING): None,
    (State.RESYNC, Event.OFFERED): State.LIVE,
    (State.RESYNC, Event.CLOSE): State.CLOSED,
    (State.LIVE, Event.HEADER): None,
    (State.LIVE, Event.JOINED): None,
    (State.LIVE, Event.OFFERING): None,
    (State.LIVE, Event.OFFERED): None,
    (State.LIVE, Event.CLOSE): State.CLOSED,
    (State.CLOSED, Event.HEADER): None,
    (State.CLOSED, Event.JOINED): State.CLOSED,
    (State.CLOSED, Event.OFFERING): State.CLOSED,
    (State.CLOSED, Event.OFFERED): State.CLOSED,
    (State.CLOSED, Event.CLOSE): State.CLOSED,
}


def _session_in(state: State, key: bytes | None = None) -> Session:
    """A session that came to a state the way a connection does."""
    session = Session(() if key is None else (key,))
    if state is State.CLOSED:
        session.close()
    elif state is not State.AWAIT_HEADER:
        resync = b',"resync":1}' if state is State.RESYNC else b"}"
        session.receive(_HELLO[:-1] + resync, False)
        if state is not State.JOINING:
            session.joined()
    return session


class TableTests(SynchronousTestCase):
    """Every pair of state and event has one outcome."""

    def test_keys_change(self) -> None:
        """The keys that count are those of the moment in which the header comes."""
        session = Session((b"old",))
        session.keys = (b"s3cret",)
        right = auth_value("alice", "example", b"s3cret")
        header = session.receive(_HELLO[:-1] + b',"auth":"%s"}' % right.encode(), False)
        self.assertIsInstance(header, Header)

    def test_every_pair(self) -> None:
        """Each event in each state leads where the table says; one that has no place there changes nothing."""
        self.assertEqual(set(_TABLE), {(state, event) for state in State for event in Event})
        for (state, event), after in _TABLE.items():
            session = _session_in(state)
            self.assertIs(session.state, state, f"state={state.name!r} event={event.name!r}")
            if after is None:
                with self.assertRaises(SessionStateError) as caught:
                    session._move(event)
                self.assertEqual(
                    str(caught.exception), f"{event.name} in {state.name}", f"state={state.name!r} event={event.name!r}"
                )
                self.assertIs(session.state, state, f"state={state.name!r} event={event.name!r}")
            else:
                session._move(event)
                self.assertIs(session.state, after, f"state={state.name!r} event={event.name!r}")

    def test_published_table(self) -> None:
        """The table the module offers is the whole one, without a pair more or less."""
        offered = {(state, event): after for state, row in TRANSITIONS.items() for event, after in row.items()}
        self.assertEqual(offered, {pair: after for pair, after in _TABLE.items() if after is not None})

    def test_documented_table(self) -> None:
        """The table in the documentation of the module is the one that holds."""
        rows = [line.split() for line in (module.__doc__ or "").splitlines()]
        events = next(row[1:] for row in rows if row[:1] == ["state"])
        read = {
            (State[row[0]], Event[event]): None if after == "--" else State[after]
            for row in rows
            if row and row[0] in State.__members__
            for event, after in zip(events, row[1:], strict=True)
        }
        self.assertEqual(read, _TABLE)


class FirstFrameTests(SynchronousTestCase):
    """The first message asks to join."""

    def test_good(self) -> None:
        """A good first frame is taken as the wish to join, and the session waits for the channel."""
        session = Session(())
        header = session.receive(_HELLO, False)
        self.assertIsInstance(header, Header)
        assert isinstance(header, Header)
        self.assertEqual((header.uid, header.channel, header.replay), ("alice", "example", _HELLO))
        self.assertIs(session.state, State.JOINING)

    def test_bad(self) -> None:
        """A first frame that breaks a rule is refused with that rule, and the session stays as it was."""
        right = auth_value("alice", "example", b"s3cret")
        table: tuple[tuple[bytes, bool, bytes | None, CloseReason], ...] = (
            (_HELLO, True, None, CloseReason.HEADER_NOT_TEXT),
            (b"hello", False, None, CloseReason.HEADER_NOT_JSON),
            (b"{}", False, None, CloseReason.HEADER_UID),
            (b'{"uid":"alice"}', False, None, CloseReason.HEADER_CHANNEL),
            (_HELLO, False, b"s3cret", CloseReason.AUTH_REQUIRED),
            (_HELLO[:-1] + b',"auth":null}', False, b"s3cret", CloseReason.AUTH_REQUIRED),
            (_HELLO[:-1] + b',"auth":"0"}', False, b"s3cret", CloseReason.AUTH_WRONG),
            (_HELLO[:-1] + b',"auth":"%s"}' % right.encode(), False, None, CloseReason.AUTH_WRONG),
            (_HELLO[:-1] + b',"auth":"0x1"}', False, None, CloseReason.HEADER_AUTH),
            (_HELLO[:-1] + b',"auth":"x","history":-1}', False, None, CloseReason.HEADER_HISTORY),
        )
        for payload, binary, key, expected in table:
            session = Session(() if key is None else (key,))
            with self.assertRaises(ProtocolViolation) as caught:
                session.receive(payload, binary)
            self.assertIs(caught.exception.reason, expected, f"{payload=} {key=}")
            self.assertIs(session.state, State.AWAIT_HEADER, f"{payload=} {key=}")

    def test_with_the_key(self) -> None:
        """Who proves to know the server's key is let in, and the proof is not passed on."""
        right = auth_value("alice", "example", b"s3cret")
        session = Session((b"s3cret",))
        header = session.receive(_HELLO[:-1] + b',"auth":"%s"}' % right.encode(), False)
        assert isinstance(header, Header)
        self.assertEqual(header.auth, right)
        self.assertEqual(json.loads(header.replay), {"uid": "alice", "channel": "example"})
        self.assertIs(session.state, State.JOINING)


class LaterMessageTests(SynchronousTestCase):
    """What is said afterwards is for the others."""

    def test_live(self) -> None:
        """A member's messages come out as frames for the others, text as text and binary as binary."""
        session = _session_in(State.LIVE)
        for payload, binary in (
            (b"hi", False),
            (b"\xff\x00", True),
            (b"", False),
            (b"x" * 70_000, True),
            (_HELLO, False),
        ):
            self.assertEqual(
                session.receive(payload, binary), encode_message(payload, binary), f"length={len(payload)!r} {binary=}"
            )
            self.assertIs(session.state, State.LIVE, f"length={len(payload)!r} {binary=}")

    def test_early(self) -> None:
        """What comes while the channel has not answered yet is not lost: it is published after the join, in order."""
        session = _session_in(State.JOINING)
        self.assertEqual([session.receive(b"one", False), session.receive(b"two", True)], [None, None])
        self.assertEqual(session.joined(), [encode_message(b"one", False), encode_message(b"two", True)])
        self.assertEqual(session.receive(b"three", False), encode_message(b"three", False))

    def test_history_that_was_announced(self) -> None:
        """So many messages as were announced are history, those included that came early; what follows is said now."""
        session = Session(())
        session.receive(_HELLO[:-1] + b',"resync":3}', False)
        session.receive(b"one", False)
        self.assertEqual(session.joined(), [encode_message(b"one", False)])
        self.assertEqual((session.count_offered(1), session.state), (1, State.RESYNC))
        self.assertEqual(session.receive(b"two", True), encode_message(b"two", True))
        self.assertEqual((session.count_offered(4), session.state), (2, State.LIVE))

    def test_nothing_early(self) -> None:
        """Who says nothing while joining has nothing to be published."""
        self.assertEqual(_session_in(State.JOINING).joined(), [])

    def test_second_header_is_a_message(self) -> None:
        """A second header is a message like any other, while joining and afterwards."""
        session = _session_in(State.JOINING)
        self.assertIsNone(session.receive(_HELLO, False))
        self.assertEqual(session.joined(), [encode_message(_HELLO, False)])

    def test_joined_out_of_place(self) -> None:
        """A channel's answer that nobody asked for is a fault of ours, and changes nothing for the peer."""
        for state in (State.AWAIT_HEADER, State.LIVE):
            session = _session_in(state)
            self.assertRaises(SessionStateError, session.joined)
            self.assertIs(session.state, state, f"state={state.name!r}")


class CloseTests(SynchronousTestCase):
    """After the end nothing counts any more."""

    def test_from_every_state(self) -> None:
        """A connection may end at any moment, and any number of times."""
        for state in State:
            session = _session_in(state)
            session.close()
            session.close()
            self.assertIs(session.state, State.CLOSED, f"state={state.name!r}")

    def test_messages_are_ignored(self) -> None:
        """What still comes after the end is neither published, nor a join, nor an error."""
        for state in State:
            session = _session_in(state)
            session.close()
            for payload, binary in ((_HELLO, False), (b"hi", False), (b"\xff", True), (b"", False)):
                self.assertIsNone(session.receive(payload, binary), f"state={state.name!r}")
            self.assertIs(session.state, State.CLOSED, f"state={state.name!r}")

    def test_early_messages_go(self) -> None:
        """Who ends while it is joining has said nothing, even when the channel still answers."""
        session = _session_in(State.JOINING)
        session.receive(b"early", False)
        session.close()
        self.assertEqual(session.joined(), [])
        self.assertIs(session.state, State.CLOSED)


class AnyLifeTests(SynchronousTestCase):
    """Whatever happens in whatever order."""

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps=st.lists(st.sampled_from(("hello", "bad", "text", "joined", "close")), max_size=12))
    def test_any_order(self, steps: list[str]) -> None:
        """Every message of a member is published exactly once and in order, and none of anybody else's."""
        session = Session(())
        published: list[bytes] = []
        expected: list[bytes] = []
        early: list[bytes] = []
        state = "new"
        for number, step in enumerate(steps):
            payload = {"hello": _HELLO, "bad": b"[%d]" % number, "text": b"%d" % number}.get(step)
            if payload is not None:
                frame = encode_message(payload, False)
                if state == "new" and step != "hello":
                    self.assertRaises(ProtocolViolation, session.receive, payload, False)
                    continue
                meaning = session.receive(payload, False)
                if isinstance(meaning, bytes):
                    published.append(meaning)
                self.assertEqual(isinstance(meaning, Header), state == "new")
                if state == "live":
                    expected.append(frame)
                elif state == "joining":
                    early.append(frame)
                elif state == "new":
                    state = "joining"
            elif step == "close":
                session.close()
                state = "closed"
            elif state in ("new", "live"):
                self.assertRaises(SessionStateError, session.joined)
            else:
                published += session.joined()
                if state == "joining":
                    state = "live"
                    expected += early
        self.assertEqual(published, expected, f"{steps}")
