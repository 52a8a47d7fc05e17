"""Which header fields of an upstream's response the client gets (ngx_http_upstream_headers_in), and what steers the proxy."""

from __future__ import annotations

import pytest
from tests.unit.passing.conftest import MakeProxy

from portico.cache.policy.ignored import (
    IGNORABLE,
    IGNORE_BUFFERING,
    IGNORE_CHARSET,
    IGNORE_LIMIT_RATE,
    IGNORE_REDIRECT,
)
from portico.codec.http1_response import ResponseHead, parse_response_head
from portico.http.response import EMPTY, PLAIN_UPSTREAM
from portico.passing.handler import ProxyHandler
from portico.passing.response import ResponseRules, last_modified_of
from portico.passing.rewrite import Rewriter

HEAD = "HTTP/1.1 200 OK\nServer: theirs\nDate: today\nX-Pad: 1\nX-Own: 1\nX-Two: 2\nConnection: x-two\nX-Accel-Expires: 5\nVia: x"


def head(text: str) -> ResponseHead:
    return parse_response_head((text + "\n\n").replace("\n", "\r\n").encode())


def rules_of(ignore: int = 0) -> ResponseRules:
    return ResponseRules([], [], ignore, Rewriter([], [], [], []), False)


@pytest.mark.parametrize(
    ("directives", "names"),
    [
        ("", ["X-Own", "Via"]),
        ("proxy_hide_header X-Own;", ["Via"]),
        ("proxy_pass_header X-Pad; proxy_pass_header X-Accel-Expires;", ["X-Pad", "X-Own", "X-Accel-Expires", "Via"]),
        ("proxy_pass_header Connection; proxy_pass_header X-Two;", ["X-Own", "Via"]),  # RFC 9110 section 7.6.1 is no matter of taste
    ],
)
def test_what_is_passed_on(make_proxy: MakeProxy, directives: str, names: list[str]) -> None:
    site = make_proxy(f"location / {{ {directives} proxy_pass http://app; }}")
    answer = site.get(HEAD + "\nContent-Length: 0\n\n")
    assert [key for key, _ in answer.fields if key != "Content-Length"] == names
    assert answer.response.upstream is PLAIN_UPSTREAM, "it names neither Server nor Date"


def test_a_server_that_is_passed_on(make_proxy: MakeProxy) -> None:
    site = make_proxy("location / { proxy_pass_header Server; proxy_pass_header Date; proxy_pass http://app; }")
    part = site.get(HEAD + "\nContent-Length: 0\n\n").response.upstream
    assert part is not None and (part.server, part.date, part.no_server) == (b"theirs", b"today", False)
    part = site.get("HTTP/1.1 200 OK\nContent-Length: 0\n\n").response.upstream
    assert part is not None and part.no_server and part.no_date


@pytest.mark.parametrize("name", ["Content-Type", "ETag", "Expires", "Last-Modified", "Location", "Refresh", "Server", "Date"])
def test_of_some_fields_the_first_counts(make_proxy: MakeProxy, name: str) -> None:
    passed = "proxy_pass_header Server; proxy_pass_header Date;"
    site = make_proxy(f"error_log logs/error.log warn; location / {{ {passed} proxy_pass http://app; }}")
    answer = site.get(f"HTTP/1.1 200 OK\n{name}: /one\nContent-Length: 0\n{name}: /two\n\n")
    part = answer.response.upstream
    assert part is not None
    said = [value for key, value in answer.fields if key == name] or [(part.server or part.date).decode()]
    assert said == ["/one"]
    assert f'duplicate header line: "{name}: /two", previous value: "{name}: /one", ignored' in site.log()


def test_others_may_stand_twice(make_proxy: MakeProxy) -> None:
    site = make_proxy("location / { proxy_pass http://app; }")
    answer = site.get("HTTP/1.1 200 OK\nSet-Cookie: a\nX: 1\nContent-Length: 0\nSet-Cookie: b\nX: 2\n\n")
    assert (answer.all("Set-Cookie"), answer.all("X")) == (["a", "b"], ["1", "2"])


@pytest.mark.parametrize(
    ("value", "configured", "expected"),
    [
        ("no", True, False), ("No", True, False), ("yes", False, True), ("maybe", True, True), ("maybe", False, False),
        ("", True, True),
    ],
)  # fmt: skip
def test_x_accel_buffering(value: str, configured: bool, expected: bool) -> None:
    found = head(f"HTTP/1.1 200 OK\nX-Accel-Buffering: {value}")
    assert rules_of().is_buffered(found, configured) is expected
    assert rules_of(IGNORE_BUFFERING).is_buffered(found, configured) is configured


def test_x_accel_redirect() -> None:
    found = head("HTTP/1.1 200 OK\nX-Accel-Redirect: /x")
    assert rules_of().redirect(found) == b"/x" and rules_of().redirect(head("HTTP/1.1 200 OK")) is None
    assert rules_of(IGNORE_REDIRECT).redirect(found) is None


def test_x_accel_limit_rate_and_charset(make_proxy: MakeProxy) -> None:
    site = make_proxy("")
    request = site.request("/")
    found = head("HTTP/1.1 200 OK\nX-Accel-Limit-Rate: 5\nX-Accel-Charset: koi8-r")
    part = rules_of().response(request, found, EMPTY).upstream
    assert part is not None and (part.limit_rate, part.charset) == (5, b"koi8-r")
    assert rules_of(IGNORE_LIMIT_RATE | IGNORE_CHARSET).response(request, found, EMPTY).upstream is PLAIN_UPSTREAM
    response = rules_of().response(request, head("HTTP/1.1 200 OK\nX-Accel-Limit-Rate: many"), EMPTY)
    assert response.upstream is PLAIN_UPSTREAM


@pytest.mark.parametrize(
    ("fields", "repeatable"),
    [
        ("X-Own: 1", True), ("Set-Cookie: a=b", True), ("Location: http://elsewhere/", False), ("Refresh: 5", False),
        ("X-Accel-Limit-Rate: 5", False),
    ],
)  # fmt: skip
def test_what_is_the_same_for_every_request(make_proxy: MakeProxy, fields: str, repeatable: bool) -> None:
    site = make_proxy("")
    rules = rules_of()
    assert rules.is_repeatable(rules.response(site.request("/"), head(f"HTTP/1.1 200 OK\n{fields}"), EMPTY)) is repeatable


def test_cookies_that_are_rewritten_are_not_the_same_for_every_request(make_proxy: MakeProxy) -> None:
    site = make_proxy("location / { proxy_cookie_path /a $uri; proxy_pass http://app; }")
    handler = site.handler()
    assert isinstance(handler, ProxyHandler)
    response = handler.rules.response(site.request("/b"), head("HTTP/1.1 200 OK\nSet-Cookie: x=y; path=/a"), EMPTY)
    assert response.get(b"set-cookie") == b"x=y; path=/b" and not handler.rules.is_repeatable(response)


@pytest.mark.parametrize(("reason", "expected"), [("OK", b""), ("Fine", b"Fine"), ("", b" ")])
def test_the_reason_phrase_is_the_upstreams(make_proxy: MakeProxy, reason: str, expected: bytes) -> None:
    site = make_proxy("")
    response = rules_of().response(site.request("/"), head(f"HTTP/1.1 200 {reason}"), EMPTY)
    assert response.upstream is not None and response.upstream.reason == expected
    response.change_status(404)
    assert (response.status, response.upstream.reason) == (404, b"")


def test_last_modified() -> None:
    assert last_modified_of(head("HTTP/1.1 200 OK\nLast-Modified: Thu, 01 Jan 1970 00:01:00 GMT")) == 60.0
    assert last_modified_of(head("HTTP/1.1 200 OK\nLast-Modified: yesterday")) == last_modified_of(head("HTTP/1.1 200 OK")) == -1.0


def test_each_name_that_can_be_ignored_has_a_bit_of_its_own(make_proxy: MakeProxy) -> None:
    assert sorted(IGNORABLE.values()) == [1 << bit for bit in range(len(IGNORABLE))]
    site = make_proxy(f"location / {{ proxy_ignore_headers {' '.join(IGNORABLE)}; proxy_pass http://app; }}")
    handler = site.handler()
    assert isinstance(handler, ProxyHandler) and handler.rules.ignore == sum(IGNORABLE.values())
