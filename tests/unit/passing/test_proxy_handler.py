"""What a location asks its upstream for: target, method, body, and whether a client that leaves ends it."""

from __future__ import annotations

import pytest
from tests.unit.passing.conftest import MakeProxy
from tests.unit.passing.prepared_upstream import ProxySite

from portico.http import phases
from portico.http.body import RequestBody
from portico.http.errors import HTTPError
from portico.http.request import Request
from portico.http.response import Response
from portico.passing.handler import ProxyHandler

OK = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"


def asked(site: ProxySite, target: str = "/", fields: str = "", method: str = "GET") -> str:
    """Return the request line that the upstream gets."""
    site.get(OK, target, fields, method)
    return site.received().partition("\n")[0]


# (location, its directives, what the client asks for, what the upstream is asked for)
TARGETS: list[tuple[str, str, str, str]] = [
    ("/", "proxy_pass http://app;", "/a/../b%20c?d=%2f", "/a/../b%20c?d=%2f"),  # as it came
    ("/a/", "proxy_pass http://app/;", "/a/b%20c?d", "/b%20c?d"),
    ("/a/", "proxy_pass http://app/x/;", "/a/../a/b", "/x/b"),
    ("/a", "proxy_pass http://app/x?y=1&z=;", "/a/b", "/x?y=1&z=/b"),
    ("/a", "rewrite ^/a(.*) /r$1 break; proxy_pass http://app/x;", "/a/b?c", "/r/b?c"),
    ("/a", "proxy_pass http://app$request_uri;", "/a/b?c", "/a/b?c"),
    ("/a", "proxy_pass http://app/v?w=$arg_c;", "/a/b?c=1", "/v?w=1"),
]


@pytest.mark.parametrize(("location", "directives", "target", "expected"), TARGETS)
def test_targets(make_proxy: MakeProxy, location: str, directives: str, target: str, expected: str) -> None:
    site = make_proxy(f"location {location} {{ {directives} }}")
    assert asked(site, target) == f"GET {expected} HTTP/1.1"


def respond(site: ProxySite, request: Request) -> Response:
    """Return the response to a request, for which nobody has to wait."""
    coroutine = phases.respond(request)
    try:
        coroutine.send(None)
    except StopIteration as done:
        response = done.value
        assert isinstance(response, Response)
        return response
    raise AssertionError("a handler waited")


def test_a_path_that_leads_out_of_the_target(make_proxy: MakeProxy) -> None:
    """`location /a { proxy_pass http://app/x/; }` and "/a../": 400, as nothing outside of /x/ was meant."""
    assert make_proxy("location /a { proxy_pass http://app/x/; }").ask("/a../b").status == 400


@pytest.mark.parametrize(("directive", "method"), [("", "PUT"), ("proxy_method POST;", "POST"), ("proxy_method $arg_m;", "PURGE")])
def test_methods(make_proxy: MakeProxy, directive: str, method: str) -> None:
    site = make_proxy(f"location / {{ {directive} proxy_pass http://app; }}")
    assert asked(site, "/?m=PURGE", method="PUT").startswith(f"{method} /")


def test_a_method_that_is_none(make_proxy: MakeProxy) -> None:
    site = make_proxy("location / { proxy_method $arg_m; proxy_pass http://app; }")
    assert site.get(OK, "/?m=a%20b").status == 500
    assert 'proxy_method came to "a%20b", which is no method' in site.log()


# (directives, what the upstream gets of a body "data")
BODIES: list[tuple[str, str]] = [
    ("", "Content-Length: 4\n\ndata"),
    ("proxy_pass_request_body off;", "\n\n"),
    ('proxy_set_body "own $request_method";', "Content-Length: 7\n\nown PUT"),
]


@pytest.mark.parametrize(("directives", "expected"), BODIES)
def test_bodies(make_proxy: MakeProxy, directives: str, expected: str) -> None:
    site = make_proxy(f"location / {{ {directives} proxy_pass http://app; }}")
    site.prepare(OK)
    request = site.request("/", method="PUT")
    request.body = RequestBody(request, None)
    request.body.data, request.body.length = b"data", 4
    assert respond(site, request).status == 200
    assert site.received().endswith(expected)


@pytest.mark.parametrize(("directive", "watched"), [("", True), ("proxy_ignore_client_abort on;", False)])
def test_a_client_that_leaves(make_proxy: MakeProxy, directive: str, watched: bool) -> None:
    site = make_proxy(f"location / {{ {directive} proxy_pass http://app; }}")
    site.get(OK)
    assert site.stream.is_watched is watched


def test_no_peer_responds(make_proxy: MakeProxy) -> None:
    site = make_proxy("location / { proxy_pass http://app; }")
    answer = site.ask("/")
    assert answer.status == 502 and "connect() failed (2: No such file or directory)" in site.log()


def test_a_url_that_is_none(make_proxy: MakeProxy) -> None:
    site = make_proxy("location / { proxy_pass $arg_u; }")
    handler = site.handler("/?u=ftp://app")
    assert isinstance(handler, ProxyHandler)
    with pytest.raises(HTTPError) as refused:
        handler.handle_async(site.request("/?u=ftp://app")).send(None)
    assert refused.value.status == 500 and "invalid URL prefix" in refused.value.reason


def test_it_says_what_it_does(make_proxy: MakeProxy) -> None:
    site = make_proxy("location / { proxy_pass http://app; }")
    handler = site.handler()
    assert isinstance(handler, ProxyHandler)
    assert handler.describe() == "proxy_pass http://app"
    assert handler.url_of(site.request("/y?z")) == b"http://app/y?z"
