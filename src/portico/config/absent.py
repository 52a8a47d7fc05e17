"""What nginx has and Portico does not yet, and what to do until then: the hint on a directive from a module that is not there."""

from collections.abc import Container, Iterable
from typing import Final

_FAMILIES: Final = (
    "add_trailer", "allow", "ancient_browser", "auth_basic", "auth_request", "autoindex", "charset",
    "client_body_early_read", "dav", "deny", "disable_symlinks",
    "empty_gif", "fastcgi", "flv", "geo", "geoip", "grpc", "gunzip", "gzip", "gzip_static", "health_check", "http3",
    "image_filter", "js", "keepalive_min_timeout", "keyval", "limit_conn", "limit_req", "mail", "map", "max_headers",
    "memcached", "modern_browser", "mp4", "override_charset", "perl", "post_action", "proxy_bind", "proxy_cache",
    "proxy_limit_rate", "proxy_pass_trailers", "proxy_socket_rcvbuf", "proxy_socket_sndbuf", "proxy_ssl_certificate_cache",
    "proxy_ssl_conf_command", "proxy_store", "quic", "random_index", "real_ip", "scgi", "secure_link",
    "set_real_ip", "slice", "split_clients", "ssi", "ssl_certificate_cache", "ssl_certificate_compression",
    "ssl_conf_command", "ssl_early_data", "ssl_ech_file", "ssl_engine", "ssl_ocsp", "ssl_stapling", "status_zone", "sticky",
    "stream", "stub_status", "userid", "userid_flags", "uwsgi", "valid_referers", "xslt",
)  # fmt: skip
"""nginx's directives, or how the names of a family of them begin. Each counts until the first of a family is declared."""

_SPEAK_HTTP: Final = "let the application speak HTTP and write proxy_pass, or keep nginx for it"
_KEEP_NGINX: Final = "keep nginx for it"
_OTHERWISE: Final = "remove the line if you can do without what it does, or keep nginx for it"

_INSTEAD: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (_SPEAK_HTTP, ("fastcgi", "uwsgi", "scgi", "grpc", "memcached")),
    (
        "keep nginx for it, as a process of its own: it can stay beside Portico on other ports",
        ("stream", "mail"),
    ),
    (_KEEP_NGINX, ("ssi", "dav", "mp4", "flv", "image_filter", "xslt", "perl", "js", "geoip")),
    ("remove the line: clients get HTTP/1.1", ("http3", "quic")),
    ("a map of $http_user_agent does the same", ("ancient_browser", "modern_browser")),
    ('write "ip_hash;" or "hash" with a cookie in the upstream', ("sticky",)),
    ("remove the line: a server that fails is left alone for its fail_timeout", ("health_check",)),
    ("remove the line; stub_status has the counts of all requests", ("status_zone",)),
    (
        "nothing takes its place: remove it only where nobody but you can make symbolic links below the root",
        ("disable_symlinks",),
    ),
)  # fmt: skip


def advice(name: str, declared: Iterable[str]) -> str:
    """Return what to do without the directive; "" when it is not one that nginx alone has (no module of it is among `declared`)."""
    known = list(declared)
    families = [family for family in _FAMILIES if _is_of(name, family)]
    missing = [family for family in families if not any(_is_of(other, family) for other in known)]
    if not missing:
        return ""
    return f"nginx has it and Portico does not yet: {_instead(missing)}"


def _instead(families: Container[str]) -> str:
    for todo, names in _INSTEAD:
        if any(name in families for name in names):
            return todo
    return _OTHERWISE


def _is_of(name: str, family: str) -> bool:
    return name == family or name.startswith(family + "_")
