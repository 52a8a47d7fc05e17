"""The ordered list of everything Portico can be configured to do: the only list.

The order is that in which features attach to a location: content handlers before `index` and `static`, which answer only where
nothing else does; header filters order themselves. `-V` and the reference manual are made from this list.
"""

from __future__ import annotations

from typing import Final

from portico.config.directive import Directive
from portico.errorlog import ERROR_LOG
from portico.features import (
    access,
    access_log,
    add_header,
    addition,
    auth_request,
    auth_require,
    autoindex,
    browser,
    empty_gif,
    expires,
    geo,
    gunzip,
    http2,
    index,
    limit_conn,
    limit_except,
    limit_req,
    map,
    mirror,
    not_modified,
    proxy_protocol,
    random_index,
    ranges,
    realip,
    referer,
    resolver,
    secure_link,
    slice,
    split_clients,
    ssl,
    stub_status,
    sub_filter,
    try_files,
    tuning,
    upstream,
    userid,
)
from portico.features.auth_basic import feature as auth_basic
from portico.features.auth_jwt import feature as auth_jwt
from portico.features.charset import feature as charset
from portico.features.compression import feature as compression
from portico.features.dav import feature as dav
from portico.features.geoip import feature as geoip
from portico.features.geoip import geoip2
from portico.features.headers_more import feature as headers_more
from portico.features.oidc import feature as oidc
from portico.features.proxy import feature as proxy
from portico.features.rewrite import feature as rewrite
from portico.features.rewrite import set_misc
from portico.features.ssi import feature as ssi
from portico.features.static import feature as static
from portico.http.core import FEATURE as CORE
from portico.http.feature import Feature
from portico.supervisor.settings import MAIN_DIRECTIVES

FEATURES: Final[tuple[Feature, ...]] = (
    CORE,
    access_log.FEATURE,
    ssl.FEATURE,
    http2.FEATURE,
    proxy_protocol.FEATURE,
    realip.FEATURE,
    map.FEATURE,
    geo.FEATURE,
    geoip.FEATURE,
    geoip2.FEATURE,
    split_clients.FEATURE,
    limit_except.FEATURE,
    rewrite.FEATURE,
    set_misc.FEATURE,
    headers_more.FEATURE,
    referer.FEATURE,
    browser.FEATURE,
    secure_link.FEATURE,
    limit_req.FEATURE,
    limit_conn.FEATURE,
    access.FEATURE,
    auth_basic.FEATURE,
    oidc.FEATURE,
    auth_jwt.FEATURE,
    auth_request.FEATURE,
    auth_require.FEATURE,
    try_files.FEATURE,
    mirror.FEATURE,
    upstream.FEATURE,
    proxy.FEATURE,
    empty_gif.FEATURE,
    stub_status.FEATURE,
    tuning.FEATURE,
    resolver.FEATURE,
    slice.FEATURE,
    not_modified.FEATURE,
    expires.FEATURE,
    add_header.FEATURE,
    userid.FEATURE,
    gunzip.FEATURE,
    addition.FEATURE,
    sub_filter.FEATURE,
    charset.FEATURE,
    ssi.FEATURE,
    compression.GZIP,
    compression.BROTLI,
    compression.ZSTD,
    compression.FEATURE,
    ranges.FEATURE,
    dav.FEATURE,
    random_index.FEATURE,
    index.FEATURE,
    autoindex.FEATURE,
    static.GZIP_STATIC_FEATURE,
    static.BROTLI_STATIC_FEATURE,
    static.ZSTD_STATIC_FEATURE,
    static.FEATURE,
)

# Modules that nginx builds by default and Portico does not have yet, by the words of nginx's configure: what `-V` lists as
# `--without-…`. A feature that comes with one of these names takes it off the list by itself.
_NGINX_DEFAULTS: Final = (
    "http_charset", "http_gzip", "http_ssi", "http_userid", "http_access", "http_auth_basic", "http_mirror",
    "http_autoindex", "http_geo", "http_map", "http_split_clients", "http_referer", "http_proxy", "http_fastcgi",
    "http_uwsgi", "http_scgi", "http_grpc", "http_memcached", "http_limit_conn", "http_limit_req", "http_empty_gif",
    "http_browser",
)  # fmt: skip


def directives() -> tuple[Directive[object], ...]:
    """Return every directive, those of the process first."""
    found: list[Directive[object]] = [*MAIN_DIRECTIVES, ERROR_LOG]
    for feature in FEATURES:
        found.extend(feature.directives)
    return tuple(dict.fromkeys(found))


def configure_arguments() -> str:
    """Return what `-V` prints behind "configure arguments:", in nginx's own words."""
    names = {feature.name for feature in FEATURES}
    words = [feature.configure for feature in FEATURES if feature.configure]
    words.extend(f"--without-{name}_module" for name in _NGINX_DEFAULTS if name not in names)
    return " ".join(words)
