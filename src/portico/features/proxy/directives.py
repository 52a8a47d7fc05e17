"""The `proxy_*` directives: the families that other protocols have too, and what is only HTTP's."""

from __future__ import annotations

from typing import Final

from portico.config import values
from portico.config.directive import IF_LOCATION, LIMIT_EXCEPT, LOCATION, Directive
from portico.config.reader import Statement
from portico.features.proxy.rewriting import PROXY_COOKIE_DOMAIN, PROXY_COOKIE_FLAGS, PROXY_COOKIE_PATH, PROXY_REDIRECT
from portico.passing.cached.settings import CacheDirectives
from portico.passing.directives import ResponseFieldDirectives, SetHeaderDirectives
from portico.passing.families import ANYWHERE, Family, Prefix
from portico.passing.settings import (
    BufferingDirectives,
    ExchangeDirectives,
    InterceptDirectives,
    RangeDirectives,
    RequestDirectives,
    RetryDirectives,
    UpstreamFamily,
)
from portico.passing.store_settings import StoreDirectives
from portico.passing.tls import TLSDirectives
from portico.variables.template import Template, template, templates

_PROXY: Final = Prefix("proxy", "the proxied server")
_EXCHANGE: Final = ExchangeDirectives(_PROXY)
BUFFERING: Final = BufferingDirectives(_EXCHANGE)
UPSTREAM: Final[tuple[UpstreamFamily, ...]] = (
    _EXCHANGE, RetryDirectives(_PROXY), BUFFERING, RequestDirectives(_PROXY), InterceptDirectives(_PROXY), RangeDirectives(_PROXY),
)  # fmt: skip
SET_HEADER: Final = SetHeaderDirectives(_PROXY, 'Host $proxy_host; Connection "" (HTTP/1.1) or close (HTTP/1.0)')
RESPONSE_FIELDS: Final = ResponseFieldDirectives(_PROXY, ("Date", "Server", "X-Pad"))
CACHE: Final = CacheDirectives(_PROXY, "the URL requested from the upstream", converts_head=True)
STORE: Final = StoreDirectives(_PROXY)
TLS: Final = TLSDirectives(_PROXY, "$proxy_host")


def _http_version(statement: Statement) -> int:
    return values.choice({"1.0": 10, "1.1": 11})(statement)


PROXY_PASS: Final = Directive[Template | None](
    "proxy_pass", LOCATION | IF_LOCATION | LIMIT_EXCEPT, template, args="1", default=None, syntax="URL",
    doc="Where requests go: `http://` or `https://`, then a host, an upstream group or `unix:/path`, then perhaps a URI. "
    "With a URI, that part of the request's URI which the location matched is replaced by it (`location /api/ { proxy_pass "
    "http://app/; }` strips `/api`); without one, the request's URI is passed on as the client sent it. With variables, the "
    "whole URL is made for each request; a host that is no upstream group is looked up then, with the system's resolver.",
    example="location /api/ { proxy_pass http://127.0.0.1:4000/; }",
)
EARLY_HINTS: Final = Directive[list[Template]](
    "early_hints", ANYWHERE, templates, args="1+", joins=True, default=list[Template](), default_text="none", syntax="TEXT ...",
    doc="Passes 103 (Early Hints, RFC 8297) of the upstream on to the client when any of the texts is neither empty nor `0`; "
    "else, and for clients that speak HTTP/1.0, it is dropped. Some clients take a 103 for the response, so choose by a field that "
    "browsers send.",
    example="map $http_sec_fetch_mode $hints { navigate 1; } server { early_hints $hints; }",
)
FORWARDED: Final = Directive[bool](
    "forwarded", ANYWHERE, values.flag, args="1", default=False, default_text="off", syntax="on | off", beyond=True,
    doc="Tells the upstream of the client in the field `Forwarded` (RFC 7239): `for`, `host` and `proto`. What the client's own "
    "`Forwarded` says is passed on, before it, only when `set_real_ip_from` trusts who sent it; else it is replaced. "
    "`proxy_set_header Forwarded` wins. To read the field: `real_ip_header Forwarded`.",
    example="forwarded on;",
)
PROXY_HTTP_VERSION: Final = Directive[int](
    "proxy_http_version", ANYWHERE, _http_version, args="1", default=11, default_text="1.1",
    syntax="1.0 | 1.1",
    doc="The version of HTTP spoken to the upstream. With 1.1 connections are kept alive and reused (nginx's default since "
    "1.29.7).",
    example="proxy_http_version 1.1;",
)
PROXY_METHOD: Final = Directive[Template | None](
    "proxy_method", ANYWHERE, template, args="1", default=None, default_text="the request's",
    syntax="METHOD",
    doc="The method to send instead of the client's.", example="proxy_method POST;",
)
PROXY_SET_BODY: Final = Directive[Template | None](
    "proxy_set_body", ANYWHERE, template, args="1", default=None, default_text="the request's",
    syntax="VALUE",
    doc="The body to send instead of the client's.", example='proxy_set_body "$request_uri";',
)
PROXY_HEADERS_HASH_MAX_SIZE: Final = Directive[int](
    "proxy_headers_hash_max_size", ANYWHERE, values.number, args="1", default=512, default_text="512",
    doc="Sizes nginx's table of hidden fields. Portico's tables grow by themselves; the value is checked and has no effect.",
    example="proxy_headers_hash_max_size 1024;",
)
PROXY_HEADERS_HASH_BUCKET_SIZE: Final = Directive[int](
    "proxy_headers_hash_bucket_size", ANYWHERE, values.number, args="1", default=64, default_text="64",
    doc="See `proxy_headers_hash_max_size`.", example="proxy_headers_hash_bucket_size 128;",
)

_FAMILIES: Final[tuple[Family, ...]] = (*UPSTREAM, SET_HEADER, RESPONSE_FIELDS, TLS, CACHE, STORE)
DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    PROXY_PASS, EARLY_HINTS, FORWARDED, PROXY_HTTP_VERSION, PROXY_METHOD, PROXY_SET_BODY, PROXY_HEADERS_HASH_MAX_SIZE,
    PROXY_HEADERS_HASH_BUCKET_SIZE, PROXY_REDIRECT, PROXY_COOKIE_DOMAIN, PROXY_COOKIE_PATH, PROXY_COOKIE_FLAGS,
    *(directive for family in _FAMILIES for directive in family.all()),
)  # fmt: skip
