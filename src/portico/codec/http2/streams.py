"""The streams of one connection, and whoever is told what happens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.codec.http2.frames import four_bytes
from portico.codec.http2.states import IDLE

if TYPE_CHECKING:
    from portico.codec.http2.hpack import Block


@final
class Stream:
    """One stream, as the connection knows it."""

    def __init__(self, number: int, window: int, receive_window: int) -> None:
        self.number = number
        self.wire: bytes = four_bytes(number)
        self.state: int = IDLE
        self.window: int = window  # bytes that the peer takes; negative when it has changed its mind
        self.receive_window: int = receive_window  # bytes that we take
        self.target: int = receive_window  # … when nothing waits
        self.held: int = 0  # bytes that wait to be consumed
        self.consumed: int = 0  # bytes that the peer has not been told to be consumed
        self.received: int = 0  # bytes of header blocks and content, padding included


class Streams:
    """Whoever is told what the peer wants. A stream's number says nothing about its owner: they keep their own table."""

    def on_headers(self, stream: Stream, block: Block, ended: bool) -> None:
        """A request has come; to a client a response, interim or final."""
        raise NotImplementedError

    def on_trailers(self, stream: Stream, block: Block) -> None:
        """Fields have come behind the content, which is over."""
        raise NotImplementedError

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Content has come, at least a byte or its end: `consume` it."""
        raise NotImplementedError

    def on_reset(self, stream: Stream, code: int) -> None:
        """The stream is over, reset by the peer, or here for a mistake of the peer's."""
        raise NotImplementedError

    def on_room(self, stream: Stream | None) -> None:
        """More can be sent: on this stream, or on any (None)."""
        raise NotImplementedError

    def on_goaway(self, last: int, code: int) -> None:
        """The peer begins no more streams; it has not looked at ours above `last`."""
        raise NotImplementedError

    def on_priority(self, number: int, value: bytes) -> None:
        """The peer wishes this for a response (RFC 9218): a Priority field's value. The stream may not be open yet."""
        raise NotImplementedError
