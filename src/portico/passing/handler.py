"""The location's handler: asks an upstream and makes its response the client's.

    request    target, framing, header fields       `handle_async`, then exchange.py
    response   replaced by another one?             `_replace`: `ResponseHook.on_head`, error_page, X-Accel-Redirect
               no body, a whole one, or a stream    `_bodyless`, `_take_whole`, `UpstreamBody`
               the client's header section          `_response`: rules (response.py), or as it was finished for the one before

What stores responses, or answers in an upstream's place, attaches as a `ResponseHook` (hook.py); nothing here knows of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.balancing.group import Group
from portico.balancing.tls import UpstreamTLS
from portico.codec.errors import shown
from portico.codec.http1_request import is_method
from portico.codec.http1_response import ResponseHead
from portico.errorlog import ERR
from portico.http.errors import HTTPError, InternalRedirect
from portico.http.handler import Handler, HeaderFilter
from portico.http.phases import redirect_to
from portico.http.response import EMPTY, Body, BytesBody, Response
from portico.http.server.http1.output import fields_of
from portico.net.reactor import ClientGone
from portico.passing.body import UpstreamBody
from portico.passing.exchange import Exchange
from portico.passing.fields import RequestHead
from portico.passing.hook import Outgoing, ResponseHook, Sink
from portico.passing.response import ResponseRules
from portico.passing.settings import UpstreamSettings
from portico.passing.target import Lookup, Target, Url, upstream_uri
from portico.passing.tunnel import Tunnel
from portico.variables.template import Template, any_set

if TYPE_CHECKING:
    from portico.balancing.pool import PeerConnection
    from portico.http.body import RequestBody
    from portico.http.request import Attempt, Request


# The fields of a response with X-Accel-Redirect that the response of the other location gets.
_CARRIED_OVER: Final = frozenset((b"set-cookie", b"content-disposition", b"cache-control", b"expires"))


@final
class ProxyHandler(Handler):
    """`proxy_pass` of one location.

    A handler that wraps it (`proxy_cache`) uses `handle_async`, `describe`, `read_body`, `url_of`, sets `hook`, and reads the parts
    `settings`, `head`, `rules` and `target`.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        head: RequestHead,
        rules: ResponseRules,
        target: Target | None,
        url: Template,
        lookup: Lookup,
        tls: UpstreamTLS | None,
    ) -> None:
        self.is_async = True
        self.settings = settings
        self.head = head
        self.rules = rules
        self.target = target  # None: `url` holds variables
        self.url = url
        self.lookup = lookup
        self.tls = tls
        self.tls_name: Template | None = None
        self.prefix: bytes = b""  # of the location, which the target's URI replaces
        self.method: Template | None = None
        self.body: Template | None = None
        self.pass_body = True
        self.version = 11
        self.early_hints: list[Template] = []
        self.hook: ResponseHook | None = None  # of `proxy_cache` or `proxy_store`

    def settle(self, editors: list[HeaderFilter]) -> None:
        """Note the location's filters that may change upstreams' header sections, once the whole configuration is read."""
        self.rules.editors = editors
        self.head.settle()

    def describe(self) -> str:
        return f"proxy_pass {self.url.text}"

    async def handle_async(self, request: Request) -> Response | None:
        target = self.target
        if target is None:
            target = await self._target(request)
        body = request.body
        if body is not None:
            body = await self._prepare_body(request, body)
        settings = self.settings
        hook = self.hook
        outgoing = None if hook is None else self._ask_hook(hook, request)
        connection = request.connection
        if connection is not None:
            connection.abortable = not settings.ignore_client_abort and (outgoing is None or outgoing.abortable)
            if connection.abortable and request.client.transport.peer_closed:
                raise ClientGone  # it left before anybody watched
        request.proxy_target = target
        group = target.group
        uri = upstream_uri(request, target, self.prefix, self.target is None)
        request.upstream_scheme = target.scheme
        request.upstream_uri = uri
        tls = self.tls if target.secure else None
        tls_name = b""
        if tls is not None:
            tls_name = target.host if self.tls_name is None else self.tls_name.render(request)
        exchange = Exchange(request, settings, group, tls, tls_name)
        if self.early_hints and request.version > 10 and request.parent is None and any_set(self.early_hints, request):
            exchange.hints = self.rules
        method = self._method(request) if outgoing is None else outgoing.method
        length, chunked = self._framing(request, body)
        block = self.head.block(request, target.host, length, chunked, self.target is not None)
        if outgoing is not None and outgoing.fields:
            block = b"".join([key + b": " + value + b"\r\n" for key, value in outgoing.fields]) + block
        section = method + b" " + uri + self.head.version + block
        if self.body is not None:
            section += self.body.render(request)
        try:
            head = await exchange.run(section, body, self._key(request, group))
        except HTTPError:
            if hook is not None:
                hook.on_failure(request, exchange.failure)
            raise
        request.upstream_fields = head
        try:
            if head.status == 101:
                return self._upgraded(request, exchange, head)
            return self._respond(request, exchange, head, method)
        except BaseException:
            exchange.abandon()
            raise

    # -- the request ---------------------------------------------------------------------------------------------------

    def url_of(self, request: Request) -> bytes:
        """Return the URL that the upstream is asked for, by default the key of a cache."""
        target = self.target
        if target is None:
            return self.url.render(request)
        return target.url + upstream_uri(request, target, self.prefix, False)

    async def read_body(self, request: Request) -> None:
        """Read the request's body whole where `proxy_request_buffering` is on. Raises what a client's body raises."""
        body = request.body
        if body is not None and self.settings.request_buffering and not body.was_read():
            await body.read_all()

    async def _target(self, request: Request) -> Target:
        text = self.url.render(request).decode("utf-8", "surrogateescape")
        try:
            url = Url(text)
        except ValueError as error:
            raise HTTPError(500, f'{error} in "{text}"', ERR) from None
        if url.secure and self.tls is None:
            raise HTTPError(500, f'https cannot be used for "{text}"', ERR)
        return Target(url, await self.lookup.group(request, url))

    def _ask_hook(self, hook: ResponseHook, request: Request) -> Outgoing:
        outgoing = Outgoing(self._method(request), self.method is not None)
        hook.before_send(request, outgoing)
        return outgoing

    def _method(self, request: Request) -> bytes:
        """Return the method to ask with. Raises HTTPError 500 when `proxy_method` comes to something else."""
        if self.method is None:
            return request.method
        method = self.method.render(request)
        if not is_method(method):
            raise HTTPError(500, f'proxy_method came to "{shown(method)}", which is no method', ERR)
        return method

    async def _prepare_body(self, request: Request, body: RequestBody) -> RequestBody | None:
        """Return the body to send on, read whole with `proxy_request_buffering`; None when it is not sent."""
        if not self.pass_body or self.body is not None:
            return None
        if (self.settings.request_buffering or (body.chunked and self.version == 10)) and not body.was_read():
            await body.read_all()
        return body

    def _framing(self, request: Request, body: RequestBody | None) -> tuple[int, bool]:
        """Return the length of the body that is sent, -1 for none, and whether it is sent chunked."""
        if self.body is not None:
            return len(self.body.render(request)), False
        if body is None:
            return -1, False
        if body.data is None and body.file < 0 and body.chunked:
            return -1, True
        return body.length, False

    def _key(self, request: Request, group: Group) -> bytes:
        """Return what the group's balancer hashes; b"" when it hashes nothing."""
        key = group.hash_key
        if key is not None:
            assert isinstance(key, Template)
            return key.render(request)
        if group.key_is_address:
            return request.packed_address()
        return b""

    # -- the response --------------------------------------------------------------------------------------------------

    def _respond(self, request: Request, exchange: Exchange, head: ResponseHead, method: bytes) -> Response:
        """Return the client's response. Raises HTTPError or InternalRedirect when another one takes its place."""
        attempt = _last_attempt(request)
        hook = self.hook
        if hook is not None or head.status >= 300 or b"x-accel-redirect" in head.first:
            substitute = self._replace(request, exchange, attempt, head, method)
            if substitute is not None:
                return substitute
        settings = self.settings
        buffered = settings.buffering
        if b"x-accel-buffering" in head.first:
            buffered = self.rules.is_buffered(head, buffered)
        sink: Sink | None = None
        if hook is not None and buffered:  # as in nginx, only what is buffered is stored
            sink = hook.sink(request, head, method, exchange.connection.last_head)
        if method == b"HEAD" or (request.method == b"HEAD" and sink is None) or head.status == 204 or head.status == 304:
            return self._bodyless(request, exchange, attempt, head, method, sink)
        connection = exchange.connection
        length = head.content_length
        if 0 <= length <= len(connection.buffer):
            content = self._take_whole(exchange, attempt, head)
            if sink is not None:
                sink.write(content)
                sink.finish()
            return self._response(request, connection, head, BytesBody(content), sink)
        body = UpstreamBody(exchange, request, attempt, length, head.chunked, buffered)
        body.reusable = not head.close
        body.sink = sink
        response = self._response(request, connection, head, body, sink)
        response.buffered = buffered
        return response

    def _replace(
        self, request: Request, exchange: Exchange, attempt: Attempt, head: ResponseHead, method: bytes
    ) -> Response | None:
        """Return the hook's response in place of the upstream's. Raises what leads to a response of another location.

        In both cases the exchange is over; None: it goes on, and the upstream's response is the client's.
        """
        hook = self.hook
        if hook is not None:
            substitute = hook.on_head(request, head)
            if substitute is not None:
                exchange.end(attempt, not may_send_body(head, method) and not head.close, False)
                return substitute
        status = head.status
        if status >= 300 and self.settings.intercept_errors and status in request.location.error_pages:
            exchange.end(attempt, False, False)
            if hook is not None:
                hook.on_intercepted(request, head)
            raise HTTPError(status)
        redirect = self.rules.redirect(head) if b"x-accel-redirect" in head.first else None
        if redirect is not None:
            exchange.end(attempt, False, False)
            raise _accel_redirect(request, head, redirect)
        return None

    def _bodyless(
        self, request: Request, exchange: Exchange, attempt: Attempt, head: ResponseHead, method: bytes, sink: Sink | None
    ) -> Response:
        """Return a response that is its header section alone, or of which the client wants no more."""
        exchange.end(attempt, not may_send_body(head, method) and not head.close, False)
        response = self.rules.response(request, head, EMPTY)
        if sink is not None:
            if method == b"HEAD":
                sink.abort()  # there is no body to store: proxy_cache_convert_head is off
            else:
                sink.finish()
            self._tell_hook(request, head, response)
        return response

    def _take_whole(self, exchange: Exchange, attempt: Attempt, head: ResponseHead) -> bytes:
        """Return a body that came whole with its header section. The upstream is free before the client has its response."""
        connection = exchange.connection
        rest = connection.buffer
        length = head.content_length
        connection.buffer = rest[length:]
        attempt.length = length
        exchange.end(attempt, not head.close, False)
        return rest if len(rest) == length else rest[:length]

    def _response(
        self, request: Request, connection: PeerConnection, head: ResponseHead, body: Body, sink: Sink | None
    ) -> Response:
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
        if connection.last_owner is not self:
            response = rules.response(request, head, body)
            if not rules.is_repeatable(response):
                return response
            connection.last_owner = self
            connection.last_lines = fields_of(request, response)
            connection.last_reason = response.reason
        response = Response(head.status, body)
        response.from_upstream = True
        response.head = connection.last_lines
        response.reason = connection.last_reason
        return response

    def _tell_hook(self, request: Request, head: ResponseHead, response: Response) -> None:
        hook = self.hook
        assert hook is not None
        hook.on_response(request, head, response)

    def _upgraded(self, request: Request, exchange: Exchange, head: ResponseHead) -> Response:
        """Return the 101 whose body is the tunnel. Raises HTTPError 502 when no upgrade was asked for."""
        attempt = _last_attempt(request)
        if not request.fields.upgrade:
            exchange.end(attempt, False, True)
            raise HTTPError(502, "upstream sent 101 Switching Protocols though no upgrade was asked for", ERR)
        tunnel = Tunnel(exchange, request.client, attempt, self.settings.read_timeout)
        response = self.rules.response(request, head, tunnel)
        response.upgrade = head.upgrade or request.fields.upgrade
        response.fields.append((b"Upgrade", response.upgrade))
        return response


def _last_attempt(request: Request) -> Attempt:
    attempts = request.attempts
    assert attempts
    return attempts[-1]


def may_send_body(head: ResponseHead, method: bytes) -> bool:
    """Return whether bytes of a body may follow a header section in response to `method`.

    RFC 9110 section 8.6: a 204 has no length, a 304 hardly ever one (no usual server sends it). One that announces a body may send
    it, as the beginning of the next response. To HEAD every server announces what GET would bring.
    """
    if method == b"HEAD":
        return False
    if head.status == 204 or head.status == 304:
        return head.content_length > 0 or head.chunked
    return True


def _accel_redirect(request: Request, head: ResponseHead, value: bytes) -> InternalRedirect:
    """Return where X-Accel-Redirect leads; a few fields of this response go there with the request (ngx_http_upstream.c)."""
    request.kept_type = head.get(b"content-type") or request.kept_type
    carried = [(head.keys[i], head.values[i]) for i in range(len(head.names)) if head.names[i] in _CARRIED_OVER]
    request.kept_fields = [*(request.kept_fields or ()), *carried]  # they add up, also with what a check of access has set
    redirect = redirect_to(value)
    if not redirect.named and request.method != b"HEAD":
        request.method = b"GET"
    return redirect
