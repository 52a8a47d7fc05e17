"""Requests as HTTP/1 upstreams get them: request line, header fields in nginx's order, body."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import parse_request_fields
from portico.config.diagnostics import Where
from portico.http.body import RequestBody
from portico.http.request import SectionMemo
from portico.passing.directives import SetHeader
from portico.passing.fields import RequestFieldRules
from portico.passing.http1.protocol import Http1Protocol
from portico.passing.protocol import UpstreamRequest
from portico.variables.template import Template, Variables


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site("", tmp_path)
    yield made
    made.close()


def rules(*headers: tuple[str, str], pass_headers: bool = True, forwarded: bool = False) -> RequestFieldRules:
    made = []
    for name, text in headers:
        value = Template(text, Where("x.conf", 1, 1))
        value.resolve(Variables())
        made.append(SetHeader(name, value))
    found = RequestFieldRules(made, pass_headers, forwarded)
    found.settle()
    return found


def asked(site: Site, fields: str = "", method: str = "GET", body: bytes | None = None, chunked: bool = False) -> UpstreamRequest:
    request = site.request("/a?b", fields, method)
    if body is not None or chunked:
        request.body = RequestBody(request, None)
        request.body.data = body
        request.body.length = -1 if body is None else len(body)
    return UpstreamRequest(request, method.encode(), b"/x?b", b"app:8000", request.body)


def sent(ask: UpstreamRequest, found: RequestFieldRules, version: int = 11) -> list[str]:
    return Http1Protocol(found, version).encode(ask).decode().split("\r\n")


def test_a_request(site: Site) -> None:
    assert sent(asked(site, "X-Own: 1\nAccept: */*"), rules()) == [
        "GET /x?b HTTP/1.1", "Host: app:8000", "X-Own: 1", "Accept: */*", "", "",
    ]  # fmt: skip


def test_http_1_0_closes(site: Site) -> None:
    assert sent(asked(site), rules(), 10) == ["GET /x?b HTTP/1.0", "Host: app:8000", "Connection: close", "", ""]


def test_configured_fields_come_first_and_replace(site: Site) -> None:
    """`proxy_set_header`; a field with an empty value is not sent."""
    found = rules(("Host", "other"), ("X-Own", "2"), ("Connection", "upgrade"), ("Accept", ""))
    assert sent(asked(site, "X-Own: 1\nAccept: */*\nX-Else: 3"), found) == [
        "GET /x?b HTTP/1.1", "Host: other", "X-Own: 2", "Connection: upgrade", "X-Else: 3", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "field",
    [
        "Connection: close", "Keep-Alive: 1", "Proxy-Connection: x", "TE: trailers", "Trailer: X", "Upgrade: h2c",
        "Expect: 100-continue",
    ],
)
def test_what_is_about_the_clients_connection_stays_there(site: Site, field: str) -> None:
    """RFC 9110 section 7.6.1."""
    assert sent(asked(site, field), rules()) == ["GET /x?b HTTP/1.1", "Host: app:8000", "", ""]


def test_what_connection_names_stays_there(site: Site) -> None:
    found = rules()
    ask = asked(site, "Connection: X-Own\nX-Own: 1\nX-Else: 2")
    assert sent(ask, found) == ["GET /x?b HTTP/1.1", "Host: app:8000", "X-Else: 2", "", ""]
    assert found.drops_nominated(ask.request)
    assert not found.drops_nominated(asked(site, "Connection: X-Other\nX-Own: 1").request)
    assert not rules(pass_headers=False).drops_nominated(ask.request)


def test_no_client_fields(site: Site) -> None:
    """`proxy_pass_request_headers off`."""
    assert sent(asked(site, "X-Own: 1"), rules(pass_headers=False)) == ["GET /x?b HTTP/1.1", "Host: app:8000", "", ""]


def test_conditions_that_a_cache_judges(site: Site) -> None:
    found = rules()
    found.leave_conditions_out()
    ask = asked(site, "If-None-Match: \"a\"\nRange: bytes=0-1\nX-Own: 1")
    assert sent(ask, found) == ["GET /x?b HTTP/1.1", "Host: app:8000", "X-Own: 1", "", ""]
    assert found.withheld(ask.request) == [(b"If-None-Match", b'"a"'), (b"Range", b"bytes=0-1")]
    ask.fields = found.withheld(ask.request)
    assert sent(ask, found)[:3] == ["GET /x?b HTTP/1.1", 'If-None-Match: "a"', "Range: bytes=0-1"]


# (body of the client, made by the configuration, field, what follows the header section)
BODIES: list[tuple[bytes | None, bool, bytes | None, str | None, str]] = [
    (b"data", False, None, "Content-Length: 4", "data"),
    (b"", False, None, "Content-Length: 0", ""),
    (None, True, None, "Transfer-Encoding: chunked", ""),
    (None, False, b"own", "Content-Length: 3", "own"),
    (None, False, b"", "Content-Length: 0", ""),
    (None, False, None, None, ""),
]


@pytest.mark.parametrize(("body", "open_ended", "content", "field", "behind"), BODIES)
def test_bodies(site: Site, body: bytes | None, open_ended: bool, content: bytes | None, field: str | None, behind: str) -> None:
    ask = asked(site, "", "PUT", body, open_ended)
    ask.content = content
    lines = sent(ask, rules())
    assert lines == ["PUT /x?b HTTP/1.1", "Host: app:8000", *([field] if field else []), "", behind]


def test_framing_that_is_configured_is_left_alone(site: Site) -> None:
    found = rules(("Content-Length", "7"), ("Transfer-Encoding", ""))
    assert sent(asked(site, "", "PUT", b"data"), found) == [
        "PUT /x?b HTTP/1.1", "Content-Length: 7", "Host: app:8000", "", "data",
    ]  # fmt: skip
    assert sent(asked(site, "", "PUT", None, True), found)[1:] == ["Content-Length: 7", "Host: app:8000", "", ""]


def test_forwarded(site: Site) -> None:
    """RFC 7239 section 4."""
    lines = sent(asked(site, "Forwarded: for=1.2.3.4"), rules(forwarded=True))
    assert lines[2:] == ['Forwarded: for="127.0.0.1:50000";host=example.com;proto=http', "", ""]
    configured = rules(("Forwarded", "for=_x"), forwarded=True)
    assert [line for line in sent(asked(site), configured) if "Forwarded" in line] == ["Forwarded: for=_x"]


def test_lines_are_made_once_for_a_header_section(site: Site) -> None:
    """A connection that repeats its header section remembers one location's lines; the client's own are those of any connection."""
    ours = rules(("X-Own", "1"))
    protocol = Http1Protocol(ours, 11)
    shared = parse_request_fields(b"Host: a\r\nX-Field: 1\r\n", 11, HeaderOptions())
    memo = SectionMemo()
    made = []
    for repeatable, kept in ((True, memo), (True, memo), (False, memo), (True, None)):
        ask = asked(site)
        ask.request.fields = shared
        ask.request.memo = kept
        ask.is_repeatable = repeatable
        made.append(protocol.encode(ask))
    assert made[0] == made[1] == made[2] == made[3]
    assert memo.owner is protocol and made[0].endswith(memo.text)
    assert shared.passed_on_by is ours and shared.passed_on == b"X-Field: 1\r\n"
    other = Http1Protocol(rules(("X-Own", "2")), 11)
    ask.is_repeatable, ask.request.memo = True, memo
    assert b"X-Own: 2" in other.encode(ask) and memo.owner is other
