"""The location's handler: asks an upstream and makes its response the client's.

    request     where to, and what is asked for           here
    protocol    the bytes of request and response         protocol.py
    exchange    peers, connections, retries               exchange.py
    response    from its header section on                respond.py

What stores responses, or responds in an upstream's place, attaches as a `ResponseHook` (hook.py); nothing here knows of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.balancing.group import Group
from portico.balancing.tls import UpstreamTLS
from portico.codec.errors import shown
from portico.codec.http1_request import is_method
from portico.config.values import octets
from portico.errorlog import ERR
from portico.http.errors import HTTPError
from portico.http.handler import Handler, HeaderFilter
from portico.http.response import Response
from portico.passing.exchange import Exchange
from portico.passing.fields import RequestFieldRules
from portico.passing.hook import ResponseHook
from portico.passing.protocol import UpstreamProtocol, UpstreamRequest
from portico.passing.respond import Responder
from portico.passing.response import ResponseRules
from portico.passing.settings import UpstreamSettings
from portico.passing.target import Lookup, Target, Url, origin_of, upstream_uri
from portico.variables.template import Template, any_set

if TYPE_CHECKING:
    from portico.http.body import RequestBody
    from portico.http.request import Request


@final
class ProxyHandler(Handler):
    """`proxy_pass` of one location, or its like of another protocol.

    A handler that wraps it (`proxy_cache`) uses `handle_async`, `describe`, `attach`, `read_body`, `url_of`, and reads the parts
    `settings`, `fields`, `rules` and `target`.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        protocol: UpstreamProtocol,
        fields: RequestFieldRules,
        rules: ResponseRules,
        target: Target | None,
        url: Template,
        lookup: Lookup,
        tls: UpstreamTLS | None,
    ) -> None:
        self.is_async = True
        self.settings = settings
        self.protocol = protocol
        self.fields = fields
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
        self.early_hints: list[Template] = []
        self.responder = Responder(settings, rules)
        self.hook: ResponseHook | None = None

    def attach(self, hook: ResponseHook) -> None:
        """Let a hook see every request from now on. There is one at most."""
        assert self.hook is None
        self.hook = hook
        self.responder.hook = hook

    def settle(self, editors: list[HeaderFilter]) -> None:
        """Note the location's filters that may change upstreams' header sections, once the whole configuration is read."""
        self.rules.editors = editors
        self.fields.settle()

    def describe(self) -> str:
        return f"{self.settings.prefix}_pass {self.url.text}"

    async def handle_async(self, request: Request) -> Response | None:
        target = self.target
        if target is None:
            target = await self._target(request)
        body = request.body
        if body is not None:
            body = None if body.is_withheld else await self._prepare_body(request, body)
        asked = self._asked(request, target, body)
        exchange = self._exchange(asked, target)
        encoded = self.protocol.encode(asked)
        try:
            head = await exchange.run(encoded, self._key(request, target.group))
        except HTTPError:
            if self.hook is not None:
                self.hook.on_failure(request, exchange.failure)
            raise
        request.upstream_state().fields = head
        try:
            return self.responder.respond(request, exchange, head, asked.method)
        except BaseException:
            exchange.abandon()
            raise

    # -- the request ---------------------------------------------------------------------------------------------------

    def url_of(self, request: Request) -> bytes:
        """Return the URL that the upstream is asked for, a cache's default key (ngx_http_proxy_create_key). Raises HTTPError."""
        target = self.target
        if target is not None:
            return target.origin + upstream_uri(request, target.uri, self.prefix, False)
        url = self._url(request)
        return origin_of(url) + upstream_uri(request, octets(url.uri), self.prefix, True)

    async def read_body(self, request: Request) -> None:
        """Read the request's body whole where `proxy_request_buffering` is on. Raises what a client's body raises."""
        body = request.body
        if body is not None and self.settings.request_buffering and not body.was_read() and not body.is_withheld:
            await body.read_all()

    async def _target(self, request: Request) -> Target:
        url = self._url(request)
        return Target(url, await self.lookup.group(request, url))

    def _url(self, request: Request) -> Url:
        """Return what a URL with variables comes to. Raises HTTPError 500 when that is no URL."""
        text = self.url.render(request).decode("utf-8", "surrogateescape")
        try:
            url = Url(text)
        except ValueError as error:
            raise HTTPError(500, f'{error} in "{text}"', ERR) from None
        if url.secure and self.tls is None:
            raise HTTPError(500, f'https cannot be used for "{text}"', ERR)
        return url

    def _asked(self, request: Request, target: Target, body: RequestBody | None) -> UpstreamRequest:
        """Return what the upstream is asked for, as the hook leaves it. Raises HTTPError, and ClientGone when the client has left."""
        uri = upstream_uri(request, target.uri, self.prefix, self.target is None)
        state = request.upstream_state()
        state.target = target
        state.scheme = target.scheme
        state.uri = uri
        asked = UpstreamRequest(request, self._method(request), uri, target.host, body)
        asked.method_is_set = self.method is not None
        asked.is_repeatable = self.target is not None
        if self.body is not None:
            asked.content = self.body.render(request)
        hook = self.hook
        if hook is not None:
            hook.before_send(request, asked)
        if request.stream is not None:
            if asked.abortable and not self.settings.ignore_client_abort:
                request.stream.watch()
            else:
                request.stream.unwatch()
        return asked

    def _exchange(self, asked: UpstreamRequest, target: Target) -> Exchange:
        """Return the exchange with the target's group."""
        request = asked.request
        tls = self.tls if target.secure else None
        tls_name = b""
        if tls is not None:
            tls_name = target.host if self.tls_name is None else self.tls_name.render(request)
        exchange = Exchange(asked, self.settings, self.protocol, target.group, tls, tls_name)
        if self.settings.bind is not None:
            exchange.local = self.settings.bind.of(request)
        if self.early_hints and request.parent is None and _takes_hints(request) and any_set(self.early_hints, request):
            exchange.hints = self.rules
        return exchange

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
        if body.was_read():
            return body
        if self.settings.request_buffering or (body.length < 0 and self.protocol.needs_length):
            await body.read_all()
        else:
            body.read_if_here(request.location.core.client_body_buffer_size)
        return body

    def _key(self, request: Request, group: Group) -> bytes:
        """Return what the group's balancer hashes; b"" when it hashes nothing."""
        key = group.hash_key
        if key is not None:
            assert isinstance(key, Template)
            return key.render(request)
        if group.key_is_address:
            return request.packed_address()
        return b""


def _takes_hints(request: Request) -> bool:
    return request.stream is not None and request.stream.takes_interim()
