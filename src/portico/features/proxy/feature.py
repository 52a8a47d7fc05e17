"""Building `proxy_pass` from the settings of a location."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.balancing.group import Group
from portico.balancing.tls import UpstreamSettings as TLSSettings
from portico.balancing.tls import UpstreamTLS
from portico.config.diagnostics import ConfigError
from portico.config.directive import Directive
from portico.http.feature import Feature, HttpBuild, LocationBuild
from portico.net.certificates import ContextError, read_passphrases
from portico.passing import directives as d
from portico.passing.cached.attach import CACHE_DIRECTIVES, CACHE_VARIABLES, open_caches, with_cache
from portico.passing.fields import RequestHead
from portico.passing.groups import group_of_address, groups_of
from portico.passing.handler import ProxyHandler
from portico.passing.response import AnswerRules
from portico.passing.rewrite import (
    PROXY_COOKIE_DOMAIN,
    PROXY_COOKIE_FLAGS,
    PROXY_COOKIE_PATH,
    PROXY_REDIRECT,
    Rewriter,
    Rule,
)
from portico.passing.settings import UpstreamSettings
from portico.passing.target import Lookup, Target, Url
from portico.variables.template import Template
from portico.variables.variable import STABLE_FIELDS, Variable

if TYPE_CHECKING:
    from portico.http.request import Request

def _proxy_host(request: Request) -> bytes | None:
    target = request.proxy_target
    return target.host if isinstance(target, Target) else None


def _proxy_port(request: Request) -> bytes | None:
    target = request.proxy_target
    return target.port if isinstance(target, Target) else None


class ProxyFeature(Feature):
    """nginx's http_proxy module."""

    def http(self, build: HttpBuild) -> None:
        open_caches(build, UpstreamSettings(d.SHARED, build.scope).temp_path)

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
        build.set_content(with_cache(build, handler))
        build.on_finish(handler.settle)


def _handler(build: LocationBuild, url: Template) -> ProxyHandler:
    scope = build.scope
    settings = UpstreamSettings(d.SHARED, scope)
    build.http.temp_paths.add(settings.temp_path)
    version = scope.get(d.PROXY_HTTP_VERSION)
    head = RequestHead(
        [header for header in scope.all(d.PROXY_SET_HEADER) if header is not None],
        scope.get(d.PROXY_PASS_REQUEST_HEADERS),
        version,
        scope.get(d.FORWARDED),
    )
    target: Target | None = None
    secure = url.has_variables()
    if not url.has_variables():
        parsed = Url(url.text)
        secure = parsed.secure
        _check_uri(build, parsed)
        target = Target(parsed, _group(build, parsed))
    rules = AnswerRules(
        scope.all(d.PROXY_HIDE_HEADER),
        scope.all(d.PROXY_PASS_HEADER),
        scope.get(d.PROXY_IGNORE_HEADERS),
        _rewriter(build, target),
    )
    tls = _tls(build) if secure else None
    handler = ProxyHandler(settings, head, rules, target, url, _lookup(build.http), tls)
    handler.tls_name = scope.get(d.PROXY_SSL_NAME)
    handler.prefix = build.location.prefix
    handler.method = scope.get(d.PROXY_METHOD)
    handler.body = scope.get(d.PROXY_SET_BODY)
    handler.pass_body = scope.get(d.PROXY_PASS_REQUEST_BODY)
    handler.version = version
    handler.force_ranges = scope.get(d.PROXY_FORCE_RANGES)
    handler.early_hints = scope.get(d.EARLY_HINTS)
    return handler


def _check_uri(build: LocationBuild, url: Url) -> None:
    location = build.location
    if url.uri and (location.is_regex or location.is_named or location.is_condition):
        raise ValueError(
            '"proxy_pass" cannot have URI part in location given by regular expression, or inside named location, or inside '
            '"if" statement, or inside "limit_except" block'
        )


def _lookup(http: HttpBuild) -> Lookup:
    lookup = http.state.get("proxy lookup")
    if lookup is None:
        lookup = Lookup(groups_of(http))
        http.state["proxy lookup"] = lookup
    assert isinstance(lookup, Lookup)
    return lookup


def _group(build: LocationBuild, url: Url) -> Group:
    """The configured group of that name, or one made of the address."""
    groups = groups_of(build.http)
    named = groups.get(url.authority)
    if named is not None:
        return named
    setting = build.scope.setting(d.PROXY_PASS)
    where = setting.where if setting is not None else None
    return group_of_address(build.http, url.authority, url.host, url.port, where)


def _rewriter(build: LocationBuild, target: Target | None) -> Rewriter:
    scope = build.scope
    redirects: list[Rule] = []
    configured = scope.all(PROXY_REDIRECT) or [PROXY_REDIRECT.default]
    for rule in configured:
        if rule.word == "off":
            redirects = []
            break
        if rule.word == "default":
            default = _default_redirect(build, target)
            if default is not None:
                redirects.append(default)
        else:
            redirects.append(rule)
    return Rewriter(redirects, scope.all(PROXY_COOKIE_DOMAIN), scope.all(PROXY_COOKIE_PATH), scope.all(PROXY_COOKIE_FLAGS))


def _default_redirect(build: LocationBuild, target: Target | None) -> Rule | None:
    """nginx: the URL of proxy_pass becomes the location's prefix; with variables there is no default."""
    if target is None:
        return None
    where = build.location.where
    assert where is not None
    url = target.url.decode("utf-8", "surrogateescape")
    if target.uri:
        prefix = build.location.prefix.decode("utf-8", "surrogateescape")
        return Rule(_literal(url, build), None, _literal(prefix, build), "")
    return Rule(_literal(url + "/", build), None, _literal("/", build), "")


def _literal(text: str, build: LocationBuild) -> Template:
    where = build.location.where
    assert where is not None
    made = Template("", where)
    made.constant = text.encode("utf-8", "surrogateescape")
    return made


def _tls(build: LocationBuild) -> UpstreamTLS:
    scope = build.scope
    settings = TLSSettings()
    settings.server_name = scope.get(d.PROXY_SSL_SERVER_NAME)
    settings.verify = scope.get(d.PROXY_SSL_VERIFY)
    settings.verify_depth = scope.get(d.PROXY_SSL_VERIFY_DEPTH)
    settings.trusted_certificate = scope.get(d.PROXY_SSL_TRUSTED_CERTIFICATE)
    settings.crl = scope.get(d.PROXY_SSL_CRL)
    settings.certificate = scope.get(d.PROXY_SSL_CERTIFICATE)
    settings.certificate_key = scope.get(d.PROXY_SSL_CERTIFICATE_KEY)
    password_file = scope.get(d.PROXY_SSL_PASSWORD_FILE)
    if password_file:
        settings.passphrases = read_passphrases(password_file)
    settings.protocols = scope.get(d.PROXY_SSL_PROTOCOLS)
    settings.ciphers = scope.get(d.PROXY_SSL_CIPHERS)
    settings.session_reuse = scope.get(d.PROXY_SSL_SESSION_REUSE)
    if settings.verify and not settings.trusted_certificate:
        raise ValueError("no proxy_ssl_trusted_certificate for proxy_ssl_verify")
    return UpstreamTLS(settings)


_DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    d.PROXY_PASS, d.EARLY_HINTS, d.FORWARDED, d.PROXY_SET_HEADER, d.PROXY_HTTP_VERSION, d.PROXY_METHOD, d.PROXY_PASS_REQUEST_HEADERS,
    d.PROXY_PASS_REQUEST_BODY, d.PROXY_SET_BODY, d.PROXY_HIDE_HEADER, d.PROXY_PASS_HEADER, d.PROXY_IGNORE_HEADERS,
    d.PROXY_HEADERS_HASH_MAX_SIZE, d.PROXY_HEADERS_HASH_BUCKET_SIZE, PROXY_REDIRECT, PROXY_COOKIE_DOMAIN,
    PROXY_COOKIE_PATH, PROXY_COOKIE_FLAGS, d.PROXY_SSL_SERVER_NAME, d.PROXY_SSL_NAME, d.PROXY_SSL_VERIFY,
    d.PROXY_SSL_VERIFY_DEPTH, d.PROXY_SSL_TRUSTED_CERTIFICATE, d.PROXY_SSL_CRL, d.PROXY_SSL_CERTIFICATE,
    d.PROXY_SSL_CERTIFICATE_KEY, d.PROXY_SSL_PASSWORD_FILE, d.PROXY_SSL_PROTOCOLS, d.PROXY_SSL_CIPHERS,
    d.PROXY_SSL_SESSION_REUSE, d.PROXY_FORCE_RANGES, *d.SHARED.all(), *CACHE_DIRECTIVES,
)  # fmt: skip

FEATURE: Final = ProxyFeature(
    "http_proxy",
    _DIRECTIVES,
    (
        Variable("proxy_host", _proxy_host, STABLE_FIELDS, "Name and port of the proxied server, as in `proxy_pass`."),
        Variable("proxy_port", _proxy_port, STABLE_FIELDS, "Port of the proxied server, as in `proxy_pass`."),
        *CACHE_VARIABLES,
    ),
)
