"""From the header section of an upstream's response on: what the client gets of it.

    another response takes its place     `_replace`: `ResponseHook.on_head`, `error_page`, `X-Accel-Redirect`
    there is no body                     `_bodyless`
    the body came with the header        `_pass_on`: the upstream is free before the client has its response
    the body is on its way               `UpstreamBody`
    header section                       `_response`: made by the location's rules, or that of the response before
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.http1_response import ResponseHead
from portico.errorlog import ERR
from portico.http.errors import HTTPError, InternalRedirect
from portico.http.finished import FinishedHead
from portico.http.header_section import finished_head
from portico.http.phases import redirect_to
from portico.http.response import EMPTY, PLAIN_UPSTREAM, Body, BytesBody, Response
from portico.http.variables.assigned import assign
from portico.passing.body import UpstreamBody
from portico.passing.exchange import Exchange
from portico.passing.hook import ResponseHook, Sink
from portico.passing.response import ResponseRules
from portico.passing.settings import UpstreamSettings
from portico.passing.tunnel import TunnelBody

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.upstream_state import Attempt

# The fields of a response with X-Accel-Redirect that the response of the other location gets.
_CARRIED_OVER: Final = frozenset((b"set-cookie", b"content-disposition", b"cache-control", b"expires"))


_CHALLENGE: Final = b"www-authenticate"


@final
class Responder:
    """Makes the client's responses of one location from those of its upstreams."""

    def __init__(self, settings: UpstreamSettings, rules: ResponseRules) -> None:
        self.settings = settings
        self.rules = rules
        self.hook: ResponseHook | None = None

    def respond(self, request: Request, exchange: Exchange, head: ResponseHead, method: bytes) -> Response:
        """Return the client's response. Raises HTTPError or InternalRedirect when another one takes its place.

        `method`: that of the upstream's request. The exchange is over, or the response's body ends it; when this raises, the caller
        abandons it.
        """
        attempt = request.attempts()[-1]
        if head.status == 101:
            return self._upgraded(request, exchange, attempt, head)
        hook = self.hook
        if hook is not None or head.status >= 300 or b"x-accel-redirect" in head.first:
            substitute = self._replace(request, exchange, attempt, head)
            if substitute is not None:
                return substitute
        buffered = self.settings.buffering
        if b"x-accel-buffering" in head.first:
            buffered = self.rules.is_buffered(head, buffered)
        sink: Sink | None = None
        if hook is not None and buffered:  # as in nginx, only what is buffered is stored
            sink = hook.sink(request, head, method)
        if sink is None:
            return self._pass_on(request, exchange, attempt, head, method, buffered, None)
        try:
            return self._pass_on(request, exchange, attempt, head, method, buffered, sink)
        except BaseException:
            sink.abort()
            raise

    def _pass_on(
        self,
        request: Request,
        exchange: Exchange,
        attempt: Attempt,
        head: ResponseHead,
        method: bytes,
        buffered: bool,
        sink: Sink | None,
    ) -> Response:
        """Return the upstream's response as the client's; the sink gets its body, too."""
        if method == b"HEAD" or (request.method == b"HEAD" and sink is None) or head.status == 204 or head.status == 304:
            return self._bodyless(request, exchange, attempt, head, method, sink)
        content = exchange.stream.whole_body()
        if content is not None:  # the upstream is free before the client has its response
            attempt.length = len(content)
            exchange.end(attempt, True, False)
            if sink is not None:
                sink.write(content)
                sink.finish()
            return self._response(request, head, BytesBody(content), sink)
        body = UpstreamBody(exchange, request, attempt, head.content_length, buffered)
        body.sink = sink
        if buffered and self.settings.limit_rate is not None:
            body.limit_rate(self.settings.limit_rate)
        return self._response(request, head, body, sink)

    def _replace(self, request: Request, exchange: Exchange, attempt: Attempt, head: ResponseHead) -> Response | None:
        """Return the hook's response in place of the upstream's. Raises what leads to a response of another location.

        In both cases the exchange is over; None: it goes on, and the upstream's response is the client's.
        """
        hook = self.hook
        if hook is not None:
            substitute = hook.on_head(request, head)
            if substitute is not None:
                exchange.end(attempt, True, False)
                return substitute
        status = head.status
        if status >= 300 and self.settings.intercept_errors and status in request.location.error_pages:
            exchange.end(attempt, False, False)
            if hook is not None:
                hook.on_intercepted(request, head)
            refusal = HTTPError(status)
            if status == 401:  # the client must be told how to authenticate, whatever page it is shown
                count = len(head.names)
                refusal.fields = tuple([(head.keys[i], head.values[i]) for i in range(count) if head.names[i] == _CHALLENGE])
            raise refusal
        redirect = self.rules.redirect(head) if b"x-accel-redirect" in head.first else None
        if redirect is not None:
            exchange.end(attempt, False, False)
            rate = self.rules.limit_rate(head)
            if rate >= 0:
                assign(request, "limit_rate", b"%d" % rate)
            raise _accel_redirect(request, head, redirect)
        return None

    def _bodyless(
        self, request: Request, exchange: Exchange, attempt: Attempt, head: ResponseHead, method: bytes, sink: Sink | None
    ) -> Response:
        """Return a response that is its header section alone, or of which the client wants no more."""
        exchange.end(attempt, True, False)
        response = self.rules.response(request, head, EMPTY)
        if sink is not None:
            if method == b"HEAD":
                sink.abort()  # there is no body to store: proxy_cache_convert_head is off
            else:
                sink.finish()
                self._tell_hook(request, head, response)
        return response

    def _response(self, request: Request, head: ResponseHead, body: Body, sink: Sink | None) -> Response:
        """Return the response with this body; its header section is that of the one before where the upstream's is the same."""
        rules = self.rules
        if sink is not None or rules.force_ranges:
            response = rules.response(request, head, body)
            if rules.force_ranges:
                rules.allow_ranges(head, response)
            if sink is not None:
                self._tell_hook(request, head, response)
            return response
        if not rules.may_finish(request, head):
            return rules.response(request, head, body)
        finished = head.finished
        if not isinstance(finished, FinishedHead) or finished.owner is not self:
            response = rules.response(request, head, body)
            if not rules.is_repeatable(response):
                return response
            finished = head.finished = finished_head(request, response, self)
        response = Response(head.status, body)
        response.upstream = PLAIN_UPSTREAM
        response.finished = finished
        return response

    def _tell_hook(self, request: Request, head: ResponseHead, response: Response) -> None:
        hook = self.hook
        assert hook is not None
        hook.on_response(request, head, response)

    def _upgraded(self, request: Request, exchange: Exchange, attempt: Attempt, head: ResponseHead) -> Response:
        """Return the 101 whose body is the tunnel. Raises HTTPError 502 when no upgrade was asked for."""
        if not request.fields.upgrade:
            exchange.end(attempt, False, True)
            raise HTTPError(502, "upstream sent 101 Switching Protocols though no upgrade was asked for", ERR)
        if request.stream is None:  # a mirror or an update in the background: nobody is there to use the tunnel
            exchange.end(attempt, False, False)
            return self.rules.response(request, head, EMPTY)
        tunnel = TunnelBody(exchange, request.stream, attempt, self.settings.read_timeout)
        response = self.rules.response(request, head, tunnel)
        response.fields.append((b"Upgrade", head.upgrade or request.fields.upgrade))
        return response


def _accel_redirect(request: Request, head: ResponseHead, value: bytes) -> InternalRedirect:
    """Return where X-Accel-Redirect leads; a few fields of this response go there with the request (ngx_http_upstream.c)."""
    carried = [(head.keys[i], head.values[i]) for i in range(len(head.names)) if head.names[i] in _CARRIED_OVER]
    request.carry_over(carried, head.get(b"content-type") or b"")
    redirect = redirect_to(value)
    if not redirect.named:
        request.become_get()
    return redirect
