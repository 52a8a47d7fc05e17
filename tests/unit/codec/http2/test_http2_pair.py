"""Two ends of a connection, back to back: whatever both do, and however late the other learns of it, neither finds a mistake."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.codec.http2.endpoint import GET, Endpoint, not_compiled

from portico.codec.http2.errors import CANCEL
from portico.codec.http2.frames import CONNECTION, PRIORITY_UPDATE, four_bytes, frame
from portico.codec.http2.hpack import encoded_field
from portico.codec.http2.states import CLOSED, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, OPEN
from portico.codec.http2.streams import Stream

pytestmark = not_compiled

MOST = 4
OK, INTERIM = encoded_field(b":status", b"200"), encoded_field(b":status", b"103")
TRAILERS = encoded_field(b"x-sum", b"1")
MAY_SEND = (OPEN, HALF_CLOSED_REMOTE)
SIDES = st.sampled_from([0, 1])
PICKS = st.integers(0, 1000)
RARELY = st.integers(0, 4).map(lambda value: value == 0)


class Pair(RuleBasedStateMachine):
    """A client and a server. What one sends is on its way until `deliver`, in pieces of any size."""

    @initialize(window=st.sampled_from([1, 100, 65535, 200000]), keeps=st.booleans())
    def begin(self, window: int, keeps: bool) -> None:
        self.ends = (Endpoint(False, window, MOST, keeps), Endpoint(True, window, MOST, keeps))
        self.client, self.server = self.ends
        self.on_way = [b"", b""]  # from the client, from the server
        self.said: list[dict[int, bytearray]] = [{}, {}]
        self.finished: list[set[int]] = [set(), set()]  # streams that were ended by that side, in order
        self.ours: list[dict[int, Stream]] = [{}, self.server.streams]
        self.begun: set[int] = set()  # responses
        self.undone: set[int] = set()  # streams that one side has given up
        self.count = 0
        for _ in range(3):
            self.ask(False)
        self.deliver_all()
        self.answer(0, False, False)

    def flush(self, side: int) -> None:
        self.on_way[side] += self.ends[side].take()

    def pick(self, side: int, pick: int) -> Stream | None:
        """One of the streams on which a side may send content."""
        able = [
            stream for stream in self.ours[side].values() if stream.state in MAY_SEND and (side == 0 or stream.number in self.begun)
        ]
        return able[pick % len(able)] if able else None

    def any_of(self, side: int, pick: int) -> Stream | None:
        all_of = [stream for stream in self.ours[side].values() if stream.number in self.ends[side].wire.open]
        return all_of[pick % len(all_of)] if all_of else None

    def undo(self, stream: Stream) -> None:
        if stream.state != CLOSED:
            self.undone.add(stream.number)

    def looks_at(self, number: int) -> bool:
        """Whether the server has begun to work on a stream, as it does until it sends GOAWAY."""
        return self.client.last_goaway is None or number <= self.client.last_goaway[0]

    # -- what either does

    @precondition(lambda self: not self.client.wire.goaway_received)
    @rule(ended=RARELY)
    def ask(self, ended: bool) -> None:
        stream = self.client.wire.open_stream()
        self.ours[0][stream.number] = stream
        self.client.wire.send_headers(stream, GET, ended)
        if ended:
            self.finished[0].add(stream.number)

    @rule(pick=PICKS, interim=st.booleans(), ended=RARELY)
    def answer(self, pick: int, interim: bool, ended: bool) -> None:
        able = [each for each in self.server.streams.values() if each.state in MAY_SEND and each.number not in self.begun]
        if able:
            stream = able[pick % len(able)]
            if interim:
                self.server.wire.send_headers(stream, INTERIM, False)
            self.begun.add(stream.number)
            self.server.wire.send_headers(stream, OK, ended)
            if ended:
                self.finished[1].add(stream.number)

    @rule(side=SIDES, pick=PICKS, size=st.sampled_from([1, 700, 20000]), most=st.sampled_from([3, 8192, 1 << 20]), ended=RARELY)
    def send(self, side: int, pick: int, size: int, most: int, ended: bool) -> None:
        stream = self.pick(side, pick)
        if stream is None:
            return
        room = self.ends[side].wire.room(stream)
        self.count += 1
        content = (b"%d:" % self.count * size)[: min(size, room, 300 * most)]
        self.said[side].setdefault(stream.number, bytearray()).extend(content)
        if content or ended:
            self.ends[side].wire.send_data(stream, content, most, ended)
        if ended:
            self.finished[side].add(stream.number)

    @rule(side=SIDES, pick=PICKS)
    def end_by_trailers(self, side: int, pick: int) -> None:
        stream = self.pick(side, pick)
        if stream is not None:
            self.ends[side].wire.send_headers(stream, TRAILERS, True)
            self.finished[side].add(stream.number)

    @rule(side=SIDES, pick=PICKS)
    def reset(self, side: int, pick: int) -> None:
        stream = self.any_of(side, pick)
        if stream is not None:
            self.undo(stream)
            self.ends[side].wire.reset(stream, CANCEL)

    @rule(side=SIDES, pick=PICKS)
    def release(self, side: int, pick: int) -> None:
        stream = self.any_of(side, pick)
        if stream is not None:
            self.undo(stream)
            self.ends[side].wire.release(stream)

    @rule(side=SIDES, pick=PICKS, share=st.integers(1, 3))
    def consume(self, side: int, pick: int, share: int) -> None:
        stream = self.any_of(side, pick)
        if stream is not None and self.ends[side].keeps:
            self.ends[side].wire.consume(stream, -(-stream.held // share))

    @rule(pick=PICKS, window=st.sampled_from([100, 70000, 300000]))
    def enlarge(self, pick: int, window: int) -> None:
        stream = self.any_of(1, pick)
        if stream is not None:
            self.server.wire.enlarge(stream, window)

    @rule(side=SIDES)
    def ping(self, side: int) -> None:
        self.ends[side].wire.ping(b"12345678")

    @rule(number=st.sampled_from([1, 3, 9, 101]))
    def wish(self, number: int) -> None:
        self.client.wire.out.append(frame(PRIORITY_UPDATE, 0, CONNECTION, four_bytes(number) + b"u=2"))

    @rule(really=st.integers(0, 9))
    def go_away(self, really: int) -> None:
        if really == 0:
            self.server.wire.goaway()

    @rule()
    def deliver_all(self) -> None:
        for side in (0, 1, 0):
            self.deliver_from(side, 1 << 20)

    @rule(side=SIDES, size=st.one_of(st.integers(1, 20), st.just(1 << 20)))
    def deliver(self, side: int, size: int) -> None:
        self.deliver_from(side, size)

    def deliver_from(self, side: int, size: int) -> None:
        self.flush(side)
        arrived, self.on_way[side] = self.on_way[side][:size], self.on_way[side][size:]
        self.ends[1 - side].receive(arrived)

    # -- what always holds

    @invariant()
    def what_comes_is_what_was_sent(self) -> None:
        if hasattr(self, "ends"):
            for side in (0, 1):
                for number, content in self.ends[1 - side].content.items():
                    assert self.said[side].get(number, bytearray()).startswith(content)

    @invariant()
    def nobody_thinks_that_it_may_send_more_than_the_other_takes(self) -> None:
        if not hasattr(self, "ends"):
            return
        for side in (0, 1):
            mine, theirs = self.ends[side].wire, self.ends[1 - side].wire
            assert mine.window <= theirs.receive_window
            for number, stream in mine.open.items():
                other = theirs.open.get(number)
                if stream.state in MAY_SEND and other is not None and other.state in (OPEN, HALF_CLOSED_LOCAL):
                    assert stream.window <= other.receive_window
            assert mine._held == sum([stream.held for stream in mine.open.values()])
            assert theirs.receive_window >= 0

    @invariant()
    def the_limit_of_streams_holds(self) -> None:
        if hasattr(self, "ends"):
            assert len(self.server.wire.open) <= MOST

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        while True:  # all that is on its way comes, and all that waits is consumed
            for side in (0, 1):
                one = self.ends[side]
                for stream in list(one.wire.open.values()):
                    one.wire.consume(stream, stream.held)
                self.flush(side)
            if not any(self.on_way):
                break
            for side in (0, 1):
                arrived, self.on_way[side] = self.on_way[side], b""
                self.ends[1 - side].receive(arrived)
        for side in (0, 1):
            mine, other = self.ends[side], self.ends[1 - side]
            assert mine.wire._held == 0
            assert mine.wire.window == other.wire.receive_window  # nothing is lost on the way
            for number, stream in mine.wire.open.items():
                theirs = other.wire.open.get(number)
                if theirs is not None and stream.state in MAY_SEND and theirs.state in (OPEN, HALF_CLOSED_LOCAL):
                    assert stream.window == theirs.receive_window
            for number in self.finished[side]:
                if number not in self.undone | set(mine.resets) | set(other.resets) and (side == 1 or self.looks_at(number)):
                    assert number in other.ended
                    assert other.content.get(number, b"") == self.said[side].get(number, b"")
        for one in self.ends:
            for number in one.ended | set(one.resets):
                mine_only = [event for event in one.events if event[1] == number and event[0] != "priority"]
                gone = [index for index, event in enumerate(mine_only) if event[0] == "reset"]
                assert not gone or gone == [len(mine_only) - 1]  # nothing is told of a stream behind its reset


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=100, stateful_step_count=50)
