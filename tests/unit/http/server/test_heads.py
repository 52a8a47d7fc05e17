"""The requests that header sections are: which server and host, what is remembered of the one before, what is refused and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

from portico.http.error_pages import TOO_LARGE_HEADER
from portico.http.request import Request
from portico.http.server.http1.heads import RequestHeads, may_be_http
from portico.http.server.http1.lines import RequestLines
from portico.http.server.http1.sections import Sections

THREE_SERVERS = """
    server_name first; large_client_header_buffers 2 64; } server { listen 127.0.0.1:8080; server_name second; }
    server { listen 127.0.0.1:8080; server_name ~^(?<who>\\w+)\\.third$; large_client_header_buffers 4 128;
"""
MakeHeads = Callable[[str], RequestHeads]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeHeads]:
    made: list[Site] = []

    def heads(text: str) -> RequestHeads:
        site = Site(text, tmp_path)
        made.append(site)
        listener = site.plan.listeners[0]
        return RequestHeads(site.client, listener, RequestLines(listener.default.core.merge_slashes), Sections())

    yield heads
    for site in made:
        site.close()


@pytest.fixture
def heads(make: MakeHeads) -> RequestHeads:
    return make(THREE_SERVERS)


def head(target: str, host: str | None = "first", fields: str = "") -> bytes:
    host_line = "" if host is None else f"Host: {host}\r\n"
    return f"GET {target} HTTP/1.1\r\n{host_line}{fields}\r\n".encode("latin-1")


def refusal(request: Request) -> int:
    """The status with which a request is refused; 0: it is not."""
    error = request.refusal
    if error is None:
        return 0
    assert error.close  # where the next request begins is not certain
    return error.status


@pytest.mark.parametrize(
    ("target", "host", "server", "asked", "raw_uri"),
    [
        ("/a?b", "first", "first", "first", "/a?b"),
        ("/a", "SECOND", "second", "second", "/a"),
        ("/a", "second:8080", "second", "second", "/a"),
        ("/a", "second.", "second", "second", "/a"),
        ("/a", "other", "first", "other", "/a"),  # the default server
        ("/a", "joe.third", "~^(?<who>\\w+)\\.third$", "joe.third", "/a"),
        # RFC 9112 section 3.2.2: of an absolute target the authority counts, and Host does not
        ("http://second/a?b", "first", "second", "second", "/a?b"),
        ("http://second:81/a", "first", "second", "second", "/a"),
        ("http://second", "first", "second", "second", "/"),
        ("http://second?q", "first", "second", "second", "/?q"),
        ("HTTP://SECOND/a", "first", "second", "second", "/a"),
    ],
)
def test_which_server(heads: RequestHeads, target: str, host: str, server: str, asked: str, raw_uri: str) -> None:
    request = heads.request_of(head(target, host))
    assert refusal(request) == 0
    assert request.server.name == server
    assert request.asked_host == asked.encode()
    assert request.target.raw == raw_uri.encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\n\n",  # without Host
        b"GET / HTTP/1.1\nHost: a\rX: 1\n\n",
        b"GET / HTTP/1.1\nHost: a\n\tfolded: 1\n\n",
        b"GET / HTTP/1.1\nHost: a\r\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nContent-Length: 1\r\n\r\n",  # a body, and line ends of both kinds
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\nContent-Length: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\n",
        b"GET / HTTP/1.1\r\n\r\n",  # without Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET http://a\x01/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /../.. HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n x: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_refused(heads: RequestHeads, raw: bytes) -> None:
    """On the default server, whatever it asks for, and the connection ends with it."""
    request = heads.request_of(raw)
    assert refusal(request) == 400
    assert request.server is heads.listener.default
    undecodable = raw.startswith((b"GET /%", b"GET /."))  # what comes before the path is known then
    assert request.method == (b"GET" if undecodable else b"")


@pytest.mark.parametrize(
    ("raw", "in_doubt"),
    [
        (b"GET /a HTTP/1.1\r\nHost: first\r\nX: 1\r\n\r\n", False),
        (b"GET /a HTTP/1.1\nHost: first\nX: 1\n\n", False),
        (b"GET /a HTTP/1.1\nHost: first\r\nX: 1\r\n\r\n", True),
        (b"GET /a HTTP/1.1\r\nHost: first\nX: 1\r\n\r\n", True),
        (b"GET /a HTTP/1.1\r\nHost: first\r\nX: 1\n\r\n", True),
        (b"GET /a HTTP/1.1\r\nHost: first\r\nX: 1\r\n\n", True),
        (b"GET /a HTTP/1.1\nHost: first\nX: 1\n\r\n", True),
    ],
)
def test_line_ends(heads: RequestHeads, raw: bytes, in_doubt: bool) -> None:
    """A bare LF ends a line too (RFC 9112 section 2.2); where both are mixed, others may see another end of the request."""
    for _ in range(3):  # parsed, parsed again and stored, found
        request = heads.request_of(raw)
        assert refusal(request) == 0 and request.line == b"GET /a HTTP/1.1" and request.received == len(raw)
        assert request.fields.get(b"x") == b"1" and request.asked_host == b"first"
        assert heads.ends_in_doubt is in_doubt
    heads.request_of(head("/", "first"))
    assert not heads.ends_in_doubt


def test_a_repeated_header_section_is_shared(heads: RequestHeads) -> None:
    first = heads.request_of(head("/a", "second", "X: 1\r\n"))
    second = heads.request_of(head("/b", "second", "X: 1\r\n"))
    assert second.fields is first.fields and second.server is first.server
    assert (second.uri, second.host) == (b"/b", b"second")
    third = heads.request_of(head("/b", "second", "X: 2\r\n"))
    assert third.fields is not first.fields


def test_the_version_counts_with_the_header_section(heads: RequestHeads) -> None:
    """HTTP/1.0 needs no Host and closes by default: the same fields mean something else."""
    raw = head("/a", None)
    assert refusal(heads.request_of(raw.replace(b"1.1", b"1.0"))) == 0
    assert refusal(heads.request_of(raw)) == 400


def test_an_absolute_target_does_not_leave_its_host_behind(heads: RequestHeads) -> None:
    """The remembered server is that of Host."""
    assert heads.request_of(head("/", "first")).server.name == "first"
    assert heads.request_of(head("http://second/", "first")).server.name == "second"
    following = heads.request_of(head("/", "first"))
    assert (following.server.name, following.asked_host) == ("first", b"first")


def test_a_refused_header_section_leaves_nothing_behind(heads: RequestHeads) -> None:
    good = head("/", "second")
    bad = head("/", "first", "Content-Length: x\r\n")
    assert heads.request_of(good).server.name == "second"
    assert refusal(heads.request_of(bad)) == 400
    assert refusal(heads.request_of(bad)) == 400
    assert heads.request_of(good).server.name == "second"


@pytest.mark.parametrize(
    ("following", "repeated"),
    [
        (head("/b", "first"), True),
        (head("/b/c?d", "first"), True),
        (head("/b", "second"), False),
        (head("/b", "first", "X: 1\r\n"), False),
        (head("/b", "first")[:-1], False),
        (head("/b", "first") + b"x", False),
        (head("/b", "first") + head("/b", "first"), False),  # two of them: the first ends earlier
        (b"POST / HTTP/1.1\r\nX: 1\r\nHost: first\r\n\r\n", False),  # the block is the end of a longer one
        (b"Host: first\r\n\r\n", False),
        (b"\nHost: first\r\n\r\n", True),  # an empty line in place of a request line: refused when it is read
        (b"", False),
    ],
)
def test_the_end_of_a_repeated_header_section_need_not_be_looked_for(heads: RequestHeads, following: bytes, repeated: bool) -> None:
    assert heads.section is None and not heads.is_repeated(following)  # nothing came before
    heads.request_of(head("/a", "first"))
    assert heads.is_repeated(following) == repeated
    heads.section = None
    assert not heads.is_repeated(following)


LINE_64 = b"GET /" + b"x" * 48 + b" HTTP/1.1\r\n"  # with its line end 64 bytes


@pytest.mark.parametrize(
    ("buffer", "status"),
    [
        (b"", 0),
        (LINE_64, 0),
        (LINE_64.replace(b"/", b"/x"), 414),
        (b"G" * 64, 0),  # it may end with the next byte
        (b"G" * 65, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 59 + b"\r\n", 0),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 60 + b"\r\n", TOO_LARGE_HEADER),
        (b"GET / HTTP/1.1\r\nA: 1\r\nB: " + b"x" * 100, TOO_LARGE_HEADER),
        (b"GET / HTTP/1.1\r\n" + b"A: 1\r\n" * 18, 0),  # 124 of 128 bytes
        (b"GET / HTTP/1.1\r\n" + b"A: 1\r\n" * 19, TOO_LARGE_HEADER),
    ],
)
def test_large_client_header_buffers(heads: RequestHeads, buffer: bytes, status: int) -> None:
    """2 buffers of 64 bytes: a line fits into one, all lines into both. nginx: 414 for the first line, 494 for others."""
    assert heads.oversized(buffer) == status
    if status:
        request = heads.refused_as_too_large(buffer, status)
        assert refusal(request) == status
        assert request.line == buffer.partition(b"\n")[0].rstrip(b"\r")[:64]
        assert "large_client_header_buffers is 2 of 64 bytes" in str(request.refusal)


def test_the_limits_are_those_of_the_server_that_host_names(heads: RequestHeads) -> None:
    """As in nginx: the default server's for the request line, and until Host says otherwise, whatever was asked before."""
    line = b"GET /" + b"x" * 100 + b" HTTP/1.1\r\n"
    field = b"X: " + b"x" * 100 + b"\r\n"
    for _ in range(2):
        assert heads.oversized(line) == 414
        assert heads.oversized(b"GET / HTTP/1.1\r\n" + field) == TOO_LARGE_HEADER
        assert heads.oversized(b"GET / HTTP/1.1\r\nhost: joe.third:80\r\n" + field) == 0
        assert heads.oversized(b"GET / HTTP/1.1\r\nHost: a/b\r\n" + field) == TOO_LARGE_HEADER
        heads.request_of(head("/", "joe.third"))


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/", ["Host: few", "A: 1"], 0),
        ("/", ["Host: few", "A: 1", "A: 2"], TOO_LARGE_HEADER),
        ("/", ["Host: few", "A: 1", "b\xe4d: dropped"], 0),
        ("/", ["A: 1", "A: 2", "A: 3", "Host: many"], 0),  # up to the fourth field the default server's number counts
        ("/", ["A: 1", "A: 2", "A: 3", "A: 4", "Host: many"], TOO_LARGE_HEADER),
        ("/", ["Host: many", *["A: 1"] * 5], 0),
        ("/", ["Host: many", *["A: 1"] * 6], TOO_LARGE_HEADER),
        ("http://few/", ["Host: many", "A: 1", "A: 2"], TOO_LARGE_HEADER),
        ("http://many/", ["Host: many", "A: 1", "A: 2"], 0),
    ],
)
def test_max_headers(make: MakeHeads, target: str, fields: list[str], status: int) -> None:
    heads = make(
        "max_headers 4; } server { listen 127.0.0.1:8080; server_name few; max_headers 2; }"
        " server { listen 127.0.0.1:8080; server_name many; max_headers 6;"
    )
    for _ in range(3):  # what came twice is remembered
        assert refusal(heads.request_of(head(target, None, "".join(f"{field}\r\n" for field in fields)))) == status


def test_a_request_that_ends_before_its_header_section_does_is_only_logged(heads: RequestHeads) -> None:
    request = heads.unanswered(b"GET /a HTTP/1.1\r\nHost: se", 408)
    assert (request.status, request.line, request.refusal) == (408, b"GET /a HTTP/1.1", None)
    assert heads.unanswered(b"", 400).line == b""


def test_names_that_a_server_name_captures(heads: RequestHeads) -> None:
    for host, who in (("joe.third", b"joe"), ("ann.third", b"ann")):
        request = heads.request_of(head("/", host))
        assert request.named == {"who": who}


@pytest.mark.parametrize(
    ("buffer", "may"),
    [
        (b"", True),
        (b"G", True),
        (b"GET", True),
        (b"GET /", True),
        (b"M-SEARCH *", True),
        (b"get /", False),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", False),  # TLS on a plain port
        (b"PRI * HTTP/2.0\r\n", False),  # HTTP/2 with prior knowledge
        (b"GET /\r\n", False),  # HTTP/0.9
        (b"GET / HTTP/1.1\r\n", True),
        (b"GET / HTTP/1.1\n", True),  # refused when it is whole, with a word about the line end
        (b"\r\n", False),
        (b"SSH-2.0-OpenSSH_9\r\n", False),
        (b"A" * 100, True),
        (b"\0", False),
    ],
)
def test_noise_is_refused_before_it_is_whole(buffer: bytes, may: bool) -> None:
    assert may_be_http(buffer) == may
