"""The location's handler: asks an upstream and makes its answer the client's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.balancing.group import Group
from portico.balancing.tls import UpstreamTLS
from portico.codec.errors import shown
from portico.codec.http1_request import is_method
from portico.codec.http1_response import ResponseHead
from portico.errorlog import ERR
from portico.http.errors import HTTPError, InternalRedirect
from portico.http.finished import FinishedHead
from portico.http.handler import Handler, HeaderFilter, can_be_finished
from portico.http.header_section import finished_head
from portico.http.phases import redirect_to
from portico.http.response import EMPTY, Body, BytesBody, Response
from portico.passing.body import Sink, UpstreamBody
from portico.passing.cached.responses import last_modified_of
from portico.passing.exchange import Exchange
from portico.passing.fields import RequestHead
from portico.passing.response import AnswerRules
from portico.passing.settings import UpstreamSettings
from portico.passing.target import Lookup, Target, Url, upstream_uri
from portico.passing.tunnel import TunnelBody
from portico.variables.template import Template, any_set

if TYPE_CHECKING:
    from portico.balancing.pool import PeerConnection
    from portico.cache.caching import Caching
    from portico.http.body import RequestBody
    from portico.http.request import Request
    from portico.passing.cached.handler import CachedProxy
    from portico.passing.store import Store


_KEPT: Final = frozenset((b"set-cookie", b"content-disposition", b"cache-control", b"expires"))


@final
class ProxyHandler(Handler):
    """`proxy_pass` of one location."""

    def __init__(
        self,
        settings: UpstreamSettings,
        head: RequestHead,
        rules: AnswerRules,
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
        self.key: Template | None = None  # of `hash`
        self.early_hints: list[Template] = []
        self.force_ranges = False
        self.store: Store | None = None  # proxy_store
        self.cached: CachedProxy | None = None  # with proxy_cache: who has called
        self.editors: list[HeaderFilter] = []  # what may change the head of an upstream's answer

    def settle(self, editors: list[HeaderFilter]) -> None:
        """Once the whole configuration is read. `editors`: the location's filters that may change upstreams' heads."""
        self.editors = editors
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
        caching = request.caching if self.cached is not None else None  # it may be that of a location that has sent us here
        if request.stream is not None:
            if settings.ignore_client_abort or self.store is not None or (caching is not None and caching.keep):
                request.stream.unwatch()
            else:
                request.stream.watch()
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
        if self.early_hints and request.parent is None and _takes_hints(request) and any_set(self.early_hints, request):
            exchange.hints = self.rules
        method = request.method if self.method is None else self.method.render(request)
        if caching is not None and caching.method and self.method is None:
            method = caching.method
        if self.method is not None and not is_method(method):
            raise HTTPError(500, f'proxy_method came to "{shown(method)}", which is no method', ERR)
        length, chunked = self._framing(request, body)
        block = self.head.block(request, target.host, length, chunked, self.target is not None)
        if self.cached is not None:
            block = self.cached.keeping.conditions(request, caching) + block
        head = method + b" " + uri + self.head.version + block
        if self.body is not None:
            head += self.body.render(request)
        if caching is None:
            answer = await exchange.run(head, body, self._key(request, group))
        else:
            answer = await self._run_cached(request, caching, exchange, head, body)
        request.upstream_fields = answer
        try:
            if answer.status == 101:
                return self._upgraded(request, exchange, answer)
            return self._answer(request, exchange, answer, method)
        except BaseException:
            exchange.abandon()
            raise

    async def _run_cached(
        self, request: Request, caching: Caching, exchange: Exchange, head: bytes, body: RequestBody | None
    ) -> ResponseHead:
        try:
            return await exchange.run(head, body, self._key(request, exchange.group))
        except HTTPError:
            caching.failure = exchange.failure
            raise

    # -- the request ---------------------------------------------------------------------------------------------------

    async def _target(self, request: Request) -> Target:
        text = self.url.render(request).decode("utf-8", "surrogateescape")
        try:
            url = Url(text)
        except ValueError as error:
            raise HTTPError(500, f'{error} in "{text}"', ERR) from None
        if url.secure and self.tls is None:
            raise HTTPError(500, f'https cannot be used for "{text}"', ERR)
        return Target(url, await self.lookup.group(request, url))

    async def _prepare_body(self, request: Request, body: RequestBody) -> RequestBody | None:
        """The body to send on: read whole with `proxy_request_buffering`."""
        if not self.pass_body or self.body is not None:
            return None
        if (self.settings.request_buffering or (body.chunked and self.version == 10)) and not body.was_read():
            await body.read_all()
        return body

    def _framing(self, request: Request, body: RequestBody | None) -> tuple[int, bool]:
        """(length of the body sent, -1 for none; whether it goes chunked)."""
        if self.body is not None:
            return len(self.body.render(request)), False
        if body is None:
            return -1, False
        if body.data is None and body.file < 0 and body.chunked:
            return -1, True
        return body.length, False

    def _key(self, request: Request, group: Group) -> bytes:
        key = group.hash_key
        if key is not None:
            assert isinstance(key, Template)
            return key.render(request)
        if group.key_is_address:
            return request.packed_address()
        return b""

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _answer(self, request: Request, exchange: Exchange, answer: ResponseHead, method: bytes) -> Response:
        rules = self.rules
        connection = exchange.connection
        attempt = request.attempts[-1] if request.attempts else None
        assert attempt is not None
        status = answer.status
        sink: Sink | None = None
        caching = request.caching if self.cached is not None else None
        if caching is not None and self.cached is not None:
            kept = self.cached.instead(request, caching, answer)
            if kept is not None:
                ends = status == 304 and answer.content_length <= 0 and not answer.chunked  # it announces no body (see below)
                exchange.end(attempt, ends and not answer.close, False)
                return kept
        if status >= 300 and self.settings.intercept_errors and status in request.location.error_pages:
            exchange.end(attempt, False, False)
            if caching is not None and self.cached is not None:
                self.cached.keeping.intercepted(request, caching, answer)
            raise HTTPError(status)
        redirect = rules.redirect(answer) if b"x-accel-redirect" in answer.first else None
        if redirect is not None:
            exchange.end(attempt, False, False)
            raise self._accel_redirect(request, answer, redirect)
        if caching is not None and self.cached is not None:
            sink = self.cached.keeping.sink(request, caching, answer, connection.last_head)
        elif self.store is not None and method != b"HEAD" and rules.buffering(answer, self.settings.buffering):
            sink = self.store.sink(request, answer)
        finished = connection.finished
        repeated = isinstance(finished, FinishedHead) and finished.owner is self and sink is None and not self.force_ranges
        known = repeated and can_be_finished(self.editors, request, answer)
        length = answer.content_length
        if method == b"HEAD" or (request.method == b"HEAD" and sink is None) or status == 204 or status == 304:
            bodyless = method == b"HEAD" or status == 204 or status == 304  # by what the upstream was asked
            # RFC 9110 section 8.6: a 204 has no length, a 304 hardly ever one (no usual server sends it). One that announces a
            # body may send it, as the beginning of the next answer. To HEAD every server announces what GET would bring.
            lies = method != b"HEAD" and (length > 0 or answer.chunked)
            exchange.end(attempt, bodyless and not lies and not answer.close, False)
            response = rules.response(request, answer, EMPTY)
            if sink is not None and self.cached is not None:
                if method == b"HEAD":
                    sink.abort()  # there is no body to keep: proxy_cache_convert_head is off
                else:
                    sink.finish()
                    self.cached.answers.open_to_conditions(request, response, answer, last_modified_of(answer))
                    response.single_range = True
            return response
        rest = connection.buffer
        if length >= 0 and len(rest) >= length:
            # all of it is here: the upstream is free before the client has its answer
            connection.buffer = rest[length:]
            attempt.length = length
            exchange.end(attempt, not answer.close, False)
            content = rest if len(rest) == length else rest[:length]
            if sink is not None:
                sink.write(content)
                sink.finish()
            whole = BytesBody(content)
            response = self._known(connection, status, whole) if known else rules.response(request, answer, whole)
        else:
            buffered = self.settings.buffering
            if b"x-accel-buffering" in answer.first:
                buffered = rules.buffering(answer, buffered)
            body = UpstreamBody(exchange, request, attempt, length, answer.chunked, buffered)
            body.reusable = not answer.close
            body.sink = sink
            response = self._known(connection, status, body) if known else rules.response(request, answer, body)
            response.buffered = buffered
        if sink is not None and self.cached is not None:
            self.cached.answers.open_to_conditions(request, response, answer, last_modified_of(answer))
            response.single_range = True
        elif self.force_ranges:
            response.allow_ranges = True
            response.single_range = True
            response.last_modified = last_modified_of(answer)
            response.replace(b"accept-ranges", b"", b"")
        elif not known and can_be_finished(self.editors, request, answer) and self.is_memorable(response):
            connection.finished = finished_head(request, response, self)
            buffered = response.buffered
            response = self._known(connection, status, response.body)
            response.buffered = buffered
        return response

    def _known(self, connection: PeerConnection, status: int, body: Body) -> Response:
        """The answer with a head that is the one before: its lines are made already."""
        response = Response(status, body)
        response.from_upstream = True
        finished = connection.finished
        assert isinstance(finished, FinishedHead)
        response.finished = finished
        return response

    def is_memorable(self, response: Response) -> bool:
        """Whether the head's lines are the same for every request that gets this very head."""
        return not (
            response.location
            or response.server
            or response.no_server
            or response.date
            or response.limit_rate >= 0
            or (self.rules.rewriter.cookies and response.get(b"set-cookie"))
            or response.get(b"refresh")
            or response.get(b"location")
        )

    def _upgraded(self, request: Request, exchange: Exchange, answer: ResponseHead) -> Response:
        attempt = request.attempts[-1] if request.attempts else None
        assert attempt is not None
        if not request.fields.upgrade or request.stream is None:
            exchange.end(attempt, False, True)
            raise HTTPError(502, "upstream sent 101 Switching Protocols though no upgrade was asked for", ERR)
        tunnel = TunnelBody(exchange, request.stream, attempt, self.settings.read_timeout)
        response = self.rules.response(request, answer, tunnel)
        response.upgrade = answer.upgrade or request.fields.upgrade
        response.fields.append((b"Upgrade", response.upgrade))
        return response

    def _accel_redirect(self, request: Request, answer: ResponseHead, value: bytes) -> InternalRedirect:
        """X-Accel-Redirect: another location answers; a few fields of this answer are kept (ngx_http_upstream.c)."""
        request.kept_type = answer.get(b"content-type") or request.kept_type
        kept = [(answer.keys[i], answer.values[i]) for i in range(len(answer.names)) if answer.names[i] in _KEPT]
        request.kept_fields = [*(request.kept_fields or ()), *kept]  # they add up, also with what a check of access has set
        redirect = redirect_to(value)
        if not redirect.named and request.method != b"HEAD":
            request.method = b"GET"
        return redirect


def _takes_hints(request: Request) -> bool:
    return request.stream is not None and request.stream.takes_interim()
