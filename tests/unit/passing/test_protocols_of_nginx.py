"""The families, put together as a protocol has them, are nginx's directives: what is missing or too much is listed here."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.passing.every_family import CGI_CONDITIONS, MEMCACHED_CONDITIONS

from portico.config.directive import HTTP, Scope
from portico.config.load import Load
from portico.features.proxy.feature import FEATURE
from portico.passing.cached.settings import CacheDirectives
from portico.passing.directives import ParamDirectives, ResponseFieldDirectives, SetHeaderDirectives
from portico.passing.failure import CONDITIONS, ERROR, TIMEOUT
from portico.passing.families import Family, Prefix
from portico.passing.settings import (
    BufferingDirectives,
    ExchangeDirectives,
    InterceptDirectives,
    RangeDirectives,
    RequestDirectives,
    RetryDirectives,
    upstream_settings,
)
from portico.passing.store_settings import StoreDirectives
from portico.passing.tls import TLSDirectives

# What nginx 1.28 documents, module by module.
ALL = (
    "bind buffer_size connect_timeout next_upstream next_upstream_timeout next_upstream_tries pass read_timeout send_timeout "
    "socket_keepalive"
)
FIELDS = "hide_header ignore_headers intercept_errors pass_header"
BUFFERED = (
    "buffering buffers busy_buffers_size cache cache_background_update cache_bypass cache_key cache_lock cache_lock_age "
    "cache_lock_timeout cache_max_range_offset cache_methods cache_min_uses cache_path cache_purge cache_revalidate "
    "cache_use_stale cache_valid force_ranges ignore_client_abort limit_rate max_temp_file_size no_cache pass_request_body "
    "pass_request_headers request_buffering store store_access temp_file_write_size temp_path"
)
SSL = (
    "ssl_certificate ssl_certificate_cache ssl_certificate_key ssl_ciphers ssl_conf_command ssl_crl ssl_key_log ssl_name "
    "ssl_password_file ssl_protocols ssl_server_name ssl_session_reuse ssl_trusted_certificate ssl_verify ssl_verify_depth"
)
NGINX = {
    "proxy": f"{ALL} {FIELDS} {BUFFERED} {SSL} set_header cache_convert_head cookie_domain cookie_flags cookie_path "
    "headers_hash_bucket_size headers_hash_max_size http_version method pass_trailers redirect send_lowat set_body",
    "fastcgi": f"{ALL} {FIELDS} {BUFFERED} param catch_stderr index keep_conn send_lowat split_path_info",
    "uwsgi": f"{ALL} {FIELDS} {BUFFERED} {SSL} param modifier1 modifier2",
    "scgi": f"{ALL} {FIELDS} {BUFFERED} param",
    "grpc": f"{ALL} {FIELDS} {SSL} set_header",
    "memcached": f"{ALL} force_ranges gzip_flag",
}
OWN = {  # what one protocol has for itself: no family
    "proxy": "pass cookie_domain cookie_flags cookie_path headers_hash_bucket_size headers_hash_max_size http_version method "
    "redirect set_body",
    "fastcgi": "pass catch_stderr index keep_conn split_path_info",
    "uwsgi": "pass modifier1 modifier2",
    "scgi": "pass",
    "grpc": "pass",
    "memcached": "pass gzip_flag",
}
LACKING = {"pass_trailers", "send_lowat", "ssl_certificate_cache", "ssl_conf_command", "ssl_key_log"}
BEYOND = {"cache_rfc", "cache_memory"}


def families(name: str) -> list[Family]:
    """As the feature of that protocol would declare them."""
    prefix = Prefix(name, f"the {name} server")
    conditions = {"memcached": MEMCACHED_CONDITIONS, "proxy": CONDITIONS, "grpc": CONDITIONS}.get(name, CGI_CONDITIONS)
    exchange = ExchangeDirectives(prefix)
    found: list[Family] = [exchange, RetryDirectives(prefix, conditions)]
    if name != "grpc":
        found.append(RangeDirectives(prefix))
    if name != "memcached":
        found += [InterceptDirectives(prefix), ResponseFieldDirectives(prefix, ())]
    if name in ("proxy", "fastcgi", "uwsgi", "scgi"):
        found += [BufferingDirectives(exchange), RequestDirectives(prefix), StoreDirectives(prefix)]
        found.append(CacheDirectives(prefix, "", conditions, converts_head=name == "proxy"))
    if name in ("proxy", "uwsgi", "grpc"):
        found.append(TLSDirectives(prefix, "$host"))
    if name in ("proxy", "grpc"):
        found.append(SetHeaderDirectives(prefix, "none"))
    if name in ("fastcgi", "uwsgi", "scgi"):
        found.append(ParamDirectives(prefix))
    return found


@pytest.mark.parametrize("name", NGINX)
def test_families_are_those_of_the_module(name: str) -> None:
    declared = [directive.name.removeprefix(f"{name}_") for family in families(name) for directive in family.all()]
    assert len(declared) == len(set(declared))
    assert set(declared) - BEYOND == set(NGINX[name].split()) - set(OWN[name].split()) - LACKING


def test_proxy_feature_has_them_all() -> None:
    declared = {directive.name.removeprefix("proxy_") for directive in FEATURE.directives}
    assert declared - BEYOND - {"early_hints", "forwarded"} == set(NGINX["proxy"].split()) - LACKING


def test_memcached_speaks_of_responses() -> None:
    """memcached has no header section and no methods, so its conditions have names of their own."""
    retries = RetryDirectives(Prefix("memcached", "the memcached server"), MEMCACHED_CONDITIONS)
    assert retries.next_upstream.syntax == "error | timeout | invalid_response | not_found | off ..."
    assert retries.next_upstream.example == "memcached_next_upstream error timeout invalid_response;"
    assert "non_idempotent" not in retries.next_upstream.doc


def test_a_protocol_without_a_family_does_without_what_it_sets(tmp_path: Path) -> None:
    """gRPC and memcached pass a response on as it comes and use no files."""
    scope = Scope(HTTP, Load(str(tmp_path), "x.conf"))
    exchange = ExchangeDirectives(Prefix("grpc", "the gRPC server"))
    settings = upstream_settings((exchange, RetryDirectives(exchange.prefix)), scope)
    assert (settings.prefix, settings.connect_timeout, settings.next_upstream) == ("grpc", 60.0, ERROR | TIMEOUT)
    assert not settings.buffering and not settings.request_buffering
    assert settings.max_temp_file_size == 0 and settings.temp_path == ""
    assert settings.pass_request_headers and settings.pass_request_body
