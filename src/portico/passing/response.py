"""The header section of the upstream's response, made the client's (ngx_http_upstream.c, `ngx_http_upstream_headers_in`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.cache.policy.ignored import IGNORE_BUFFERING, IGNORE_CHARSET, IGNORE_LIMIT_RATE, IGNORE_REDIRECT
from portico.codec.dates import parse_date
from portico.codec.http1_response import ResponseHead
from portico.config.values import number_of
from portico.errorlog import WARN
from portico.http.error_pages import REASONS
from portico.http.handler import HeaderFilter, can_be_finished
from portico.http.response import ONE_RANGE, PLAIN_UPSTREAM, Body, Response
from portico.passing.hints import HintRules
from portico.passing.rewrite import Rewriter

if TYPE_CHECKING:
    from portico.http.request import Request

# Never passed on: they concern the upstream's connection (RFC 9110 section 7.6.1), or Portico itself.
_HOP_BY_HOP: Final = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te", b"trailer",
        b"content-length",
    )
)  # fmt: skip
# Of these nginx takes the first one (ngx_http_upstream_process_header_line).
_SINGLE: Final = frozenset((b"content-type", b"date", b"etag", b"expires", b"last-modified", b"location", b"refresh", b"server"))


@final
class ResponseRules(HintRules):
    """What one location passes on of upstreams' header sections, and what it does with them."""

    def __init__(self, hide: list[bytes], let_through: list[bytes], ignore: int, rewriter: Rewriter, force_ranges: bool) -> None:
        passed = frozenset(let_through)
        self.hidden: frozenset[bytes] = frozenset(hide) - passed | _HOP_BY_HOP
        self.pass_server = b"server" in passed
        self.pass_date = b"date" in passed
        self.ignore = ignore
        self.rewriter = rewriter
        self.force_ranges = force_ranges
        self.editors: list[HeaderFilter] = []  # the location's filters that may change the result

    def hints(self, head: ResponseHead) -> list[tuple[bytes, bytes]]:
        nominated = head.connection_tokens
        return [
            (head.keys[i], head.values[i])
            for i in range(len(head.names))
            if head.names[i] not in self.hidden and head.names[i] not in nominated
        ]

    def redirect(self, head: ResponseHead) -> bytes | None:
        """Return the value of X-Accel-Redirect; None when there is none, or it is ignored."""
        if self.ignore & IGNORE_REDIRECT:
            return None
        return head.get(b"x-accel-redirect")

    def is_buffered(self, head: ResponseHead, configured: bool) -> bool:
        """Return whether the response is buffered: as configured, unless X-Accel-Buffering says otherwise."""
        if self.ignore & IGNORE_BUFFERING:
            return configured
        value = head.get(b"x-accel-buffering")
        if value is None:
            return configured
        lower = value.lower()
        return False if lower == b"no" else True if lower == b"yes" else configured

    def response(self, request: Request, head: ResponseHead, body: Body) -> Response:
        """Return the client's response. Its `content_length` is the upstream's, its body `body`."""
        response = Response(head.status, body)
        response.upstream = PLAIN_UPSTREAM
        response.content_length = head.content_length
        if head.reason != REASONS.get(head.status):
            response.upstream_part().reason = head.reason or b" "  # a blank stands for none, where nginx would send the standard one
        names = head.names
        values = head.values
        keys = head.keys
        hidden = self.hidden
        nominated = head.connection_tokens
        fields = response.fields
        repeats = len(head.first) != len(names)
        for i in range(len(names)):
            name = names[i]
            if name in hidden or (nominated and name in nominated):
                continue
            if repeats and name in _SINGLE and names.index(name) != i:
                _log_repeated(request, head, i)
                continue
            value = values[i]
            if name == b"content-type":
                response.content_type = value
            elif name == b"last-modified":
                response.last_modified_text = value
            elif name == b"etag":
                response.etag = value
            elif name == b"location":
                self._location(request, response, keys[i], value)
            elif name == b"refresh" and self.rewriter.redirects:
                fields.append((keys[i], self.rewriter.refresh(request, value)))
            elif name == b"set-cookie" and self.rewriter.cookies:
                fields.append((keys[i], self.rewriter.cookie(request, value)))
            elif name == b"server":
                response.upstream_part().server = value
            elif name == b"date":
                response.upstream_part().date = value
            else:
                fields.append((keys[i], value))
        self._accel(head, response)
        if self.pass_server or self.pass_date:
            part = response.upstream_part()
            part.no_server = self.pass_server and not part.server
            part.no_date = self.pass_date and not part.date
        return response

    def allow_ranges(self, head: ResponseHead, response: Response) -> None:
        """Let the client have one range of it, whether or not the upstream says that it has ranges (`proxy_force_ranges`)."""
        response.ranges = ONE_RANGE
        response.last_modified = last_modified_of(head)
        response.replace(b"accept-ranges", b"", b"")

    def may_finish(self, request: Request, head: ResponseHead) -> bool:
        """Return whether no filter changes a response with this header section, so that its fields may be finished."""
        return can_be_finished(self.editors, request, head)

    def is_repeatable(self, response: Response) -> bool:
        """Return whether every request that gets this very header section from upstream gets these very fields."""
        part = response.upstream
        return not (
            response.location
            or (part is not None and (part.server or part.no_server or part.date or part.no_date or part.limit_rate >= 0))
            or (self.rewriter.cookies and response.get(b"set-cookie"))
            or response.get(b"refresh")
            or response.get(b"location")
        )

    def _location(self, request: Request, response: Response, key: bytes, value: bytes) -> None:
        changed = self.rewriter.location(request, value)
        if changed is None:
            response.fields.append((key, value))  # a relative one stays relative
        else:
            response.location = changed

    def limit_rate(self, head: ResponseHead) -> int:
        """Return the bytes a second that X-Accel-Limit-Rate asks for; -1 when it asks for none."""
        if self.ignore & IGNORE_LIMIT_RATE:
            return -1
        rate = number_of((head.get(b"x-accel-limit-rate") or b"").decode("latin-1"))
        return -1 if rate is None else rate

    def _accel(self, head: ResponseHead, response: Response) -> None:
        if b"x-accel-limit-rate" in head.first:
            rate = self.limit_rate(head)
            if rate >= 0:
                response.upstream_part().limit_rate = rate
        if not self.ignore & IGNORE_CHARSET:
            charset = head.get(b"x-accel-charset")
            if charset:
                response.upstream_part().charset = charset


def _log_repeated(request: Request, head: ResponseHead, index: int) -> None:
    """Log that a field was left out which may stand once only."""
    name = head.names[index]
    again = (head.keys[index] + b": " + head.values[index]).decode(errors="backslashreplace")
    first = head.names.index(name)
    before = (head.keys[first] + b": " + head.values[first]).decode(errors="backslashreplace")
    request.log_error(WARN, f'upstream sent duplicate header line: "{again}", previous value: "{before}", ignored')


def last_modified_of(head: ResponseHead) -> float:
    """Return Last-Modified in seconds since the epoch; -1 when there is none, or none that can be read."""
    text = head.get(b"last-modified")
    return -1.0 if text is None else parse_date(text)
