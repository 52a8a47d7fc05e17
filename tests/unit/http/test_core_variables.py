"""Variables have the values that nginx 1.22 was seen to log for the same bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.http.loaded import PLAIN, Loaded

from portico.http.finished import FinishedHead
from portico.http.request import Request, SectionMemo
from portico.http.response import MANY_RANGES, BytesBody, Response
from portico.http.server.http1.prefixes import Prefixes
from portico.http.server.http1.stream import Http1Stream
from portico.http.subrequest import subrequest_of
from portico.http.variables.core import CORE_FAMILIES, CORE_VARIABLES
from portico.http.variables.request import basic_user, cookie_in
from portico.passing.variables import UPSTREAM_FAMILIES, UPSTREAM_VARIABLES
from portico.variables.client import Client
from portico.variables.clock import LocalTime, seconds_text
from portico.variables.variable import PER_REQUEST, STABLE_FIELDS

Load = Callable[[str], Loaded]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    made: list[Loaded] = []

    def make(text: str) -> Loaded:
        made.append(Loaded(text, tmp_path))
        return made[-1]

    yield make
    for loaded in made:
        loaded.close()


@pytest.fixture
def site(load: Load) -> Loaded:
    return load(
        "server { listen 127.0.0.1:8080; server_name one two; keepalive_timeout 65s 60s; limit_rate 100k;"
        " root html/; location /al/ { alias /pics/; location /al/in/ { } }"
        " location ~ ^/re/(.*)$ { alias /x/$1; } }"
    )


def value(loaded: Loaded, name: str, request: Request) -> bytes | None:
    variable = loaded.plan.build.variables.find(name)
    assert variable is not None, name
    return variable.get(request)


# -- request line


def test_request_line(site: Loaded) -> None:
    request = site.request(b"GET /a%20b/../c?x=1&Y=%41&x=2 HTTP/1.1\r\nHost: Example.COM:8080\r\n\r\n")
    expected = {
        "request": b"GET /a%20b/../c?x=1&Y=%41&x=2 HTTP/1.1",
        "request_method": b"GET",
        "request_uri": b"/a%20b/../c?x=1&Y=%41&x=2",
        "uri": b"/c",
        "document_uri": b"/c",
        "args": b"x=1&Y=%41&x=2",
        "query_string": b"x=1&Y=%41&x=2",
        "is_args": b"?",
        "arg_x": b"1",
        "arg_y": b"%41",
        "arg_z": None,
        "server_protocol": b"HTTP/1.1",
        "host": b"example.com",
        "http_host": b"Example.COM:8080",
        "request_port": b"8080",
        "is_request_port": b":",
    }
    assert {name: value(site, name, request) for name in expected} == expected


def test_nothing_there(site: Loaded) -> None:
    request = site.request()
    for name in ("args", "query_string", "arg_a", "cookie_a", "http_x", "remote_user", "content_length",
                 "content_type", "request_body", "request_body_file", "sent_http_x", "sent_http_etag",
                 "sent_trailer_x", "upstream_addr", "upstream_status", "upstream_http_x", "upstream_cookie_a",
                 "upstream_trailer_x", "http_referer", "http_user_agent"):  # fmt: skip
        assert value(site, name, request) is None, name
    for name in ("is_args", "https", "request_port", "is_request_port"):
        assert value(site, name, request) == b"", name


def test_absolute_form_overrides_host(site: Loaded) -> None:
    request = site.request(b"GET http://o:77/nope HTTP/1.1\r\nHost: h:5\r\n\r\n")
    assert value(site, "host", request) == b"o"
    assert value(site, "http_host", request) == b"h:5"
    assert value(site, "request_port", request) == b"77"
    request = site.request(b"GET http://o/nope HTTP/1.1\r\nHost: h:5\r\n\r\n")
    assert value(site, "request_port", request) == b""


def test_a_line_without_sense_has_no_parts(site: Loaded) -> None:
    request = site.request()
    request.line, request.method, request.asked_host = b"BAD", b"", b""
    assert value(site, "request", request) == b"BAD"
    for name in ("request_method", "uri", "request_uri", "server_protocol"):
        assert value(site, name, request) is None
    assert value(site, "host", request) == b"one"


# -- header fields


def test_repeated_fields_are_joined(site: Loaded) -> None:
    request = site.request(
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1\r\nX-Forwarded-For: 2\r\n"
        b"Cookie: a=1\r\nCookie: b=2\r\n"
        b"X-Foo: 1\r\nX_Foo: 2\r\nUser-Agent: u\r\nUser-Agent: v\r\nContent-Type: text/plain\r\n\r\n"
    )
    assert value(site, "http_x_forwarded_for", request) == b"1, 2"
    assert value(site, "proxy_add_x_forwarded_for", request) == b"1, 2, 127.0.0.1"
    assert value(site, "http_cookie", request) == b"a=1; b=2"
    assert value(site, "http_x_foo", request) == b"1, 2"
    assert value(site, "HTTP_X_FOO", request) == b"1, 2"
    assert value(site, "http_user_agent", request) == b"u, v"
    assert value(site, "http_content_type", request) == value(site, "content_type", request) == b"text/plain"


def test_a_lookalike_is_no_forwarded_for(site: Loaded) -> None:
    request = site.request(b"GET / HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: evil\r\n\r\n")
    assert value(site, "http_x_forwarded_for", request) is None
    assert value(site, "proxy_add_x_forwarded_for", request) == b"127.0.0.1"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"b=1; A=7", b"7"),
        (b"x, a=3", None),
        (b"x=1, a=3; a=4", b"4"),
        (b"xa=1;  a = 3 ; q", b"3 "),
        (b"a; a=2", b"2"),
        (b"a=", b""),
        (b"ab=1", None),
        (b"a", None),
        (b"b=a=1", None),
        (b"", None),
    ],
)
def test_cookie(line: bytes, expected: bytes | None) -> None:
    assert cookie_in(line, b"a") == expected


def test_cookie_of_a_second_field(site: Loaded) -> None:
    request = site.request(b"GET / HTTP/1.1\r\nHost: h\r\nCookie: b=1\r\nCookie: a_b=2\r\n\r\n")
    assert value(site, "cookie_a_b", request) == b"2"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"Basic dXNlcjpwdw==", b"user"),
        (b"basic   dXNlcjpwdw", b"user"),
        (b"Basic dXNlcg==", None),  # no colon
        (b"Basic OnB3", None),  # no name
        (b"Basic dXNlcjpwdw=", b"user"),
        (b"Basic dXNlcjpwdw*", None),
        (b"Basic dXNlc", None),
        (b"Basic ", None),
        (b"Bearer dXNlcjpwdw==", None),
    ],
)
def test_remote_user(field: bytes, expected: bytes | None) -> None:
    assert basic_user(field) == expected


# -- connection, server, process, clock


def test_connection(site: Loaded) -> None:
    request = site.request()
    client = site.client
    expected = {
        "remote_addr": b"127.0.0.1",
        "remote_port": b"%d" % site.peer.getsockname()[1],
        "binary_remote_addr": b"\x7f\0\0\1",
        "server_addr": b"127.0.0.1",
        "server_port": b"%d" % site.port,
        "server_name": b"one",
        "scheme": b"http",
        "https": b"",
        "connection": b"7",
        "connection_requests": b"1",
        "hostname": os.uname().nodename.lower().encode(),
        "pid": b"%d" % os.getpid(),
        "nginx_version": b"1.29.7",
    }
    assert {name: value(site, name, request) for name in expected} == expected
    client.secure = True
    assert (value(site, "scheme", request), value(site, "https", request)) == (b"https", b"on")
    request.remote_addr = b"::1"
    assert value(site, "binary_remote_addr", request) == b"\0" * 15 + b"\1"
    request.remote_addr = b"unix:"
    assert value(site, "binary_remote_addr", request) == b"unix:"


def test_address_of_a_link_local_client_has_no_scope(site: Loaded) -> None:
    client = site.client
    site.client = Client(site.transport, client.listening, client.error_log, ("fe80::1%eth0", 80), 8)
    request = site.request()
    assert value(site, "remote_addr", request) == b"fe80::1"
    assert request.packed_address() == b"\xfe\x80" + b"\0" * 13 + b"\1"


def test_address_belongs_to_the_request(site: Loaded) -> None:
    request, another = site.request(), site.request()
    request.memo = SectionMemo()
    asked = subrequest_of(request, b"/asked", b"")
    request.replace_address(b"192.0.2.1", b"81")
    later = subrequest_of(request, b"/later", b"")
    told = {name: value(site, name, later) for name in ("remote_addr", "remote_port", "binary_remote_addr")}
    assert told == {"remote_addr": b"192.0.2.1", "remote_port": b"81", "binary_remote_addr": b"\xc0\0\2\1"}
    assert "client: 192.0.2.1," in later.context()
    assert request.memo is None
    assert [value(site, "remote_addr", other) for other in (another, asked)] == [b"127.0.0.1"] * 2
    asked.replace_address(b"192.0.2.2", b"")
    assert value(site, "remote_addr", request) == b"192.0.2.2"


def test_tcp_info(site: Loaded) -> None:
    request = site.request()
    for name in ("rtt", "rttvar", "snd_cwnd", "rcv_space"):
        found = value(site, f"tcpinfo_{name}", request)
        assert found is not None and found.isdigit(), name
    assert int(value(site, "tcpinfo_snd_cwnd", request) or 0) > 0
    site.sock.close()
    assert value(site, "tcpinfo_rtt", request) is None


def test_server_address_of_a_closed_connection(site: Loaded) -> None:
    request = site.request()
    site.sock.close()
    assert value(site, "server_addr", request) == b"127.0.0.1"
    assert value(site, "server_port", request) == b"8080"


def test_times(site: Loaded) -> None:
    request = site.request()
    site.reactor.now = request.started + 1.2349
    assert value(site, "request_time", request) == b"1.234"
    assert re.fullmatch(rb"\d+\.\d{3}", value(site, "connection_time", request) or b"")
    assert re.fullmatch(rb"\d{10}\.\d{3}", value(site, "msec", request) or b"")
    assert re.fullmatch(
        rb"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", value(site, "time_local", request) or b""
    )
    site.reactor.now = request.started - 1.0
    assert value(site, "request_time", request) == b"0.000"


def test_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    for zone, common, iso in (
        ("UTC", b"23/Nov/2026:08:07:42 +0000", b"2026-11-23T08:07:42+00:00"),
        ("XXX-05:30", b"23/Nov/2026:13:37:42 +0530", b"2026-11-23T13:37:42+05:30"),
        ("YYY+03:30", b"23/Nov/2026:04:37:42 -0330", b"2026-11-23T04:37:42-03:30"),
    ):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        clock = LocalTime()
        assert (clock.common(1795421262.9), clock.iso8601(1795421262.1)) == (common, iso)
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, b"0.000"), (0.0015, b"0.001"), (61.5, b"61.500"), (-1.0, b"0.000")]
)
def test_seconds_text(seconds: float, text: bytes) -> None:
    assert seconds_text(seconds) == text


# -- files


def test_root(site: Loaded, tmp_path: Path) -> None:
    request = site.request(b"GET /a/b.gif HTTP/1.1\r\nHost: h\r\n\r\n")
    root = str(tmp_path / "html").encode()
    assert value(site, "document_root", request) == root
    assert value(site, "request_filename", request) == root + b"/a/b.gif"
    assert value(site, "realpath_root", request) is None
    (tmp_path / "real").mkdir()
    (tmp_path / "html").symlink_to("real")
    assert value(site, "realpath_root", request) == str((tmp_path / "real").resolve()).encode()


def test_alias(site: Loaded) -> None:
    request = site.request(b"GET /al/in/b.gif HTTP/1.1\r\nHost: h\r\n\r\n", "/al/b")
    assert value(site, "document_root", request) == b"/pics/"
    assert value(site, "request_filename", request) == b"/pics/in/b.gif"
    request.location = site.location("/al/in/")
    assert value(site, "request_filename", request) == b"/pics/in/b.gif"
    request.target = request.target.with_uri(b"/elsewhere")
    assert value(site, "request_filename", request) is None


def test_alias_of_a_regex(site: Loaded) -> None:
    request = site.request(b"GET /re/b HTTP/1.1\r\nHost: h\r\n\r\n", "/re/b")
    request.captures = [b"/re/b", b"b"]
    assert value(site, "request_filename", request) == b"/x/b"


# -- the answer


def answer(request: Request, status: int = 200, body: bytes = b"hello") -> Response:
    response = Response(status, BytesBody(body))
    request.response = response
    request.status = status
    request.head_bytes = 100
    request.body_bytes = len(body)
    return response


def test_sent_fields(site: Loaded) -> None:
    request = site.request()
    response = answer(request)
    response.content_type = b"text/plain"
    response.etag = b'"x"'
    response.location = b"/y"
    response.last_modified_text = b"Mon"
    response.ranges = MANY_RANGES
    response.fields = [(b"Cache-Control", b"a"), (b"X-A", b"1"), (b"cache-control", b"b")]
    response.trailers = [(b"X-Sum", b"5")]
    expected = {
        "content_type": b"text/plain",
        "content_length": b"5",
        "etag": b'"x"',
        "location": b"/y",
        "last_modified": b"Mon",
        "accept_ranges": b"bytes",
        "cache_control": b"a, b",
        "x_a": b"1",
        "connection": b"keep-alive",
        "keep_alive": b"timeout=60",
        "transfer_encoding": None,
        "server": None,
        "date": None,
    }
    assert {name: value(site, f"sent_http_{name}", request) for name in expected} == expected
    assert value(site, "sent_trailer_x_sum", request) == b"5"
    request.keep_alive = False
    assert value(site, "sent_http_connection", request) == b"close"
    assert value(site, "sent_http_keep_alive", request) is None


def test_sent_fields_of_a_finished_block(site: Loaded) -> None:
    request = site.request()
    response = answer(request)
    response.finished = FinishedHead([(b"Content-Type", b"text/css"), (b"X-B", b"1")])
    response.append(FinishedHead([(b"X-B", b"2")]))
    response.add(b"X-B", b"3")
    assert value(site, "sent_http_content_type", request) == b"text/css"
    assert value(site, "sent_http_x_b", request) == b"1, 2, 3"
    assert value(site, "sent_http_x", request) is None


def test_unknown_length_is_chunked(site: Loaded) -> None:
    request = site.request()
    response = answer(request)
    response.content_length = -1
    assert value(site, "sent_http_transfer_encoding", request) == b"chunked"
    assert value(site, "sent_http_content_length", request) is None
    request.version = 10
    assert value(site, "sent_http_transfer_encoding", request) is None


def test_counts(site: Loaded) -> None:
    request = site.request()
    assert value(site, "status", request) == b"000"
    assert value(site, "limit_rate", request) == b"0"
    response = answer(request, 404)
    expected = {"status": b"404", "bytes_sent": b"105", "body_bytes_sent": b"5", "limit_rate": b"102400",
                "request_length": b"%d" % len(PLAIN)}  # fmt: skip
    assert {name: value(site, name, request) for name in expected} == expected
    response.upstream_part().limit_rate = 5
    assert value(site, "limit_rate", request) == b"5"


def test_how_it_went(site: Loaded) -> None:
    request = site.request()
    assert (value(site, "pipe", request), value(site, "request_completion", request)) == (b".", b"")
    request.complete = True
    request.stream = Http1Stream(site.client, site.transport, Prefixes(site.reactor))
    request.stream.pipelined = True
    assert (value(site, "pipe", request), value(site, "request_completion", request)) == (b"p", b"OK")


def test_request_id_stays(site: Loaded) -> None:
    request = site.request()
    first = value(site, "request_id", request)
    assert first is not None and re.fullmatch(rb"[0-9a-f]{32}", first)
    assert value(site, "request_id", request) == first
    assert value(site, "request_id", site.request()) != first


# -- upstreams


def test_upstream_attempts(site: Loaded) -> None:
    request = site.request()
    failed = request.upstream_state().begin_attempt(b"127.0.0.1:1", request.reactor.now)
    failed.status, failed.response_time = 502, 0.0
    request.upstream_state().redirected = True
    good = request.upstream_state().begin_attempt(b"127.0.0.1:7080", request.reactor.now)
    good.status, good.connect_time, good.header_time, good.response_time = 200, 0.0, 0.001, 0.0019
    good.bytes_sent, good.bytes_received, good.length = 113, 317, 5
    running = request.upstream_state().begin_attempt(b"unix:/s", request.reactor.now)
    assert running.status == 0
    expected = {
        "addr": b"127.0.0.1:1 : 127.0.0.1:7080, unix:/s",
        "status": b"502 : 200, -",
        "response_time": b"0.000 : 0.001, -",
        "connect_time": b"- : 0.000, -",
        "header_time": b"- : 0.001, -",
        "response_length": b"0 : 5, 0",
        "bytes_sent": b"0 : 113, 0",
        "bytes_received": b"0 : 317, 0",
    }
    assert {name: value(site, f"upstream_{name}", request) for name in expected} == expected


def test_upstream_fields(site: Loaded) -> None:
    from portico.codec.http1_response import parse_response_head

    request = site.request()
    request.upstream_state().fields = parse_response_head(
        b"HTTP/1.1 200 OK\r\nX-A: a b\r\nX_A: c\r\nServer: s\r\n"
        b"Set-Cookie: A = 1; path=/\r\nSet-Cookie: b=2\r\n\r\n"
    )
    assert value(site, "upstream_http_x_a", request) == b"a b, c"
    assert value(site, "upstream_http_server", request) == b"s"
    assert value(site, "upstream_cookie_a", request) == b"1"
    assert value(site, "upstream_cookie_b", request) == b"2"
    assert value(site, "upstream_cookie_c", request) is None


# -- declarations


def test_every_variable_is_described() -> None:
    texts = [variable.doc for variable in CORE_VARIABLES + UPSTREAM_VARIABLES]
    texts += [family.doc for family in CORE_FAMILIES + UPSTREAM_FAMILIES]
    assert all(text.endswith(".") for text in texts)


def test_what_changes_between_requests_is_not_called_stable() -> None:
    stable = {v.name for v in CORE_VARIABLES if v.stability <= STABLE_FIELDS}
    assert not stable & {
        "uri",
        "args",
        "request_uri",
        "request_method",
        "server_protocol",
        "connection_requests",
    }
    assert all(v.stability == PER_REQUEST for v in UPSTREAM_VARIABLES)


def test_a_subrequest_has_the_request_id_of_the_whole(site: Loaded) -> None:
    request = site.request(PLAIN)
    asked = subrequest_of(subrequest_of(request, b"/a", b""), b"/b", b"")
    assert value(site, "request_id", asked) == value(site, "request_id", request)
    assert value(site, "request_id", site.request(PLAIN)) != value(site, "request_id", request)
