"""The first file that exists, else the last word."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.conftest import MakeSite
from tests.unit.features.local_site import refusal


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    html = tmp_path / "html"
    (html / "d").mkdir(parents=True)
    (html / "a.txt").write_bytes(b"a")
    (html / "index.html").write_bytes(b"home")
    (html / "d" / "index.html").write_bytes(b"d")
    return html


@pytest.mark.parametrize(
    ("text", "target", "status", "body"),
    [
        ("location / { try_files $uri /index.html; }", "/a.txt", 200, b"a"),
        ("location / { try_files $uri /index.html; }", "/none", 200, b"home"),
        ("location / { try_files $uri $uri/ =404; }", "/d/", 200, b"d"),
        ("location / { try_files $uri $uri/ =404; }", "/d", 301, None),
        ("location / { try_files $uri =404; }", "/d", 404, None),
        ("location / { try_files $uri =418; }", "/none", 418, b""),
        ("try_files /a.txt =404;", "/whatever", 200, b"a"),
        ("try_files /a.txt =404; location / { }", "/whatever", 404, None),
        ("location / { try_files $uri @n; } location @n { return 200 $uri; }", "/none", 200, b"/none"),
        ("location / { try_files $uri @nope; }", "/none", 500, None),
        ("location /x { try_files $uri /r?a=$args; } location /r { return 200 $args; }", "/x?1", 200, b"a=1"),
        ("location /x { try_files $uri /r; } location /r { return 200 -$args; }", "/x?1", 200, b"-"),
        ("location / { try_files /none $uri; }", "/b", 500, None),
        ("location /x/ { alias @/html/; try_files $uri =404; }", "/x/a.txt", 200, b"a"),
        ("location /x/ { alias @/html/; try_files $uri $uri/ =404; }", "/x/d/", 200, b"d"),
        ("location /x/ { alias @/html/; try_files a.txt =404; }", "/x/none", 200, b"a"),
        ("location ~ ^/x { alias @/html; try_files /a.txt =404; }", "/x/none", 200, b"a"),
        ("location /t { try_files /a.txt =404; add_header U $uri; }", "/t", 200, b"a"),
    ],
)
def test_try_files(
    make_site: MakeSite, tmp_path: Path, text: str, target: str, status: int, body: bytes | None
) -> None:
    answer = make_site(text.replace("@/", f"{tmp_path}/")).ask(target)
    assert answer.status == status
    if body is not None:
        assert answer.body == body


def test_the_uri_is_what_was_found(make_site: MakeSite) -> None:
    site = make_site("location /t { try_files /a.txt =404; add_header U $uri; }")
    assert site.ask("/t").get("u") == "/a.txt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("try_files $uri;", 'invalid number of arguments in "try_files" directive'),
        ("try_files $uri =x;", 'invalid code "=x"'),
        ("try_files $uri =1000;", 'invalid code "=1000"'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(text, tmp_path) == message
