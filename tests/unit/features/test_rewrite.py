"""`rewrite` and `if` where nginx cannot be asked: carets, modes of files, arbitrary bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.local_site import Site

from portico.features.rewrite.replacement import unescape_redirect
from portico.program import LoadFailed, Source, load_program

MakeSite = Callable[[str], Site]

CARETS = r"""
server { rewrite ^/a(b /c; }
                     ^
server { rewrite "^/a(b|c[x)$" /d last; }
                            ^
server { rewrite "^/\\\\a**b" /d last; }
                          ^
server { location ~ ^/(?<a>x)(?<a>y)$ { } }
                                  ^
server { location ~* "^/x{3,2}$" { } }
                             ^
server { if ($uri ~* ^/é(a]**)$) { } }
                            ^
server { if ($uri !~ (a)) { } if ($uri ~ "a\y") { } }
                                            ^
server { server_name a ~^(b; }
                          ^
server { valid_referers ~a(b**); }
                             ^
map $uri $x { ~^a++)$ 1; }
                   ^
map $uri $x { "~*a\"[z-b]" 1; }
                       ^
""".strip("\n").split("\n")


@pytest.mark.parametrize(("text", "caret"), list(zip(CARETS[::2], CARETS[1::2], strict=True)))
def test_the_caret_is_inside_the_regex(tmp_path: Path, text: str, caret: str) -> None:
    conf = tmp_path / "c.conf"
    conf.write_text(f"events {{}}\nhttp {{\n{text}\n}}\n")
    with pytest.raises(LoadFailed) as failed:
        load_program(Source(f"{tmp_path}/", str(conf), "", ""), None)
    lines = failed.value.diagnostics.render().split("\n")
    assert re.search(r'regex ".*" cannot be used: .* at position \d+ in ', lines[0])
    assert lines[1:3] == [f"    3 | {text}", f"      | {caret}"]


def test_executable_is_what_its_owner_may_run(make_site: MakeSite, tmp_path: Path) -> None:
    """ngx_is_exec."""
    site = make_site(f"location / {{ if (-x {tmp_path}$uri) {{ return 200 x; }} return 200 no; }}")
    for mode, body in ((0o010, b"no"), (0o100, b"x"), (0o644, b"no"), (0o755, b"x")):
        tmp_path.joinpath("f").write_bytes(b"")
        tmp_path.joinpath("f").chmod(mode)
        assert site.ask("/f").body == body, oct(mode)


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_any_redirect(url: bytes, args: bytes) -> None:
    """What is decoded is neither a control character nor what would make another URL of it."""
    found = unescape_redirect(url + b"?" + args)
    assert len(found) <= len(url) + 1 + len(args)
    assert {byte for byte in found if byte <= 0x20 or byte >= 0x7F} <= set(url + b"?" + args)


@pytest.fixture(scope="module")
def rewriting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    text = r"""
        location /r/ { rewrite ^/r/(.*)$ http://example.net/$1?q=$1 redirect; }
        location /p/ { rewrite ^/p/((?:.|\n)*)$ /shown/$1?a=$1 last; return 500; }
        location /i/ { if ($uri ~ "^/i/((?s).*)$") { set $x $1; } return 200 $x; }
        location /shown/ { return 200 "$args"; }
    """
    site = Site(text, tmp_path_factory.mktemp("rewrite"))
    yield site
    site.close()


@settings(max_examples=150)
@given(st.sampled_from("rpi"), st.binary(max_size=16).filter(lambda part: b"\0" not in part and b".." not in part.split(b"/")))
def test_any_uri_through_a_rewrite(rewriting: Site, way: str, part: bytes) -> None:
    """Whatever a client sends in escapes, but for what leads to another location, becomes one field, one argument, one text."""
    answer = rewriting.ask(f"/{way}/" + "".join(f"%{byte:02x}" for byte in part))
    if way == "r" and b"\n" not in part:
        assert answer.status == 302 and len(answer.all("Location")) == 1
        location = answer.response.location
        assert location.startswith(b"http://example.net/")
        assert all(byte > 0x20 and byte != 0x7F for byte in location)
    if answer.status == 200 and way == "p":
        assert b"&" not in answer.body
        assert unquote_to_bytes(answer.body.removeprefix(b"a=")) == answer.request.uri.removeprefix(b"/shown/")
    if way == "i":
        assert answer.body == answer.request.uri.removeprefix(b"/i/")


def test_a_variable_of_a_family_is_the_familys_where_it_is_not_set(make_site: MakeSite) -> None:
    site = make_site('location /set { set $http_x mine; return 200 "$http_x"; } location / { return 200 "$http_x"; }')
    assert site.ask("/set", "X: theirs").body == b"mine"
    assert site.ask("/", "X: theirs").body == b"theirs"
    assert site.ask("/").body == b""
    assert site.log() == ""
