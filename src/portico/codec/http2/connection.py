"""One HTTP/2 connection, either end of it, without I/O (RFC 9113).

    connection.begin(settings)                  # what is to be sent is in `out`, in order
    connection.receive(data, now)               # tells `streams` what the peer wants; raises Http2Error, with GOAWAY in `out`
    connection.send_headers(stream, block, ended)
    connection.send_data(stream, data, most, ended)     # at most `room(stream)` bytes, in frames of at most `most`
    connection.consume(stream, count)           # the receiver has used so many bytes: the peer may send more
    connection.release(stream)                  # nobody works on it any more

Memory and work are bounded whatever the peer sends: a header block is 64 KB in at most nine frames; content that is not consumed is
at most what the windows allow, and the connection's window is not opened while more than `MOST_HELD` waits; frames that cost
something and bring nothing, and mistakes that end a stream, come out of a budget (`budget.py`) that time, finished streams and
content that is sent refill; a stream counts until it is released, reset or not. Where the bounds are exceeded the connection ends
with ENHANCE_YOUR_CALM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.http2.budget import Budget
from portico.codec.http2.errors import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    HeadersTooLarge,
    HpackError,
    Http2Error,
)
from portico.codec.http2.frames import (
    ACK,
    CONNECTION,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE,
    GOAWAY,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_FRAME_SIZE,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    NAMES,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    four_bytes,
    frame,
    frame_start,
    header_frames,
    settings_frame,
)
from portico.codec.http2.hpack import NO_TABLE, TABLE_SIZE, Block, Decoder
from portico.codec.http2.incoming import Incoming
from portico.codec.http2.states import (
    BEGUN,
    CLOSED,
    HALF_CLOSED_REMOTE,
    IDLE,
    LOCAL_END,
    REMOTE_END,
    RESET,
    next_state,
    takes_frames,
)
from portico.codec.http2.streams import Stream, Streams

if TYPE_CHECKING:
    from mypy_extensions import i64

OUR_FRAME_SIZE: Final = 65536  # bytes of payload that we take
MOST_BLOCK: Final = 65536  # bytes of a header block
MOST_CONTINUATIONS: Final = 8
MOST_HELD: Final = 1 << 20  # bytes of content that wait for their receivers
CONNECTION_WINDOW: Final = 1 << 20
_SMALL: Final = 256  # bytes: a smaller WINDOW_UPDATE costs more than it brings
_MOST_RESET: Final = 256  # streams that were reset, of which frames may still be on their way
_MOST_SETTINGS: Final = 32  # in a frame; there are nine
_LONGEST_PRIORITY: Final = 256  # bytes of a PRIORITY_UPDATE that are looked at


@final
class Http2Connection:
    """The state of one connection. `out`: bytes to send, in order."""

    def __init__(self, streams: Streams, is_server: bool, field_limit: int, header_limit: int) -> None:
        self.streams = streams
        self.is_server = is_server
        self.out: list[bytes] = []
        self.open: dict[int, Stream] = {}  # those that are not released
        self.last_stream = 0  # the greatest number that the client has used
        self.window: int = DEFAULT_WINDOW  # bytes of content that the peer takes, of all streams
        self.receive_window: int = DEFAULT_WINDOW
        self.peer_window: int = DEFAULT_WINDOW  # of a new stream
        self.peer_frame: int = FRAME_SIZE
        self.peer_streams: int = LARGEST_WINDOW  # how many the peer lets us have at a time
        self.peer_connects = False  # it takes extended CONNECT (RFC 8441)
        self.most_streams: int = LARGEST_WINDOW
        self.stream_window: int = DEFAULT_WINDOW  # that we give a new stream
        self.is_acknowledged = False  # our settings are
        self.goaway_sent = False
        self.goaway_received = False
        self._decoder = Decoder(field_limit, header_limit)
        self._incoming = Incoming(is_server)
        self._block: list[bytes] = []  # a header block that has not come whole
        self._block_size = 0
        self._block_stream = 0
        self._block_flags = 0
        self._held = 0
        self._uncredited = 0  # bytes received that the peer has not been told of
        self._table_dropped = False  # the peer allows a smaller table than it assumes
        self._budget = Budget()
        self._reset: dict[int, None] = {}  # streams that ended before the peer knew
        self._reset_before = 0  # streams up to this number may be some of those
        self._ignored = 0  # the greatest stream that the client has begun before it knew of our GOAWAY

    # -- life --------------------------------------------------------------------------------------------------------

    def begin(self, settings: list[tuple[int, int]], stream_window: int, most_streams: int) -> None:
        """Send our settings, with the window of streams and their number among them."""
        if not self.is_server:
            self.out.append(PREFACE)
        self.stream_window = stream_window
        self.most_streams = most_streams
        self.out.append(
            settings_frame(
                [
                    (MAX_CONCURRENT_STREAMS, most_streams),
                    (INITIAL_WINDOW_SIZE, stream_window),
                    (MAX_FRAME_SIZE, OUR_FRAME_SIZE),
                    *settings,
                ]
            )
        )
        more = CONNECTION_WINDOW - self.receive_window
        self.receive_window += more
        self.out.append(frame(WINDOW_UPDATE, 0, CONNECTION, four_bytes(more)))

    def goaway(self, code: int = NO_ERROR) -> None:
        """Tell the peer that none of its streams beyond those that have begun will be looked at. Later ones are ignored."""
        if not self.goaway_sent:
            self.goaway_sent = True
            last = self.last_stream if self.is_server else 0
            self.out.append(frame(GOAWAY, 0, CONNECTION, four_bytes(last) + four_bytes(code)))

    def ping(self, data: bytes) -> None:
        """Ask the peer for a sign of life. `data`: eight bytes."""
        self.out.append(frame(PING, 0, CONNECTION, data))

    def forget(self) -> None:
        """Drop what is remembered only to be fast: the connection is idle."""
        self._decoder.forget()

    def lacks_headers(self) -> bool:
        """Return whether a header block has begun to come and is not whole."""
        if self._block_stream:
            return True
        return self._incoming.headers_of() != 0

    # -- receiving ---------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Act on bytes of the peer's. `now`: seconds of a monotonic clock. Raises Http2Error: nothing more is read then."""
        self._budget.refill(now)
        try:
            self._receive(data)
        except Http2Error as error:
            self.goaway_sent = False
            self.goaway(error.code)
            raise

    def _receive(self, data: bytes) -> None:
        data = self._incoming.join(data)
        at: i64 = 0
        size: i64 = len(data)
        while size - at >= 9:
            length: i64 = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            end = at + 9 + length
            if length > OUR_FRAME_SIZE:
                raise Http2Error(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if end > size:
                break
            kind: i64 = data[at + 3]
            flags: i64 = data[at + 4]
            number: i64 = (data[at + 5] & 127) << 24 | data[at + 6] << 16 | data[at + 7] << 8 | data[at + 8]
            payload = data[at + 9 : end]
            at = end
            if kind == HEADERS and self._block_stream == 0:
                self._headers(number, flags, payload)
            else:
                self._frame(kind, flags, number, payload)
        if at < size and self._incoming.keep(data[at:]) == PUSH_PROMISE:
            self._frame(PUSH_PROMISE, 0, 0, b"")

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block_stream and (kind != CONTINUATION or number != self._block_stream):
            raise Http2Error(PROTOCOL_ERROR, "another frame inside of a header block")
        if kind == DATA:
            self._data(number, flags, payload)
        elif kind == WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == HEADERS:
            self._headers(number, flags, payload)
        elif kind == CONTINUATION:
            self._continuation(flags, payload)
        elif kind == SETTINGS:
            self._settings(flags, number, payload)
        elif kind == PING:
            self._ping(flags, number, payload)
        elif kind == RST_STREAM:
            self._rst_stream(number, payload)
        elif kind == GOAWAY:
            self._goaway(number, payload)
        elif kind == PRIORITY:
            self._priority(number, payload)
        elif kind == PRIORITY_UPDATE:
            self._priority_update(number, payload)
        elif kind == PUSH_PROMISE:
            raise Http2Error(PROTOCOL_ERROR, "PUSH_PROMISE, which nobody has allowed")
        else:
            self._budget.spend(kind)  # RFC 9113 section 5.5: a type that nobody knows is ignored

    # -- header blocks

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if flags & (PADDED | HAS_PRIORITY):
            payload = self._unpadded(number, flags, payload)
        if number == 0 or number & 1 == 0:
            raise Http2Error(PROTOCOL_ERROR, f"HEADERS of stream {number}")
        if not flags & END_HEADERS:
            self._block_stream = number
            self._block_flags = flags
            self._block = [payload]
            self._block_size = len(payload)
            return
        self._whole_block(number, flags & END_STREAM != 0, payload)

    def _unpadded(self, number: int, flags: int, payload: bytes) -> bytes:
        """Return the block fragment of a HEADERS frame with padding or a priority, or the content of a DATA frame."""
        end = len(payload)
        at = 0
        if flags & PADDED:
            if not payload:
                raise Http2Error(FRAME_SIZE_ERROR, "a padded frame without a length of its padding")
            end -= payload[0]
            at = 1
        if flags & HAS_PRIORITY:
            if len(payload) - at < 5:
                raise Http2Error(FRAME_SIZE_ERROR, "HEADERS that are too short for their priority")
            if int.from_bytes(payload[at : at + 4], "big") & LARGEST_WINDOW == number:
                raise Http2Error(PROTOCOL_ERROR, f"stream {number} depends on itself")
            at += 5
        if end < at:
            raise Http2Error(PROTOCOL_ERROR, "more padding than frame")
        return payload[at:end]

    def _continuation(self, flags: int, payload: bytes) -> None:
        if not self._block_stream:
            raise Http2Error(PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._block.append(payload)
        self._block_size += len(payload)
        if self._block_size > MOST_BLOCK or len(self._block) > MOST_CONTINUATIONS + 1:
            raise Http2Error(ENHANCE_YOUR_CALM, "a header block that is too large")
        if flags & END_HEADERS:
            number = self._block_stream
            block = b"".join(self._block)
            self._block_stream = 0
            self._block = []
            self._whole_block(number, self._block_flags & END_STREAM != 0, block)

    def _whole_block(self, number: int, ended: bool, data: bytes) -> None:
        try:
            block = self._decoder.decode(data)
        except (HpackError, HeadersTooLarge) as error:
            if self.is_server and number > self.last_stream:
                self.last_stream = number
            if isinstance(error, HpackError):
                raise Http2Error(error.code, f"a header block with {error}") from None
            raise Http2Error(ENHANCE_YOUR_CALM, "too large headers") from None
        stream = self.open.get(number)
        if stream is None:
            if self.is_server and number > self.last_stream:
                self._begin_stream(number, block, ended, len(data))
            else:
                self._late(number, HEADERS)
            return
        if not takes_frames(stream.state):
            if stream.state == CLOSED and self._was_reset(number):
                self._budget.spend(HEADERS)
                return
            self._fail(stream, STREAM_CLOSED)
            return
        if self.is_server:
            if not ended:
                self._fail(stream, PROTOCOL_ERROR)  # RFC 9113 section 8.1: trailers end the stream
                return
            stream.state = next_state(stream.state, REMOTE_END)
            self.streams.on_trailers(stream, block)
            return
        if ended:
            stream.state = next_state(stream.state, REMOTE_END)
        self.streams.on_headers(stream, block, ended)

    def _begin_stream(self, number: int, block: Block, ended: bool, size: int) -> None:
        if self.goaway_sent:
            self._ignored = max(self._ignored, number)  # RFC 9113 section 6.8
            self._budget.spend(HEADERS)
            return
        self.last_stream = number
        ahead = not ended and not self.is_acknowledged and self.stream_window < DEFAULT_WINDOW  # it may send more than we take
        if len(self.open) >= self.most_streams or ahead:
            self._budget.spend(HEADERS)
            self._refuse(number, ended, REFUSED_STREAM)
            return
        stream = Stream(number, self.peer_window, self.stream_window)
        stream.state = next_state(IDLE, BEGUN)
        stream.received = size
        if ended:
            stream.state = HALF_CLOSED_REMOTE
        self.open[number] = stream
        self.streams.on_headers(stream, block, ended)

    def _refuse(self, number: int, ended: bool, code: int) -> None:
        """Reset a stream that is not to begin."""
        self.out.append(frame(RST_STREAM, 0, four_bytes(number), four_bytes(code)))
        if not ended:
            self._remember_reset(number)

    def give_up(self) -> bool:
        """Refuse the stream whose header block does not come whole; return False when it is another frame that does not.

        What still comes of the block is decoded for the table's sake.
        """
        number = self._block_stream or self._incoming.headers_of()
        if not number or number & 1 == 0 or number <= self.last_stream:
            return False
        self.last_stream = number
        self._refuse(number, False, PROTOCOL_ERROR)
        return True

    def _late(self, number: int, kind: int) -> None:
        """Act on a frame of a stream that is not open: idle, over, or reset when the frame was on its way (RFC 9113 section 5.1)."""
        self._check_begun(number, kind)
        if number > self.last_stream or self._was_reset(number):
            self._budget.spend(kind)
            return
        code = PROTOCOL_ERROR if kind == HEADERS else STREAM_CLOSED  # RFC 9113 section 5.1.1: as a new stream it would be one
        raise Http2Error(code, f"{NAMES[kind]} of stream {number}, which is over")

    def _check_begun(self, number: int, kind: int) -> None:
        """Raise Http2Error for a frame of a stream that was never begun."""
        if number & 1 == 0 or (number > self.last_stream and number > self._ignored):
            raise Http2Error(PROTOCOL_ERROR, f"{NAMES[kind]} of stream {number}, which has not begun")

    def _was_reset(self, number: int) -> bool:
        return number in self._reset or number <= self._reset_before

    # -- content

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        length = len(payload)
        if number == 0:
            raise Http2Error(PROTOCOL_ERROR, "DATA of stream 0")
        self.receive_window -= length
        if self.receive_window < 0:
            raise Http2Error(FLOW_CONTROL_ERROR, "more content than the window of the connection")
        self._uncredited += length
        stream = self.open.get(number)
        if stream is None or not takes_frames(stream.state):
            self._credit()
            if stream is None or self._was_reset(number):
                self._late(number, DATA)
            else:
                self._fail(stream, STREAM_CLOSED)
            return
        stream.receive_window -= length
        stream.received += length
        if stream.receive_window < 0:
            self._credit()
            self._fail(stream, FLOW_CONTROL_ERROR)
            return
        if flags & PADDED:
            payload = self._unpadded(number, PADDED, payload)
        ended = flags & END_STREAM != 0
        if ended:
            stream.state = next_state(stream.state, REMOTE_END)
        size = len(payload)
        self._held += size
        stream.held += size
        if size != length:
            self._use(stream, length - size)
        self._credit()
        if not payload and not ended:
            self._budget.spend(DATA)
            return
        self.streams.on_data(stream, payload, ended)

    def consume(self, stream: Stream, count: int) -> None:
        """Let the peer send as many bytes more as the receiver has used."""
        if stream.held < count:
            return  # the stream was released, or reset, and all of it counts as used
        stream.held -= count
        self._held -= count
        self._use(stream, count)
        self._credit()

    def enlarge(self, stream: Stream, window: int) -> None:
        """Give a stream a larger window: its receiver has begun to read."""
        more = window - stream.target
        if more > 0 and takes_frames(stream.state):
            stream.target = window
            stream.receive_window += more
            self.out.append(frame(WINDOW_UPDATE, 0, stream.wire, four_bytes(more)))

    def _use(self, stream: Stream, count: int) -> None:
        stream.consumed += count
        if stream.consumed * 2 >= stream.target and stream.consumed and takes_frames(stream.state):
            stream.receive_window += stream.consumed
            self.out.append(frame(WINDOW_UPDATE, 0, stream.wire, four_bytes(stream.consumed)))
            stream.consumed = 0

    def _credit(self) -> None:
        """Open the connection's window again, unless too much waits for its receivers."""
        if self._uncredited * 2 >= CONNECTION_WINDOW and self._held <= MOST_HELD:
            self.receive_window += self._uncredited
            self.out.append(frame(WINDOW_UPDATE, 0, CONNECTION, four_bytes(self._uncredited)))
            self._uncredited = 0

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(FRAME_SIZE_ERROR, "WINDOW_UPDATE of the wrong size")
        step = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if step < _SMALL:
            self._budget.spend(WINDOW_UPDATE)
        if number == 0:
            if step == 0:
                raise Http2Error(PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self.window += step
            if self.window > LARGEST_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, "a window of the connection beyond 2^31-1")
            self.streams.on_room(None)
            return
        stream = self.open.get(number)
        if stream is None:
            self._check_begun(number, WINDOW_UPDATE)
            return  # it is over; the frame may have been on its way
        if stream.state == CLOSED:
            return
        if step == 0:
            self._fail(stream, PROTOCOL_ERROR)
            return
        stream.window += step
        if stream.window > LARGEST_WINDOW:
            self._fail(stream, FLOW_CONTROL_ERROR)
            return
        self.streams.on_room(stream)

    # -- the connection's own frames

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & ACK:
            if payload:
                raise Http2Error(FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS that has content")
            if self.is_acknowledged:
                self._budget.spend(SETTINGS)
            self.is_acknowledged = True
            return
        if len(payload) % 6:
            raise Http2Error(FRAME_SIZE_ERROR, "SETTINGS of the wrong size")
        if len(payload) > 6 * _MOST_SETTINGS:
            raise Http2Error(ENHANCE_YOUR_CALM, "too many settings")
        self._budget.spend(SETTINGS)
        window = self.peer_window
        for at in range(0, len(payload), 6):
            self._setting(payload[at] << 8 | payload[at + 1], int.from_bytes(payload[at + 2 : at + 6], "big"))
        if self.peer_window != window:
            self._change_windows(self.peer_window - window)
        self.out.append(frame(SETTINGS, ACK, CONNECTION, b""))
        self.streams.on_room(None)

    def _setting(self, name: int, value: int) -> None:
        if name == INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE beyond 2^31-1")
            self.peer_window = value
        elif name == MAX_FRAME_SIZE:
            if not FRAME_SIZE <= value <= LARGEST_FRAME_SIZE:
                raise Http2Error(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of its range")
            self.peer_frame = value
        elif name == HEADER_TABLE_SIZE:
            self._table_dropped = self._table_dropped or value < TABLE_SIZE
        elif name == MAX_CONCURRENT_STREAMS:
            self.peer_streams = value
        elif name == ENABLE_PUSH:
            if value > 1 or (value and not self.is_server):
                raise Http2Error(PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH out of its range")
        elif name == ENABLE_CONNECT_PROTOCOL:
            if value > 1:
                raise Http2Error(PROTOCOL_ERROR, "SETTINGS_ENABLE_CONNECT_PROTOCOL out of its range")
            self.peer_connects = value == 1

    def _change_windows(self, step: int) -> None:
        """Change the windows of the streams that are open: their first size was changed (RFC 9113 section 6.9.2)."""
        for stream in self.open.values():
            stream.window += step
            if stream.window > LARGEST_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE makes a window beyond 2^31-1")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise Http2Error(FRAME_SIZE_ERROR, "PING of the wrong size")
        self._budget.spend(PING)
        if not flags & ACK:
            self.out.append(frame(PING, ACK, CONNECTION, payload))

    def _rst_stream(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(FRAME_SIZE_ERROR, "RST_STREAM of the wrong size")
        self._check_begun(number, RST_STREAM)
        self._budget.spend(RST_STREAM)
        stream = self.open.get(number)
        if stream is not None and stream.state != CLOSED:
            self._close(stream)
            self.streams.on_reset(stream, int.from_bytes(payload, "big"))

    def _goaway(self, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise Http2Error(FRAME_SIZE_ERROR, "GOAWAY of the wrong size")
        self._budget.spend(GOAWAY)
        self.goaway_received = True
        self.streams.on_goaway(
            int.from_bytes(payload[:4], "big") & LARGEST_WINDOW, int.from_bytes(payload[4:8], "big")
        )

    def _priority(self, number: int, payload: bytes) -> None:
        """Check a frame that RFC 9113 section 5.3.2 has deprecated; what it wishes is not looked at."""
        if number == 0:
            raise Http2Error(PROTOCOL_ERROR, "PRIORITY of stream 0")
        if len(payload) != 5:
            raise Http2Error(FRAME_SIZE_ERROR, "PRIORITY of the wrong size")
        if int.from_bytes(payload[:4], "big") & LARGEST_WINDOW == number:
            raise Http2Error(PROTOCOL_ERROR, f"stream {number} depends on itself")
        self._budget.spend(PRIORITY)

    def _priority_update(self, number: int, payload: bytes) -> None:
        if number or not self.is_server:
            raise Http2Error(PROTOCOL_ERROR, "PRIORITY_UPDATE that is not the client's, of the connection")
        if len(payload) < 4:
            raise Http2Error(FRAME_SIZE_ERROR, "PRIORITY_UPDATE of the wrong size")
        about = int.from_bytes(payload[:4], "big") & LARGEST_WINDOW
        if about == 0 or about & 1 == 0:
            raise Http2Error(PROTOCOL_ERROR, f"PRIORITY_UPDATE about stream {about}")
        self._budget.spend(PRIORITY_UPDATE)
        if len(payload) <= _LONGEST_PRIORITY:
            self.streams.on_priority(about, payload[4:])

    # -- sending -----------------------------------------------------------------------------------------------------

    def open_stream(self) -> Stream:
        """Return a new stream: of a client, which has to look at `peer_streams` before."""
        self.last_stream += 2 if self.last_stream else 1
        stream = Stream(self.last_stream, self.peer_window, self.stream_window)
        stream.state = next_state(IDLE, BEGUN)
        self.open[stream.number] = stream
        return stream

    def room(self, stream: Stream) -> int:
        """Return how many bytes of content can be sent now."""
        room = stream.window if stream.window < self.window else self.window
        return room if room > 0 else 0

    def send_headers(self, stream: Stream, block: bytes, ended: bool) -> None:
        """Send a header section, or trailers (`ended`). `block`: of `hpack.encoded_field`."""
        if stream.state == CLOSED:
            return
        if self._table_dropped:
            self._table_dropped = False
            block = NO_TABLE + block
        out = self.out
        if len(block) <= FRAME_SIZE:
            out.append(frame_start(HEADERS, END_HEADERS | END_STREAM if ended else END_HEADERS, len(block)))
            out.append(stream.wire)
            out.append(block)
        else:
            out.append(header_frames(stream.wire, block, ended, self.peer_frame))
        if ended:
            self._end(stream)

    def send_data(self, stream: Stream, data: bytes, most: int, ended: bool) -> None:
        """Send content, no more than `room` says, in frames of `most` bytes at most; b"" with `ended` needs no room."""
        if stream.state == CLOSED:
            return
        size: i64 = len(data)
        self.window -= size
        stream.window -= size
        if size and not self._budget.is_full():
            self._earn(stream, size)
        out = self.out
        if self.peer_frame < most:
            most = self.peer_frame
        flags = END_STREAM if ended else 0
        if size <= most:
            out.append(frame_start(DATA, flags, size))
            out.append(stream.wire)
            if size:
                out.append(data)
        else:
            at: i64 = 0
            while at < size:
                end = at + most
                if end >= size:
                    end = size
                    out.append(frame_start(DATA, flags, end - at))
                else:
                    out.append(frame_start(DATA, 0, most))
                out.append(stream.wire)
                out.append(data[at:end])
                at = end
        if ended:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        stream.state = next_state(stream.state, LOCAL_END)
        self._budget.earn()

    def _earn(self, stream: Stream, size: int) -> None:
        """Let content that is sent refill the budget: peers measure the delay by it (PING) and give its bytes back.

        Content that is short because a window is does not: that is a response by the byte (CVE-2019-9511).
        """
        if size >= _SMALL or (stream.window > 0 and self.window > 0):
            self._budget.earn()

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream at once. Nothing is sent when it is over already."""
        if stream.state != CLOSED:
            self.out.append(frame(RST_STREAM, 0, stream.wire, four_bytes(code)))
            self._close(stream)

    def _fail(self, stream: Stream, code: int) -> None:
        """End a stream for a mistake of the peer's."""
        if stream.state != CLOSED:
            self.reset(stream, code)
            self.streams.on_reset(stream, code)
            self._budget.spend(RST_STREAM)  # the work on a request was for nothing (CVE-2025-8671)
        else:
            raise Http2Error(code, f"a frame of stream {stream.number}, which is over")

    def _close(self, stream: Stream) -> None:
        """Note that a stream was reset, by either side."""
        if takes_frames(stream.state):
            self._remember_reset(stream.number)
        stream.state = next_state(stream.state, RESET)
        self._drop(stream)

    def _remember_reset(self, number: int) -> None:
        if len(self._reset) >= _MOST_RESET:
            oldest = next(iter(self._reset))
            del self._reset[oldest]
            self._reset_before = max(self._reset_before, oldest)
        self._reset[number] = None

    def _drop(self, stream: Stream) -> None:
        """Count what waits as consumed: nobody will."""
        self._held -= stream.held
        stream.held = 0
        self._credit()

    def release(self, stream: Stream) -> None:
        """Take a stream out of the count: whoever worked on it has ended. It is reset when it is not over."""
        self.reset(stream, NO_ERROR)
        self._drop(stream)
        self.open.pop(stream.number, None)
