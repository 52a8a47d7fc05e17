"""One request on its way through the pipeline."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final

from portico.http.routing.target import ROOT, RequestTarget
from portico.http.upstream_state import Attempt, UpstreamState
from portico.variables.session import Session, shown

if TYPE_CHECKING:
    from portico.codec.fields import RequestFields
    from portico.errorlog import ErrorLog
    from portico.http.body import RequestBody
    from portico.http.errors import HTTPError
    from portico.http.plan import Location, VirtualServer
    from portico.http.response import Response
    from portico.http.server.stream import ClientStream
    from portico.variables.client import Client

T = TypeVar("T")

MAX_REDIRECTS: Final = 10  # nginx: NGX_HTTP_MAX_URI_CHANGES
NO_ERROR_PAGE: Final = -1  # no page of `error_page` is being shown


@final
class SectionMemo:
    """What depends on the client's connection and on the header section that it repeats, and on nothing else: made once for both."""

    def __init__(self) -> None:
        self.owner: object = None  # whoever made it
        self.text: bytes = b""


@final
class CarriedOver:
    """What the response that is made next has of one that it replaces: X-Accel-Redirect, `error_page`, a check of access."""

    def __init__(self, fields: list[tuple[bytes, bytes]], content_type: bytes) -> None:
        self.fields = fields
        self.content_type = content_type  # b"": its own


@final
class RequestSlot(Generic[T]):
    """A value of one feature in a request, in place of an attribute that every request has. The feature owns the slot, a constant
    of its file.

    `inherited`: a subrequest begins with its parent's value.
    """

    def __init__(self, inherited: bool = False) -> None:
        self.inherited = inherited

    def put(self, request: Request, value: T) -> None:
        """Leave a value with a request."""
        slots = request.slots
        if slots is None:
            slots = request.slots = {}
        slots[self] = value

    def of(self, request: Request) -> T | None:
        """Return what was left with this request; None when nothing was."""
        slots = request.slots
        return None if slots is None else cast("T | None", slots.get(self))

    def clear(self, request: Request) -> None:
        """Take the value away."""
        if request.slots is not None:
            request.slots.pop(self, None)


SLICES: Final = RequestSlot[object]()  # where `slice` has got to; what stores responses asks whether it is there
_ID: Final = RequestSlot[bytes]()


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
        self.target: RequestTarget = ROOT
        self.asked_host: bytes = b""  # the host that the client named, b"" when it named none
        self.memo: SectionMemo | None = None  # None: what upstreams are sent depends on more, or is made for the first time
        self.body: RequestBody | None = None
        self.keep_alive = True  # the connection may serve another request
        self.stream: ClientStream | None = None  # None: the client has no part in it (a subrequest in the background)
        self.parent: Request | None = None  # of a subrequest: the request that asked for it
        self.refusal: HTTPError | None = None  # the header section was refused before there was a request to speak of
        self.internal = False  # of an internal redirect, a rewrite or a subrequest: it may enter `internal` locations
        self.named_location = False  # `location` was chosen by name, not by URI
        self.redirects = 0
        self.error_page_status = NO_ERROR_PAGE  # the status that error_page keeps for the page it shows; 0: the page's own
        self.carried: CarriedOver | None = None  # of a response that another one has replaced
        self.response: Response | None = None
        self.head_bytes = 0  # bytes of the response's header section sent
        self.complete = False  # the response was sent to its end
        self.upstream: UpstreamState | None = None
        self.slots: dict[RequestSlot[Any], object] | None = None  # what single features need to know of it
        self.received = len(line) + 2  # $request_length

    @property
    def uri(self) -> bytes:
        """$uri: the path, decoded and normalised."""
        return self.target.uri

    @property
    def args(self) -> bytes:
        """$args: what follows `?`, undecoded."""
        return self.target.args

    @property
    def host(self) -> bytes:
        """$host: the host that the client named, or the server's name."""
        return self.asked_host or self.server.name_bytes

    def error_log(self) -> ErrorLog:
        """Return the location's error log."""
        return self.location.core.error_log

    def current_status(self) -> int:
        """Return the status as sent, else the one that is about to be."""
        if self.status:
            return self.status
        if self.error_page_status > 0:
            return self.error_page_status
        return 0 if self.response is None else self.response.status

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
        upstream = self.upstream
        if upstream is not None and upstream.attempts:
            peer = upstream.attempts[-1].peer
            text += f', upstream: "{shown(upstream.scheme)}://{shown(peer)}{shown(upstream.uri)}"'
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
        self.memo = None  # what is remembered of the header section holds for the connection's own address
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

    def become_get(self) -> None:
        """Go on as a GET, unless this is a HEAD: what shows an error, or stands in the place of an upstream's response, is asked for
        without a body (nginx passes it on).
        """
        if self.method == b"HEAD" or self.method == b"GET":
            return
        self.method = b"GET"
        if self.body is not None:
            self.body.is_withheld = True

    def carry_over(self, fields: list[tuple[bytes, bytes]], content_type: bytes = b"") -> None:
        """Have the response that is made next begin with these fields, behind those that are carried over already."""
        carried = self.carried
        if carried is None:
            self.carried = CarriedOver(fields, content_type)
        else:
            self.carried = CarriedOver([*carried.fields, *fields], content_type or carried.content_type)

    def inherit(self, parent: Request) -> None:
        """Begin as a subrequest does: with the values of the parent's slots that are inherited."""
        if parent.slots is not None:
            self.slots = {slot: value for slot, value in parent.slots.items() if slot.inherited} or None

    def upstream_state(self) -> UpstreamState:
        """Return what the request has had to do with upstreams, from now on if it had nothing."""
        if self.upstream is None:
            self.upstream = UpstreamState()
        return self.upstream

    def attempts(self) -> list[Attempt]:
        """Return the tries at upstream peers so far."""
        return [] if self.upstream is None else self.upstream.attempts

    def depth(self) -> int:
        """Return how many requests it is a subrequest of, one within the other."""
        depth = 0
        parent = self.parent
        while parent is not None:
            depth += 1
            parent = parent.parent
        return depth

    def id(self) -> bytes:
        """$request_id: 16 random bytes in hex, made when first asked for. A subrequest has that of the client's request."""
        if self.parent is not None:
            return self.parent.id()
        made = _ID.of(self)
        if made is None:
            made = os.urandom(16).hex().encode()
            _ID.put(self, made)
        return made
