"""What nginx and the modules that people add to it have and Portico does not, and what to do until then.

It is the hint on a directive of a module that is not there.
"""

from collections.abc import Container, Iterable
from typing import Final

_FAMILIES: Final = (
    "add_trailer", "allow", "ancient_browser", "auth_basic", "auth_request", "autoindex", "charset",
    "client_body_early_read", "create_full_put_path", "dav", "degradation", "degrade", "deny",
    "empty_gif", "fastcgi", "flv", "geo", "geoip", "grpc", "gunzip", "gzip", "gzip_static", "health_check",
    "image_filter", "js", "keyval", "least_time", "limit_conn", "limit_req", "mail", "map",
    "memcached", "min_delete_depth", "modern_browser", "mp4", "override_charset", "perl", "post_action", "proxy_cache",
    "proxy_pass_trailers", "proxy_socket_rcvbuf", "proxy_socket_sndbuf", "proxy_ssl_certificate_cache",
    "proxy_ssl_conf_command", "proxy_store", "random_index", "real_ip", "scgi", "secure_link",
    "set_real_ip", "slice", "split_clients", "ssi", "ssl_conf_command", "status_zone", "sticky",
    "stream", "stub_status", "tunnel", "userid", "uwsgi", "valid_referers", "xml_entities",
    "xml_external_entities", "xslt",
)  # fmt: skip
"""nginx's directives, or how the names of a family of them begin. Each counts until the first of a family is declared."""

_BY_LUA: Final = "*_by_lua"
_ALONE: Final = ("fastcgi_temp_path", "scgi_temp_path", "uwsgi_temp_path")  # declared, although no other of the family is
_SPEAK_HTTP: Final = "let the application speak HTTP and write proxy_pass, or keep nginx for it"
_KEEP_NGINX: Final = "keep nginx for it"
_OTHERWISE: Final = "remove the line if you can do without what it does, or keep nginx for it"

_INSTEAD: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (_SPEAK_HTTP, ("fastcgi", "uwsgi", "scgi", "grpc", "memcached")),
    (
        "keep nginx for it, as a process of its own: it can stay beside Portico on other ports",
        ("stream", "mail"),
    ),
    (
        _KEEP_NGINX,
        ("ssi", "dav", "create_full_put_path", "min_delete_depth", "mp4", "flv", "image_filter", "xslt", "xml_entities",
         "xml_external_entities", "perl", "js", "tunnel"),
    ),
    ('write "least_conn;"', ("least_time",)),
    ("remove the line", ("degradation", "degrade")),
    ("a map of $http_user_agent does the same", ("ancient_browser", "modern_browser")),
    ('write "ip_hash;" or "hash" with a cookie in the upstream', ("sticky",)),
    ("remove the line: a server that fails is left alone for its fail_timeout", ("health_check",)),
    ("remove the line; stub_status has the counts of all requests", ("status_zone",)),
)  # fmt: skip

_ADDED: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("lua-nginx-module of OpenResty", "let the application do it, or keep OpenResty for it", ("lua", _BY_LUA)),
    ("nginx-rtmp-module", "keep nginx for it, as a process of its own: it can stay beside Portico on other ports", ("rtmp",)),
    (
        "set-misc-nginx-module", "let the application do it, or keep OpenResty for it",
        ("set_quote_sql_str", "set_quote_pgsql_str", "set_encode_base32", "set_decode_base32", "set_base32", "set_hashed_upstream"),
    ),
    ("echo-nginx-module", '"return 200 TEXT;" responds with a text', ("echo",)),
    ("ngx-fancyindex", "autoindex lists directories", ("fancyindex",)),
    ("ngx_http_substitutions_filter_module", "sub_filter replaces fixed texts", ("subs_filter",)),
    ("nginx-upstream-fair", 'write "least_conn;"', ("fair",)),
    ("ngx_cache_purge", 'write "proxy_cache_purge", which takes a variable', ("cache_purge",)),
    ("nginx-upload-module", "let the application take the upload", ("upload",)),
    ("nginx-module-vts", "remove the line; stub_status has the counts of all requests", ("vhost_traffic_status",)),
    ("ModSecurity-nginx", "remove the line if you can do without what it guards, or keep nginx for it", ("modsecurity",)),
    ("Phusion Passenger", _SPEAK_HTTP, ("passenger",)),
    ("nginx_ajp_module", _SPEAK_HTTP, ("ajp",)),
    ("ngx_pagespeed", "remove the line", ("pagespeed",)),
    ("an exporter of traces", "remove the line", ("otel", "opentelemetry", "opentracing", "opentracing_tag")),
    (
        "another way of authentication", "auth_request can ask a service that knows it",
        ("auth_pam", "auth_ldap", "auth_digest", "auth_gss"),
    ),
    (
        "NGINX Plus", _OTHERWISE,
        ("api", "f4f", "hls", "internal_redirect", "match", "mgmt", "ntlm", "queue", "session_log", "state", "status", "zone_sync"),
    ),
    ("nchan or push-stream", "let the application do it, or keep nginx for it", ("nchan", "push_stream")),
)  # fmt: skip
"""Modules that are not nginx's own: what they are called, what to do instead, and their directives as in _FAMILIES."""


def advice(name: str, declared: Iterable[str]) -> str:
    """Return what to do without the directive; "" when it is not one that nginx alone has (no module of it is among `declared`)."""
    known = [each for each in declared if each not in _ALONE]
    families = [family for family in _FAMILIES if _is_of(name, family)]
    missing = [family for family in families if not any(_is_of(other, family) for other in known)]
    if not missing:
        return _on_added(name, known)
    return f"nginx has it and Portico does not yet: {_instead(missing)}"


def _on_added(name: str, declared: list[str]) -> str:
    for module, todo, families in _ADDED:
        for family in families:
            if _is_of(name, family) and not any(_is_of(other, family) for other in declared):
                return f"it belongs to a module that is not nginx's own ({module}): {todo}"
    return ""


def _instead(families: Container[str]) -> str:
    for todo, names in _INSTEAD:
        if any(name in families for name in names):
            return todo
    return _OTHERWISE


def _is_of(name: str, family: str) -> bool:
    if family == _BY_LUA:
        return family[1:] in name
    return name == family or name.startswith(family + "_")
