"""The messages of a fetch, without I/O: the request as it is sent, the response read from bytes, and why there is none.

`passing/fetch.py` moves them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.fields import joined_lines
from portico.codec.http1_response import ResponseHead, check_beginning, find_head_end, parse_response_head
from portico.passing.http1.body_reader import Http1BodyReader

if TYPE_CHECKING:
    from portico.balancing.tls import UpstreamTLS
    from portico.codec.url import Url

# Why a fetch failed.
UNRESOLVED: Final = 1  # the host has no address
UNCONNECTED: Final = 2  # no address takes a connection, or the connection broke
HANDSHAKE: Final = 3  # TLS: the certificate does not verify, for example
TIMEOUT: Final = 4
TRUNCATED: Final = 5  # the connection ended before the response did
TOO_LONG: Final = 6
MALFORMED: Final = 7  # what came is no HTTP response, or none of the kind that was asked for
REDIRECTED: Final = 8  # too often, or to where the request must not go
EXHAUSTED: Final = 9  # this worker has no connection left; the other server is not to blame

# The bounds of a request that sets no others.
SECONDS: Final = 15.0
MAX_HEADER: Final = 32768
MAX_BODY: Final = 1048576


@final
class FetchError(Exception):
    """There is no response: `kind` says in which respect, `reason` is a sentence for the error log that holds no secret."""

    def __init__(self, kind: int, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@final
class FetchRequest:
    """What to ask for, and within which bounds.

    `fields` are sent besides those that every request has; with a `body` its Content-Length is. `seconds` bound the whole exchange,
    `max_header` the bytes of all header sections, `max_body` those of the content; `redirects` is how many may be followed. `tls`
    None: only http may be asked.
    """

    def __init__(self, url: Url, tls: UpstreamTLS | None, method: bytes = b"GET") -> None:
        self.url = url
        self.tls = tls
        self.method = method
        self.fields: list[tuple[bytes, bytes]] = []
        self.body: bytes | None = None
        self.seconds = SECONDS
        self.max_header = MAX_HEADER
        self.max_body = MAX_BODY
        self.redirects = 0


@final
class FetchedResponse:
    """A complete response. `url` is the one that sent it, after redirects."""

    def __init__(self, url: Url, head: ResponseHead, body: bytes) -> None:
        self.url = url
        self.status = head.status
        self.body = body
        self._head = head

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a field, by its lower-case name."""
        return self._head.get(name)


def encode_request(request: FetchRequest) -> bytes:
    """Return a request as it is sent."""
    fields = [
        (b"Host", request.url.authority.encode()),
        (b"User-Agent", b"portico"),
        (b"Accept-Encoding", b"identity"),
        (b"Connection", b"close"),
        *request.fields,
    ]
    if request.body is not None:
        fields.append((b"Content-Length", b"%d" % len(request.body)))
    lines = joined_lines([b"%b: %b" % field for field in fields])
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (request.method, request.url.target.encode(), lines, request.body or b"")


@final
class ResponseReader:
    """Reads the response to one request from bytes that come in pieces of any length, without I/O."""

    def __init__(self, request: FetchRequest) -> None:
        self._request = request
        self._name = request.url.authority
        self._head: ResponseHead | None = None
        self._section: bytes = b""  # of a header section that has not ended
        self._interim = 0  # bytes of interim responses
        self._reader: Http1BodyReader | None = None  # None: there is no body
        self._body: list[bytes] = []
        self._length = 0  # of the body so far

    def response(self) -> FetchedResponse | None:
        """Return the response once it is complete."""
        if self._head is None or not self._is_complete():
            return None
        return FetchedResponse(self._request.url, self._head, b"".join(self._body))

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises FetchError and ProtocolError."""
        if self._head is None:
            data = self._read_header(data)
        if self._head is not None and not self._is_complete():
            self._read_body(data)

    def end(self, in_doubt: bool) -> None:
        """Take the end of the connection; `in_doubt`: anybody on the way may have brought it about. Raises FetchError."""
        if self._head is None:
            raise FetchError(TRUNCATED, f"{self._name} closed the connection before it had responded")
        if self._reader is not None and not in_doubt:
            self._reader.end()
        if not self._is_complete():
            raise FetchError(TRUNCATED, f"the response of {self._name} was truncated")

    def _is_complete(self) -> bool:
        return self._reader is None or self._reader.done

    def _read_header(self, data: bytes) -> bytes:
        """Return what follows the header section of the final response, if that has come."""
        start = max(0, len(self._section) - 3)
        data = self._section + data
        while data:
            end = find_head_end(data, start)
            if (end if end >= 0 else len(data)) + self._interim > self._request.max_header:
                raise FetchError(TOO_LONG, f"the header section from {self._name} is longer than {self._request.max_header} bytes")
            if end < 0:
                check_beginning(data)
                break
            head = parse_response_head(data[:end])
            data = data[end:]
            if head.status == 101:
                raise FetchError(MALFORMED, f"{self._name} changed the protocol without being asked to")
            if head.status >= 200:
                self._section = b""
                self._begin_body(head)
                return data
            self._interim += end
            start = 0
        self._section = data
        return b""

    def _begin_body(self, head: ResponseHead) -> None:
        self._head = head
        if self._request.method == b"HEAD" or head.status in (204, 304):
            return
        if head.get(b"content-encoding") not in (None, b"identity"):
            raise FetchError(MALFORMED, f"the response of {self._name} is compressed though it was asked not to be")
        self._check_length(head.content_length)
        self._reader = Http1BodyReader(head.content_length, head.chunked)

    def _read_body(self, data: bytes) -> None:
        assert self._reader is not None
        content = self._reader.feed(data)
        self._length += len(content)
        self._check_length(self._length)
        self._body.append(content)

    def _check_length(self, length: int) -> None:
        if length > self._request.max_body:
            raise FetchError(TOO_LONG, f"the response of {self._name} is longer than {self._request.max_body} bytes")
