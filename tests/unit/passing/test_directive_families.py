"""The families of directives that several `*_pass` share hold nothing that is only `proxy_*`: the same for every prefix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.example_site import fill
from tests.unit.passing.every_family import CGI_CONDITIONS, EveryFamily, Loaded, refusal

from portico import catalogue, reference
from portico.balancing.tls import PeerTLSSettings
from portico.config import build as config_build
from portico.config.diagnostics import ConfigError
from portico.config.directive import SERVER
from portico.config.load import Load
from portico.config.reader import read_text
from portico.net.tls_context import DEFAULT_PROTOCOLS, PROTOCOLS
from portico.passing.cached.attach import open_caches, store_of_zone
from portico.passing.cached.settings import UPDATING
from portico.passing.failure import ERROR, HTTP_404, HTTP_500, TIMEOUT
from portico.passing.store_settings import store_or_cache
from portico.variables.template import Template

PROXY = EveryFamily("proxy", "the proxied server")
FASTCGI = EveryFamily("fastcgi", "the FastCGI server", CGI_CONDITIONS)


@pytest.fixture(params=[PROXY, FASTCGI], ids=["proxy", "fastcgi"])
def every(request: pytest.FixtureRequest) -> EveryFamily:
    """All families with one prefix."""
    found = request.param
    assert isinstance(found, EveryFamily)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with the files that values name."""
    path = fill(tmp_path_factory.mktemp("site"))
    for word in ("one", "two", "three"):
        (path / f"{word}.pass").write_text(f"{word}\n")
    return path


def text(value: object) -> object:
    """What a template says; other values as they are."""
    if isinstance(value, Template):
        return value.text
    return [text(item) for item in value] if isinstance(value, list) else value


def tls(loaded: Loaded) -> PeerTLSSettings:
    found = loaded.tls()
    assert isinstance(found, PeerTLSSettings)
    return found


def file_name(path: str) -> str:
    return path.rpartition("/")[2]


def headers(loaded: Loaded) -> list[tuple[bytes, str]]:
    return [(header.name, header.value.text) for header in loaded.every.set_header.headers(loaded.location)]


def params(loaded: Loaded) -> list[tuple[bytes, str, bool]]:
    return [(param.name, param.value.text, param.if_not_empty) for param in loaded.every.param.params(loaded.location)]


def temp_path(loaded: Loaded) -> str:
    return file_name(loaded.upstream().temp_path).removeprefix(f"{loaded.every.name}_")


OFF_ON = [("on", True), ("off", False), ("on", True)]
ON_OFF = [("off", False), ("on", True), ("off", False)]
HIDDEN = [b"status", b"x-accel-expires", b"x-accel-redirect", b"x-accel-limit-rate", b"x-accel-buffering", b"x-accel-charset"]


def bound(x: Loaded) -> object:
    """The address of `*_bind`, without variables."""
    binding = x.upstream().bind
    assert binding is None or binding.address is not None
    return None if binding is None or binding.address is None else (binding.address.host, binding.address.port)


# Each directive: its default, then how http, server and location give it with what comes of that, and where one sees it.
Row = tuple[str, object, list[tuple[str, object]], Callable[[Loaded], object]]
EXCHANGE: list[Row] = [
    ("connect_timeout", 60.0, [("1s", 1.0), ("2m", 120.0), ("300ms", 0.3)], lambda x: x.upstream().connect_timeout),
    ("send_timeout", 60.0, [("1s", 1.0), ("2m", 120.0), ("300ms", 0.3)], lambda x: x.upstream().send_timeout),
    ("read_timeout", 60.0, [("1s", 1.0), ("2m", 120.0), ("300ms", 0.3)], lambda x: x.upstream().read_timeout),
    ("buffer_size", 4096, [("1k", 1024), ("2k", 2048), ("16k", 16384)], lambda x: x.upstream().buffer_size),
    ("bind", None, [("127.0.0.1:80", ("127.0.0.1", 80)), ("off", None), ("::1", ("::1", 0))], bound),
    ("socket_keepalive", False, OFF_ON, lambda x: x.upstream().socket_keepalive),
    ("next_upstream", ERROR | TIMEOUT, [("error http_500", ERROR | HTTP_500), ("off", 0), ("http_404", HTTP_404)],
     lambda x: x.upstream().next_upstream),
    ("next_upstream_tries", 0, [("1", 1), ("2", 2), ("3", 3)], lambda x: x.upstream().tries),
    ("next_upstream_timeout", 0.0, [("1s", 1.0), ("2s", 2.0), ("3s", 3.0)], lambda x: x.upstream().tries_timeout),
    ("buffering", True, ON_OFF, lambda x: x.upstream().buffering),
    ("buffers", 8 * 4096, [("2 4k", 2 * 4096), ("3 8k", 3 * 8192), ("16 1k", 16 * 1024)], lambda x: x.upstream().memory),
    ("busy_buffers_size", 8192, [("5k", 5120), ("6k", 6144), ("7k", 7168)], lambda x: x.value("busy_buffers_size")),
    ("max_temp_file_size", 1 << 30, [("0", 0), ("1g", 1 << 30), ("8k", 8192)], lambda x: x.upstream().max_temp_file_size),
    ("limit_rate", None, [("1k", "1k"), ("$arg_rate", "$arg_rate"), ("0", "0")], lambda x: text(x.upstream().limit_rate)),
    ("temp_file_write_size", 8192, [("5k", 5120), ("6k", 6144), ("7k", 7168)], lambda x: x.value("temp_file_write_size")),
    ("temp_path", "temp", [("a 1 2", "a"), ("b", "b"), ("c 3", "c")], temp_path),
    ("request_buffering", True, ON_OFF, lambda x: x.upstream().request_buffering),
    ("pass_request_headers", True, ON_OFF, lambda x: x.upstream().pass_request_headers),
    ("pass_request_body", True, ON_OFF, lambda x: x.upstream().pass_request_body),
    ("ignore_client_abort", False, OFF_ON, lambda x: x.upstream().ignore_client_abort),
    ("intercept_errors", False, OFF_ON, lambda x: x.upstream().intercept_errors),
    ("force_ranges", False, OFF_ON, lambda x: x.upstream().force_ranges),
]  # fmt: skip
FIELDS: list[Row] = [
    ("set_header", [], [("A $uri", [(b"A", "$uri")]), ("B b", [(b"B", "b")]), ("C ''", [(b"C", "")])], headers),
    ("param", [], [("A $uri", [(b"A", "$uri", False)]), ("B b if_not_empty", [(b"B", "b", True)]), ("C ''", [(b"C", "", False)])],
     params),
    ("hide_header", HIDDEN, [("A", [*HIDDEN, b"a"]), ("B", [*HIDDEN, b"b"]), ("C", [*HIDDEN, b"c"])], lambda x: x.fields().hidden),
    ("pass_header", [], [("Status", [b"status"]), ("B", [b"b"]), ("C", [b"c"])], lambda x: x.fields().passed),
    ("ignore_headers", 0, [("Vary", 256), ("x-accel-redirect expires", 33), ("Set-Cookie", 128)], lambda x: x.fields().ignored),
]  # fmt: skip
CACHE: list[Row] = [
    ("cache", None, [("a", "a"), ("off", None), ("$host", "$host")], lambda x: text(x.cache().zone)),
    ("cache_key", None, [("a", "a"), ("$uri", "$uri"), ("c", "c")], lambda x: text(x.cache().key)),
    ("cache_valid", {}, [("1m", {200: 60, 301: 60, 302: 60}), ("any 5s", {0: 5}), ("404 1h", {404: 3600})],
     lambda x: x.cache().valid),
    ("cache_methods", 3, [("POST", 7), ("GET", 3), ("HEAD POST", 7)], lambda x: x.cache().methods),
    ("cache_min_uses", 1, [("2", 2), ("3", 3), ("4", 4)], lambda x: x.cache().min_uses),
    ("cache_bypass", [], [("$a b", ["$a", "b"]), ("c", ["c"]), ("$d", ["$d"])], lambda x: text(x.cache().bypass)),
    ("no_cache", [], [("$a b", ["$a", "b"]), ("c", ["c"]), ("$d", ["$d"])], lambda x: text(x.cache().no_cache)),
    ("cache_use_stale", 0, [("error updating", ERROR | UPDATING), ("off", 0), ("http_500", HTTP_500)],
     lambda x: x.cache().use_stale),
    ("cache_background_update", False, OFF_ON, lambda x: x.cache().background_update),
    ("cache_revalidate", False, OFF_ON, lambda x: x.cache().revalidate),
    ("cache_lock", False, OFF_ON, lambda x: x.cache().lock),
    ("cache_lock_timeout", 5.0, [("1s", 1.0), ("2s", 2.0), ("3s", 3.0)], lambda x: x.cache().lock_timeout),
    ("cache_lock_age", 5.0, [("1s", 1.0), ("2s", 2.0), ("3s", 3.0)], lambda x: x.cache().lock_age),
    ("cache_max_range_offset", -1, [("0", 0), ("1m", 1 << 20), ("2", 2)], lambda x: x.cache().max_range_offset),
    ("cache_purge", [], [("$a b", ["$a", "b"]), ("c", ["c"]), ("$d", ["$d"])], lambda x: text(x.cache().purge)),
    ("cache_rfc", False, OFF_ON, lambda x: x.cache().rfc),
    ("cache_memory", 0, [("1k", 1024), ("2k", 2048), ("3k", 3072)], lambda x: x.cache().memory),
    ("cache_convert_head", True, ON_OFF, lambda x: x.cache().convert_head),
    ("store", None, [("/a$uri", "/a$uri"), ("off", None), ("c", "c")], lambda x: text(x.store().path)),
    ("store_access", 0o600, [("group:rw", 0o660), ("all:r", 0o604), ("user:r", 0o400)], lambda x: x.store().access),
]  # fmt: skip
TLS: list[Row] = [
    ("ssl_server_name", False, OFF_ON, lambda x: tls(x).server_name),
    ("ssl_name", None, [("a", "a"), ("$host", "$host"), ("c", "c")], lambda x: text(x.value("ssl_name"))),
    ("ssl_verify", False, OFF_ON, lambda x: tls(x).verify),
    ("ssl_verify_depth", 1, [("2", 2), ("3", 3), ("4", 4)], lambda x: tls(x).verify_depth),
    ("ssl_trusted_certificate", "", [(f, f) for f in ("ca.pem", "more-cas.pem", "clients-ca.pem")],
     lambda x: file_name(tls(x).trusted_certificate)),
    ("ssl_crl", "", [(f, f) for f in ("crl.pem", "revoked.pem", "crl.pem")], lambda x: file_name(tls(x).crl)),
    ("ssl_certificate", "", [(f, f) for f in ("client.pem", "site.pem", "ca.pem")], lambda x: file_name(tls(x).certificate)),
    ("ssl_certificate_key", "", [(f, f) for f in ("client.key", "site.key", "client.key")],
     lambda x: file_name(tls(x).certificate_key)),
    ("ssl_password_file", [], [(f"{f}.pass", [f]) for f in ("one", "two", "three")], lambda x: tls(x).passphrases),
    ("ssl_protocols", DEFAULT_PROTOCOLS, [(f, PROTOCOLS[f]) for f in ("TLSv1.1", "TLSv1.2", "TLSv1.3")], lambda x: tls(x).protocols),
    ("ssl_ciphers", "DEFAULT", [(f, f) for f in ("HIGH", "LOW", "ALL")], lambda x: tls(x).ciphers),
    ("ssl_session_reuse", True, ON_OFF, lambda x: tls(x).session_reuse),
]  # fmt: skip
ROWS = [*EXCHANGE, *FIELDS, *CACHE, *TLS]
BESIDE = {"ssl_verify": "@_ssl_trusted_certificate ca.pem;"}


def test_every_directive_has_a_row(every: EveryFamily) -> None:
    assert {row[0] for row in ROWS} | {"cache_path"} == set(every.directives())


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_nearest_level_says_what_holds(every: EveryFamily, row: Row, site: Path) -> None:
    suffix, default, given, seen = row
    beside = BESIDE.get(suffix, "")
    lines = [f"@_{suffix} {value};" for value, _ in given]
    for depth in range(4):
        http, server, location = [*lines[:depth], "", "", ""][:3]
        loaded = Loaded(every, site, beside + http, server, location)
        loaded.raise_first()
        assert seen(loaded) == (default if depth == 0 else given[depth - 1][1])


def test_settings_know_their_prefix(every: EveryFamily, tmp_path: Path) -> None:
    """For messages of the error log that name a directive."""
    loaded = Loaded(every, tmp_path)
    assert loaded.upstream().prefix == every.name
    assert loaded.store().directive == f"{every.name}_store"


@pytest.mark.parametrize("suffix", ["set_header", "param"])
def test_a_level_with_fields_of_its_own_inherits_none(every: EveryFamily, suffix: str, tmp_path: Path) -> None:
    read = headers if suffix == "set_header" else params
    outer = f"@_{suffix} A 1; @_{suffix} B 2;"
    assert [entry[0] for entry in read(Loaded(every, tmp_path, outer))] == [b"A", b"B"]
    assert [entry[0] for entry in read(Loaded(every, tmp_path, outer, location=f"@_{suffix} C 3;"))] == [b"C"]


# -- mistakes are told with the right prefix


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("@_connect_timeout x;", '"@_connect_timeout" directive invalid value'),
        ("@_connect_timeout 1s; @_connect_timeout 2s;", '"@_connect_timeout" directive is duplicate'),
        ("@_buffers 4;", 'invalid number of arguments in "@_buffers" directive'),
        ("@_buffering maybe;", 'invalid value "maybe" in "@_buffering" directive, it must be "on" or "off"'),
        ("@_buffer_size 16k; @_busy_buffers_size 8k;",
         '"@_busy_buffers_size" must be equal to or greater than the maximum of the value of "@_buffer_size" and one of the '
         '"@_buffers"'),
        ("@_busy_buffers_size 32k;", '"@_busy_buffers_size" must be less than the size of all "@_buffers" minus one buffer'),
        ("@_next_upstream sometimes;", 'invalid value "sometimes"'),
        ("@_set_header A: b;", 'invalid name of a header field "A:"'),
        ("@_param A b c;", 'invalid parameter "c"'),
        ("@_store '';", "an empty path"),
        ("@_store_access nobody:rw;", 'invalid value "nobody:rw"'),
        ("@_cache_valid 99 1s;", 'invalid status "99"'),
        ("@_cache_path /tmp/a keys_zone=a:1m;", '"@_cache_path" directive is not allowed here'),
    ],
)  # fmt: skip
def test_mistakes(every: EveryFamily, statement: str, message: str, tmp_path: Path) -> None:
    assert refusal(every, tmp_path, location=statement).message == message.replace("@_", f"{every.name}_")


def test_hint_for_a_colon(every: EveryFamily, tmp_path: Path) -> None:
    error = refusal(every, tmp_path, location="@_set_header Host: $host;")
    assert error.hint == f'the colon is left out: "{every.name}_set_header Host $host;"'


def test_conditions_are_those_of_the_protocol(tmp_path: Path) -> None:
    """FastCGI, uwsgi and SCGI know no 502 and 504: a gateway says that, and those upstreams are none."""
    for word in ("http_502", "http_504"):
        for directive in ("@_next_upstream", "@_cache_use_stale"):
            Loaded(PROXY, tmp_path, f"{directive} {word};").raise_first()
            assert refusal(FASTCGI, tmp_path, f"{directive} {word};").message == f'invalid value "{word}"'


def test_verification_needs_authorities(every: EveryFamily, tmp_path: Path) -> None:
    loaded = Loaded(every, tmp_path, "@_ssl_verify on;")
    with pytest.raises(ConfigError) as caught:
        loaded.tls()
    assert caught.value.message == f"no {every.name}_ssl_trusted_certificate for {every.name}_ssl_verify"
    assert caught.value.where is not None and caught.value.where.column == len("http { ") + 1


# -- caches


def test_cache_path(every: EveryFamily, tmp_path: Path) -> None:
    http = f"@_cache_path {tmp_path}/a keys_zone=a:1m; @_cache_path {tmp_path}/b keys_zone=b:1m;"
    assert Loaded(every, tmp_path, http).open_caches() == [b"a", b"b"]
    error = refusal(every, tmp_path, "@_cache_path /tmp/a levels=1;")
    assert error.message == f'"{every.name}_cache_path" must have "keys_zone" parameter'


def test_unknown_zone(every: EveryFamily, tmp_path: Path) -> None:
    loaded = Loaded(every, tmp_path, f"@_cache_path {tmp_path}/a keys_zone=a:1m;", location="@_cache b;")
    loaded.open_caches()
    with pytest.raises(ConfigError) as caught:
        store_of_zone(loaded.build, every.cache, loaded.location)
    assert caught.value.message == f'"{every.name}_cache" zone "b" is unknown'
    assert caught.value.hint == f"no {every.name}_cache_path has it as its keys_zone"


def test_a_cache_serves_its_own_prefix_only(tmp_path: Path) -> None:
    """As in nginx: a zone belongs to one module."""
    loaded = Loaded(PROXY, tmp_path, f"@_cache_path {tmp_path}/a keys_zone=a:1m;", location="@_cache a;")
    loaded.open_caches()
    assert store_of_zone(loaded.build, PROXY.cache, loaded.location) is not None
    other = Loaded(FASTCGI, tmp_path, location="@_cache a;")
    with pytest.raises(ConfigError) as caught:
        store_of_zone(loaded.build, FASTCGI.cache, other.location)
    assert caught.value.message == '"fastcgi_cache" zone "a" is unknown'


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("keys_zone=b:1m", 'the same path name "@/a" used in x.conf:1 and'),
        ("keys_zone=a:1m", 'the shared memory zone "a" is already declared for a different use'),
    ],
)
def test_two_prefixes_share_neither_directory_nor_zone(second: str, message: str, tmp_path: Path) -> None:
    loaded = Loaded(PROXY, tmp_path, f"@_cache_path {tmp_path}/a keys_zone=a:1m;")
    loaded.open_caches()
    place = "a" if "b:" in second else "b"
    other = Loaded(FASTCGI, tmp_path, f"@_cache_path {tmp_path}/{place} {second};")
    loaded.build.scope = other.http
    open_caches(loaded.build, FASTCGI.cache, "/temp")
    assert [error.message for error in other.diagnostics.errors] == [message.replace("@", str(tmp_path))]


def test_missing_key_is_a_doubt_where_there_is_no_default(tmp_path: Path) -> None:
    def doubts(every: EveryFamily, location: str) -> list[str]:
        loaded = Loaded(every, tmp_path, location=location)
        loaded.cache()
        return [warning.message for warning in loaded.diagnostics.warnings]

    assert doubts(FASTCGI, "@_cache a;") == ['no "fastcgi_cache_key" for "fastcgi_cache"']
    assert doubts(FASTCGI, "@_cache a; @_cache_key $uri;") == []
    assert doubts(FASTCGI, "@_cache_key $uri;") == []
    assert doubts(EveryFamily("proxy", "the proxied server", cache_key="$proxy_host$request_uri"), "@_cache a;") == []


@pytest.mark.parametrize(
    ("server", "location", "stores"),
    [
        ("", "@_store on;", True),
        ("", "@_cache a;", False),
        ("@_store on;", "@_cache a;", False),
        ("@_cache a;", "@_store on;", True),
        ("@_store on;", "@_store off;", False),
    ],
)
def test_the_nearer_one_of_store_and_cache(every: EveryFamily, server: str, location: str, stores: bool, tmp_path: Path) -> None:
    loaded = Loaded(every, tmp_path, server=server, location=location)
    assert store_or_cache(loaded.location, every.store.store, every.cache.zone) == stores


def test_not_both_store_and_cache(every: EveryFamily, tmp_path: Path) -> None:
    loaded = Loaded(every, tmp_path, location="@_store on; @_cache a;")
    with pytest.raises(ConfigError) as caught:
        store_or_cache(loaded.location, every.store.store, every.cache.zone)
    assert caught.value.message == f'"{every.name}_cache" directive is incompatible with "{every.name}_store"'


# -- texts


def test_texts_speak_of_their_own_protocol() -> None:
    for directive in FASTCGI.directives().values():
        said = [directive.doc, directive.example, directive.default_text, *reference.syntax(directive)]
        assert not any("prox" in part or "upstream server" in part for part in said), directive.name
    assert "the FastCGI server" in FASTCGI.directives()["read_timeout"].doc
    assert "the proxied server" in PROXY.directives()["read_timeout"].doc


def test_texts_are_complete(every: EveryFamily) -> None:
    for suffix, directive in every.directives().items():
        assert directive.name == f"{every.name}_{suffix}"
        assert directive.doc.endswith("."), directive.name
        assert directive.name in directive.example
        assert "VALUE" not in directive.syntax or suffix in ("set_header", "param")


def test_examples_load(every: EveryFamily, site: Path) -> None:
    own = every.directives()
    names = {directive.name for directive in own.values()}
    known = [*own.values(), *(directive for directive in catalogue.directives() if directive.name not in names)]
    for directive in own.values():
        frame = "http { %s }" if not directive.contexts & SERVER or "server {" in directive.example else "http { server { %s } }"
        load = Load(f"{site}/", "x.conf")
        config_build.build(read_text(frame % directive.example, "x.conf", load), known, load)
        assert load.diagnostics.errors == [], directive.example
