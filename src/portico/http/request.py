"""One request on its way through the pipeline."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.variables.session import Session, shown

if TYPE_CHECKING:
    from portico.cache.caching import Caching
    from portico.codec.fields import RequestFields
    from portico.codec.http1_response import ResponseHead
    from portico.errorlog import ErrorLog
    from portico.http.background import BackgroundTask
    from portico.http.body import RequestBody
    from portico.http.errors import HTTPError
    from portico.http.plan import Location, VirtualServer
    from portico.http.response import Response
    from portico.http.server.stream import ClientStream
    from portico.variables.client import Client

MAX_REDIRECTS: Final = 10  # nginx: NGX_HTTP_MAX_URI_CHANGES


@final
class Attempt:
    """One try at one upstream peer: what $upstream_addr, $upstream_status and their kin report. Times in seconds."""

    def __init__(self, peer: bytes, started: float) -> None:
        self.peer = peer
        self.started = started
        self.status = 0  # 0: no answer
        self.connect_time = -1.0
        self.header_time = -1.0
        self.response_time = -1.0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.length = 0  # body bytes received
        self.after_redirect = False  # an internal redirect came between it and the one before: " : " in the variables


@final
class Request(Session):
    """What the client asked, where that led, and what has been answered so far."""

    def __init__(
        self, client: Client, line: bytes, method: bytes, version: int, fields: RequestFields, server: VirtualServer
    ) -> None:
        super().__init__(client)
        self.line = line  # the request line as received, without its line end
        self.method = method
        self.version = version  # 10 or 11
        self.fields = fields
        self.server = server
        self.location: Location = server.fallback
        self.raw_uri: bytes = b"/"  # $request_uri: path and query as the client sent them
        self.uri: bytes = b"/"  # $uri: decoded, normalised
        self.args: bytes = b""
        self.quoted_uri = False  # `uri` holds bytes that were percent-encoded: escape it before passing it on
        self.shares_fields = False  # the host is that of the header block, so what was made for the block holds
        self.pipelined = False  # it arrived together with the one before
        self.complete = False  # answered to the end
        self.plain_uri = True  # raw_uri can be passed on unchanged: neither rewritten nor redirected since
        self.asked_host: bytes = b""  # the host that the client named, b"" when it named none
        self.host: bytes = b""  # $host: that, or the server's name
        self.kept_fields: list[tuple[bytes, bytes]] | None = None  # of an answer that X-Accel-Redirect replaced
        self.kept_type: bytes = b""
        self.body: RequestBody | None = None
        self.keep_alive = True
        self.refusal: HTTPError | None = None  # the head was refused before there was a request to speak of
        self.stream: ClientStream | None = None  # None: the client has no part in it (a subrequest in the background)
        self.parent: Request | None = None  # of a subrequest: the request that asked for it
        self.answer: Response | None = None  # of a rewrite script, on its way to `respond`
        self.uri_changed = False  # by `rewrite`: another location is to be found
        self.left_location = False  # by `rewrite … break`: the URI is not what the location was chosen for
        self.depth = 0  # of subrequests within subrequests
        self.background: list[BackgroundTask] | None = None  # mirrors under way: the next request waits for them
        self.internal = False
        self.redirects = 0
        self.error_status = 0  # the status that error_page keeps for the page it shows
        self.in_error_page = False
        self.head_bytes = 0  # bytes of the response head sent
        self.received = len(line) + 2  # $request_length
        self.response: Response | None = None
        self.attempts: list[Attempt] | None = None
        self.proxy_target: object = None  # what proxy_pass came to, for $proxy_host and $proxy_port
        self.upstream_scheme: bytes = b""  # of the URL asked for last, for the error log
        self.upstream_uri: bytes = b""
        self.redirect_pending = False  # an internal redirect happened since the last attempt at an upstream
        self.named_location = False  # `location` was chosen by name, not by URI
        self.request_id: bytes = b""
        self.upstream_fields: ResponseHead | None = None  # of the last upstream that answered
        self.caching: Caching | None = None  # of the location that has a cache
        self.slices: object = None  # where `slice` has got to, once $slice_range was asked for
        self.verified: dict[str, object] | None = None  # what checks of access have found true, by their directive

    def error_log(self) -> ErrorLog:
        """Return the location's error log."""
        return self.location.core.error_log

    def current_status(self) -> int:
        """Return the status as sent, else the one that is about to be."""
        if self.status:
            return self.status
        if self.error_status or self.response is None:
            return self.error_status
        return self.response.status

    def bytes_sent(self) -> int:
        """Return how many bytes of the response were sent, its header section included."""
        return self.head_bytes + self.body_bytes

    def context(self) -> str:
        """Return `, client: …, server: …, request: "…", host: "…"` as nginx puts it behind its messages."""
        text = f", client: {shown(self.remote_addr)}, server: {self.server.name}"
        if self.line:
            text += f', request: "{shown(self.line)}"'
        if self.parent is not None:
            text += f', subrequest: "{shown(self.uri)}"'
        if self.attempts:
            last = self.attempts[-1]
            text += f', upstream: "{shown(self.upstream_scheme)}://{shown(last.peer)}{shown(self.upstream_uri)}"'
        host = self.fields.host
        if host is not None:
            text += f', host: "{shown(host)}"'
        referer = self.fields.get(b"referer")
        if referer is not None:
            text += f', referrer: "{shown(referer)}"'
        return text

    def replace_address(self, address: bytes, port: bytes) -> None:
        """Note another address of the client, also for the requests that this one belongs to, as in nginx."""
        super().replace_address(address, port)
        self.shares_fields = False  # what is remembered of the header block holds for the connection's own address
        if self.parent is not None:
            self.parent.replace_address(address, port)

    def has_conditions(self) -> bool:
        """Whether it asks for a part, or for an answer only if something holds (RFC 9110 sections 13 and 14)."""
        first = self.fields.first
        return (
            b"if-none-match" in first
            or b"if-modified-since" in first
            or b"range" in first
            or b"if-match" in first
            or b"if-unmodified-since" in first
        )

    def new_attempt(self, peer: bytes) -> Attempt:
        """Note the start of a try at an upstream peer."""
        attempt = Attempt(peer, self.reactor.now)
        if self.attempts is None:
            self.attempts = [attempt]
        else:
            attempt.after_redirect = self.redirect_pending
            self.attempts.append(attempt)
        self.redirect_pending = False
        return attempt

    def id(self) -> bytes:
        """$request_id: 16 random bytes in hex, made when first asked for. A subrequest has that of the client's request."""
        if self.parent is not None:
            return self.parent.id()
        if not self.request_id:
            self.request_id = os.urandom(16).hex().encode()
        return self.request_id
