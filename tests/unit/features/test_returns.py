"""`return`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.conftest import MakeSite
from tests.unit.features.local_site import refusal

from portico.http.errors import CloseConnection


@pytest.mark.parametrize(
    ("text", "status", "body", "fields"),
    [
        ("return 200 hello;", 200, b"hello", {"content-type": "text/plain", "content-length": "5"}),
        ('return 200 "$arg_a-$uri";', 200, b"1-/x.html", {"content-type": "text/html"}),
        ("return 200;", 200, b"", {"content-length": "0", "content-type": "text/html"}),
        ("return 404 gone;", 404, b"gone", {"content-type": "text/plain"}),
        ("return 404;", 404, None, {"content-type": "text/html"}),
        ('return 404 "";', 404, None, {"content-type": "text/html"}),
        ("return 418;", 418, b"", {"content-type": None}),
        ("return 301 https://$host$request_uri;", 301, None, {"location": "https://example.com/x.html?a=1"}),
        ("return 302 /y;", 302, None, {"location": "/y", "content-type": "text/html"}),
        ("return 303 /y;", 303, None, {"location": "/y"}),
        ("return 307 /y;", 307, None, {"location": "/y"}),
        ("return 308 /y;", 308, None, {"location": "/y"}),
        ("return http://other/;", 302, None, {"location": "http://other/"}),
        ("return $scheme://z$uri;", 302, None, {"location": "http://z/x.html"}),
        ("error_page 403 /e; return 403;", 403, None, {}),
    ],
)
def test_return(
    make_site: MakeSite, text: str, status: int, body: bytes | None, fields: dict[str, str | None]
) -> None:
    default = "" if "text/html" in str(fields) else "types { }"
    answer = make_site(f"absolute_redirect off; location / {{ {default} {text} }}").ask("/x.html?a=1")
    assert answer.status == status
    if body is not None:
        assert answer.body == body
    elif status < 500:
        assert f"<center><h1>{status} ".encode() in answer.body
    for name, value in fields.items():
        assert answer.get(name) == value


@pytest.mark.parametrize("status", [408, 444, 499])
def test_closing(make_site: MakeSite, status: int) -> None:
    with pytest.raises(CloseConnection):
        make_site(f"return {status};").ask("/")


def test_server_level_comes_first(make_site: MakeSite) -> None:
    site = make_site("return 200 server; location / { return 200 location; } return 200 second;")
    assert site.ask("/").body == b"server"


def test_locations_do_not_inherit(make_site: MakeSite) -> None:
    site = make_site("location / { return 200 outer; location /a { return 200 inner; } location /b { } }")
    assert [site.ask(target).body for target in ("/", "/a")] == [b"outer", b"inner"]
    assert site.ask("/b").status == 404


def test_error_page_applies(make_site: MakeSite) -> None:
    site = make_site("error_page 404 =200 /e; location / { return 404; } location = /e { return 200 sorry; }")
    answer = site.ask("/")
    assert (answer.status, answer.body) == (200, b"sorry")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("return x;", 'invalid return code "x"'),
        ("return /x;", 'invalid return code "/x"'),
        ("return 1000;", 'invalid return code "1000"'),
        ("return -1;", 'invalid return code "-1"'),
        ("return http://a b;", 'invalid return code "http://a"'),
        ("return 1 2 3;", 'invalid number of arguments in "return" directive'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(text, tmp_path) == message
