"""Building `proxy_pass` from the settings of a location."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.balancing.group import Group
from portico.config.diagnostics import ConfigError
from portico.features.proxy import directives as d
from portico.features.proxy.rewriting import rewriter
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.net.certificates import ContextError
from portico.passing.cached.attach import CACHE_VARIABLES, open_caches, with_cache
from portico.passing.directives import ResponseFieldSettings
from portico.passing.fields import RequestFieldRules
from portico.passing.groups import group_of_address, groups_of
from portico.passing.handler import ProxyHandler
from portico.passing.http1.protocol import Http1Protocol
from portico.passing.response import ResponseRules
from portico.passing.settings import upstream_settings
from portico.passing.target import Lookup, Target, Url
from portico.passing.tls import upstream_tls
from portico.variables.template import Template
from portico.variables.variable import STABLE_FIELDS, Variable

if TYPE_CHECKING:
    from portico.http.request import Request


def _proxy_host(request: Request) -> bytes | None:
    target = None if request.upstream is None else request.upstream.target
    return target.host if isinstance(target, Target) else None


def _proxy_port(request: Request) -> bytes | None:
    target = None if request.upstream is None else request.upstream.target
    return target.port if isinstance(target, Target) else None


class ProxyFeature(Feature):
    """nginx's http_proxy module."""

    def http(self, build: HttpBuild) -> None:
        open_caches(build, d.CACHE, d.BUFFERING.temp_directory(build.scope))

    def location(self, build: LocationBuild) -> None:
        url = build.scope.own(d.PROXY_PASS)
        if url is None:
            return
        setting = build.scope.setting(d.PROXY_PASS)
        assert setting is not None
        try:
            handler = _handler(build, url)
        except (ValueError, ContextError) as error:
            text = f'{error} in "{url.text}"' if isinstance(error, ValueError) else str(error)
            hint = f'write "http://{url.text}"' if str(error) == "invalid URL prefix" and "://" not in url.text else ""
            raise ConfigError(text, setting.where, hint) from None
        build.set_content(with_cache(build, handler, d.CACHE, d.STORE, d.RESPONSE_FIELDS))
        build.on_finish(handler.settle)


def _handler(build: LocationBuild, url: Template) -> ProxyHandler:
    scope = build.scope
    settings = upstream_settings(d.UPSTREAM, scope)
    build.http.temp_paths.add(settings.temp_path)
    version = scope.get(d.PROXY_HTTP_VERSION)
    sent = RequestFieldRules(d.SET_HEADER.headers(scope), settings.pass_request_headers, scope.get(d.FORWARDED))
    target: Target | None = None
    secure = url.has_variables()
    if not url.has_variables():
        parsed = Url(url.text)
        secure = parsed.secure
        _check_uri(build, parsed)
        target = Target(parsed, _group(build, parsed))
    fields = ResponseFieldSettings(d.RESPONSE_FIELDS, scope)
    rules = ResponseRules(fields.hidden, fields.passed, fields.ignored, rewriter(build, target), settings.force_ranges)
    tls = upstream_tls(d.TLS, scope) if secure else None
    handler = ProxyHandler(settings, Http1Protocol(sent, version), sent, rules, target, url, _LOOKUP.of(build.http), tls)
    handler.tls_name = scope.get(d.TLS.name)
    handler.prefix = build.location.prefix
    handler.method = scope.get(d.PROXY_METHOD)
    handler.body = scope.get(d.PROXY_SET_BODY)
    handler.pass_body = settings.pass_request_body
    handler.early_hints = scope.get(d.EARLY_HINTS)
    return handler


def _check_uri(build: LocationBuild, url: Url) -> None:
    location = build.location
    if url.uri and (location.is_regex or location.is_named or location.is_condition):
        raise ValueError(
            '"proxy_pass" cannot have URI part in location given by regular expression, or inside named location, or inside '
            '"if" statement, or inside "limit_except" block'
        )


def _new_lookup(http: HttpBuild) -> Lookup:
    return Lookup(groups_of(http))


_LOOKUP: Final = BuildSlot[Lookup](_new_lookup)


def _group(build: LocationBuild, url: Url) -> Group:
    """Return the configured group of that name, or one made of the address."""
    groups = groups_of(build.http)
    named = groups.get(url.authority)
    if named is not None:
        return named
    setting = build.scope.setting(d.PROXY_PASS)
    where = setting.where if setting is not None else None
    return group_of_address(build.http, url.authority, url.host, url.port, where)


FEATURE: Final = ProxyFeature(
    "http_proxy",
    d.DIRECTIVES,
    (
        Variable("proxy_host", _proxy_host, STABLE_FIELDS, "Name and port of the proxied server, as in `proxy_pass`."),
        Variable("proxy_port", _proxy_port, STABLE_FIELDS, "Port of the proxied server, as in `proxy_pass`."),
        *CACHE_VARIABLES,
    ),
)
