"""What the upstreams of a location speak. Exchange, retries, buffering, cache and store know a protocol only by these classes.

    UpstreamProtocol     of a location: makes the bytes of a request that are the same for every peer
    UpstreamStream       a request and its response on one connection: bytes in, bytes out
    ResponseBodyReader   takes the framing off one response's body

None of them does I/O. The course of an attempt (exchange.py)::

    encoded = protocol.encode(asked)               # once for all attempts
    stream = protocol.stream_of(connection)
    send(stream.begin(asked, encoded, limit))      # then pieces of the body: encode_piece, encode_end
    head = stream.read_head(received)              # None: more is needed; 1xx: interim responses, as they come
    content = stream.whole_body()                  # it has come already; else
    reader = stream.body_reader()                  # feed it until it is done
    stream.is_reusable()                           # may another request follow on the connection?

A protocol is a package or a file beside `http1/`, and a feature that declares its directives; the catalogue of features is the only
existing file that it is added to. A stream belongs to its connection (`PeerConnection.state`) where requests follow one another, so
that it costs no request an object. What the others do where it is not obvious:

FastCGI     `encode`: BEGIN_REQUEST, PARAMS, and a body in memory as STDIN records; `encode_piece` and `encode_end` are STDIN, too.
            `read_head` collects STDOUT until the CGI header section ends, whose Status is the status; STDERR is for the error log.
            The body is done with END_REQUEST. `is_reusable` where FCGI_KEEP_CONN was asked for.
uwsgi, SCGI `needs_length`, as the length goes first. The response is as CGI's (uwsgi: or HTTP's), and ends with the connection.
memcached   `encode`: one `get` line. `read_head`: VALUE gives the length, END alone is a 404. The body reader takes the END line off
            behind the last byte of content, and is done when it has seen it.
HTTP/2      `encode`: the header section, with no dynamic table and so no connection; `begin` numbers its stream and frames it.
            `stream_of` makes a stream for each request and sets `PeerConnection.concurrency`: the pool hands out by that. A task of
            the connection reads its frames in order and decodes header sections; what is of a stream waits at its `end`, whose
            sending is bounded by the windows. `is_unprocessed` after GOAWAY and REFUSED_STREAM; `stop_sending` resets the stream,
            and the connection stays reusable.
gRPC        HTTP/2 whose body readers have trailers. Where a response begins before the request has ended, `has_begun` stays False
            until the upstream has ended its side: an exchange sends first and reads then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from portico.balancing.pool import PeerConnection
    from portico.codec.http1_response import ResponseHead
    from portico.http.body import RequestBody
    from portico.http.request import Request
    from portico.net.duplex import Duplex


@final
class UpstreamRequest:
    """What an upstream is asked for, in no protocol's terms yet. A hook (hook.py) may change it."""

    def __init__(self, request: Request, method: bytes, uri: bytes, host: bytes, body: RequestBody | None) -> None:
        self.request = request
        self.method = method
        self.uri = uri
        self.host = host  # of the location's URL, with its port
        self.body = body  # the client's, where it is passed on
        self.content: bytes | None = None  # a body of the configuration's own
        self.fields: list[tuple[bytes, bytes]] | None = None  # header fields in front of those of the location
        self.method_is_set = False  # by the configuration (`proxy_method`): a hook leaves it alone
        self.abortable = True  # a client that leaves ends the exchange
        self.is_repeatable = False  # the location and the client's header section alone decide about the header fields

    def length(self) -> int:
        """Return the length of the body in bytes; -1 when there is none, or only its end will tell."""
        if self.content is not None:
            return len(self.content)
        return -1 if self.body is None else self.body.length

    def is_open_ended(self) -> bool:
        """Return whether there is a body of which only the end will tell the length."""
        return self.body is not None and self.body.length < 0


class UpstreamProtocol:
    """A protocol as one location speaks it. What it is made of at load is never written afterwards."""

    def __init__(self, can_upgrade: bool, needs_length: bool) -> None:
        self.can_upgrade = can_upgrade  # 101 turns the connection into one of another protocol
        self.needs_length = needs_length  # a body whose length is not known is read whole before it is sent

    def encode(self, asked: UpstreamRequest) -> bytes:
        """Return the request as every peer gets it, with its body where that is in memory. Raises HTTPError."""
        raise NotImplementedError

    def stream_of(self, connection: PeerConnection) -> UpstreamStream:
        """Return the stream for the next request on a connection that was acquired for it."""
        raise NotImplementedError


class UpstreamStream:
    """A request and its response on one connection. What it reads may raise ProtocolError: the response is malformed.

    `end` is where its bytes are sent and received: the connection's transport, or a share of it where several requests are under way.
    """

    def __init__(self, end: Duplex) -> None:
        self.end = end
        self.rest: bytes = b""  # received and not used yet: the beginning of a response, then of its body

    # -- the request -------------------------------------------------------------------------------------------------

    def begin(self, asked: UpstreamRequest, encoded: bytes, limit: int) -> bytes:
        """Return what begins the request on this connection: `encoded`, as the protocol's `encode` made it.

        limit: bytes that the header section of the response may have, and all interim ones together (`*_buffer_size`).
        """
        raise NotImplementedError

    def encode_piece(self, data: bytes) -> bytes:
        """Return a piece of a body, never b"", that is sent as it comes."""
        raise NotImplementedError

    def encode_end(self) -> bytes:
        """Return what ends a body that was sent as it came; b"" where its end shows by itself."""
        raise NotImplementedError

    def has_begun(self, data: bytes) -> bool:
        """Take what came before the request was sent whole; return whether the final response begins with it.

        Where it does, the upstream will read no more of the request. Interim responses are passed over.
        """
        raise NotImplementedError

    def stop_sending(self) -> None:
        """Note that the rest of the request is not sent."""
        raise NotImplementedError

    # -- the response ------------------------------------------------------------------------------------------------

    def read_head(self, data: bytes) -> ResponseHead | None:
        """Take the next bytes; return a header section when it is whole, None when more is needed.

        The status of an interim response is below 200; 101 is final where the protocol can upgrade. What follows stays in `rest`:
        go on with `read_head(b"")` after an interim response. A section that repeats the one before it on this connection is the
        same object, so that what was made of it once (`ResponseHead.finished`) is found again.
        """
        raise NotImplementedError

    def is_unprocessed(self, reused: bool) -> bool:
        """Return whether the upstream has not processed the request, now that the connection has failed before any byte came.

        reused: the connection was idle before. Its peer may have closed it meanwhile, which says nothing about the peer (RFC 9112
        section 9.3.1).
        """
        return reused

    def whole_body(self) -> bytes | None:
        """Return a body that came whole behind the header section, and whose length that has told; None: use `body_reader`."""
        return None

    def body_reader(self) -> ResponseBodyReader:
        """Return what reads the body; `rest` is for it, too."""
        raise NotImplementedError

    def is_reusable(self) -> bool:
        """Return whether the connection can carry another request, after as much of the response as was read."""
        raise NotImplementedError


class ResponseBodyReader:
    """Takes the framing off the body of one response."""

    def __init__(self, left: int) -> None:
        self.left = left  # bytes to come exactly as they are sent on; -1: framing is among them, or only the end will tell
        self.done = left == 0
        self.remainder: bytes = b""  # what came behind the end of the body

    def feed(self, data: bytes) -> bytes:
        """Return the content in `data`, b"" when there is only framing. Call until `done`. Raises ProtocolError."""
        raise NotImplementedError

    def end(self) -> None:
        """Take the end of the connection. Where it is no end of the body, `done` stays False: the body is truncated."""

    def skip(self, count: int) -> None:
        """Note that `count` of the bytes `left` went to the client without being read here. Called only where `left` is known."""
        raise NotImplementedError

    def trailers(self) -> list[tuple[bytes, bytes]]:
        """Return the fields behind the body, once it is `done`. Raises ProtocolError."""
        return []
