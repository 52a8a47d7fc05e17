"""The rewrite phase step by step: conditions, captures, variables, and where a script ends (ngx_http_rewrite_module)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.features.conftest import MakeSite
from tests.unit.features.local_site import refusal

SHOW = 'return 200 "[$uri][$args]";'


@pytest.mark.parametrize(
    ("condition", "target", "holds"),
    [
        # a variable is true unless it is empty or "0"
        ("($arg_v)", "/?v=1", True), ("($arg_v)", "/?v=0", False), ("($arg_v)", "/?v=", False), ("($arg_v)", "/", False),
        ("($arg_v)", "/?v=00", True), ("($arg_v)", "/?v=false", True), ("($arg_v)", "/?v=%20", True),
        # spaces around the parentheses
        ("( $arg_v )", "/?v=1", True), ("( $arg_v)", "/?v=1", True), ("($arg_v )", "/?v=1", True),
        # comparisons are of bytes; the right side may hold variables
        ("($arg_v = a)", "/?v=a", True), ("($arg_v = a)", "/?v=A", False), ("($arg_v != a)", "/?v=A", True),
        ("($arg_v = $arg_w)", "/?v=x&w=x", True), ("($arg_v = x$arg_w)", "/?v=xy&w=y", True), ('($arg_v = "")', "/", True),
        ("($arg_v = 1)", "/?v=01", False),
        # patterns
        ("($uri ~ ^/a)", "/ab", True), ("($uri ~ ^/a)", "/Ab", False), ("($uri ~* ^/a)", "/Ab", True),
        ("($uri !~ ^/a)", "/Ab", True), ("($uri !~* ^/a)", "/Ab", False), ('($arg_v ~ "^a b$")', "/?v=a b", True),
        ('($uri ~ "(a)(b)?")', "/a", True),
    ],
)  # fmt: skip
def test_conditions(make_site: MakeSite, condition: str, target: str, holds: bool) -> None:
    site = make_site(f"location / {{ if {condition} {{ return 200 yes; }} return 200 no; }}")
    assert site.ask(target).body == (b"yes" if holds else b"no")


@pytest.mark.parametrize(
    ("test", "there"),
    [
        ("-f", {"file"}), ("!-f", {"folder", "fifo", "none", "file/x", "long"}),
        ("-d", {"folder"}), ("!-d", {"file", "fifo", "none", "file/x", "long"}),
        ("-e", {"file", "folder", "fifo"}), ("!-e", {"none", "file/x", "long"}),
    ],
)  # fmt: skip
def test_files(make_site: MakeSite, tmp_path: Path, test: str, there: set[str]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    names = {"file": "file", "folder": "folder", "fifo": "fifo", "none": "none", "file/x": "file/x", "long": "n" * 300}
    site = make_site(f"location / {{ if ({test} {tmp_path}$uri) {{ return 200 yes; }} return 200 no; }}")
    assert {name for name, path in names.items() if site.ask(f"/{path}").body == b"yes"} == there
    assert site.log() == ""  # a name that is not there is no failure


def test_a_path_that_cannot_be_looked_at(make_site: MakeSite, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    site = make_site(f"location / {{ if (!-e {tmp_path}$uri) {{ return 200 no; }} return 200 yes; }}")
    assert site.ask("/loop").body == b"no"
    assert "[crit]" in site.log() and f'stat() "{tmp_path}/loop" failed (40: Too many levels of symbolic links)' in site.log()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("$arg_v", 'invalid condition "$arg_v"'),
        ("($arg_v", 'invalid condition "($arg_v"'),
        ("()", 'invalid condition "()"'),
        ("( )", 'invalid condition "( )"'),
        ("(arg_v)", 'invalid condition "arg_v"'),
        ("($arg_v =)", 'invalid condition "="'),
        ("($arg_v = a b)", 'invalid condition "="'),
        ("($arg_v == a)", 'unexpected "==" in condition'),
        ("($arg_v < a)", 'unexpected "<" in condition'),
        ("(-f)", 'invalid condition "-f"'),
        ("(-g /x)", 'invalid condition "-g"'),
        ("(!f /x)", 'invalid condition "!f"'),
        ("(- /x)", 'invalid condition "-"'),
        ("(-f /x /y)", 'invalid condition "-f"'),
        ("($)", 'invalid variable name'),
        ("($a$b)", 'invalid variable name "$a$b"'),
        ("($arg_v = )", 'invalid condition "="'),
    ],
)
def test_conditions_that_are_none(tmp_path: Path, condition: str, message: str) -> None:
    assert message in refusal(f"if {condition} {{ }}", tmp_path)


# -- captures


@pytest.mark.parametrize(
    ("text", "target", "body"),
    [
        ("if ($uri ~ ^/(.)(.)) { } return 200 $1$2;", "/ab", b"ab"),
        ("if ($uri ~ ^/(.)) { } if ($arg_x ~ ^(.)) { } return 200 $1;", "/a?x=b", b"b"),  # the latest match counts
        ("if ($uri ~ ^/(.)) { } if ($arg_x ~ ^(.)) { } return 200 [$1];", "/a", b"[]"),  # also one that did not match
        ("if ($uri ~ ^/(.)) { } if ($arg_x ~ ^(.)) { } return 200 [$1];", "/a?x=", b"[]"),
        ("if ($uri ~ ^/(a)?(b)) { } return 200 [$1][$2];", "/b", b"[][b]"),
        ("if ($uri ~ ^/(?<n>.)) { } if ($arg_x ~ ^(?<n>.)) { } return 200 $n;", "/a?x=b", b"b"),
        ("if ($uri ~ ^/(?<n>.)) { } if ($arg_x ~ ^(?<n>.)) { } return 200 $n;", "/a", b"a"),  # a name stays, unlike $1
        ("set $n set; if ($uri ~ ^/(?<n>.)) { } return 200 $n;", "/a", b"a"),  # the latest of `set` and a match
        ("if ($uri ~ ^/(?<n>.)) { set $n set; } return 200 $n;", "/a", b"set"),
        ("set $n $1; if ($uri ~ ^/(.)) { set $n $n$1; } return 200 $n;", "/a", b"a"),
        ("if ($uri !~ ^/(.)) { } return 200 [$1];", "/a", b"[a]"),
    ],
)
def test_captures(make_site: MakeSite, text: str, target: str, body: bytes) -> None:
    assert make_site(f"location / {{ {text} }}").ask(target).body == body


# -- set


@pytest.mark.parametrize(
    ("text", "target", "body"),
    [
        ("set $a 1; set $b $a$a; set $a 2; return 200 $a$b;", "/", b"211"),  # the value is found when the step runs
        ("set $a $uri; rewrite ^ /other break; return 200 $a;", "/x", None),
        ("set $args new; return 200 $args;", "/?old", b"new"),
        ("set $args a=2; return 200 $arg_a;", "/?a=1", b"2"),
        ('set $args ""; return 200 "[$args][$is_args]";', "/?a=1", b"[][]"),
        ("return 200 [$late]; set $late 1;", "/", b"[]"),
    ],
)
def test_set(make_site: MakeSite, text: str, target: str, body: bytes | None) -> None:
    answer = make_site(f"location / {{ {text} }}").ask(target)
    assert answer.body == body if body is not None else answer.status == 404


# -- rewrite


@pytest.mark.parametrize(
    ("text", "target", "body"),
    [
        # arguments: those written come first, the request's behind, unless the replacement ends in "?"
        ("rewrite ^/a$ /b;", "/a?x=1", b"[/b][x=1]"),
        ("rewrite ^/a$ /b?y=2;", "/a?x=1", b"[/b][y=2&x=1]"),
        ("rewrite ^/a$ /b?y=2;", "/a", b"[/b][y=2]"),
        ("rewrite ^/a$ /b?y=2?;", "/a?x=1", b"[/b][y=2]"),
        ("rewrite ^/a$ /b?;", "/a?x=1", b"[/b][]"),
        ("rewrite ^/(.*)$ /b?p=$1;", "/a%20b", b"[/b][p=a%20b]"),  # what was decoded is encoded
        ("rewrite ^/(.*)$ /b?p=$1;", "/%26", b"[/b][p=%26]"),
        ("rewrite ^/(.*)$ /b/$1;", "/a?x", b"[/b/a][x]"),
        ("rewrite ^/no$ /b;", "/a", b"[/a][]"),
        # without a flag the next step follows, with the new URI
        ("rewrite ^/a$ /b; rewrite ^/b$ /c;", "/a", b"[/c][]"),
    ],
)
def test_rewriting_on_server_level(make_site: MakeSite, text: str, target: str, body: bytes) -> None:
    assert make_site(f"{text} location / {{ {SHOW} }}").ask(target).body == body


@pytest.mark.parametrize(
    ("flag", "where", "body"),
    [
        ("last", "location / { rewrite ^/a$ /b last; return 200 after; } location /b { return 200 b; }", b"b"),
        ("none", "location / { rewrite ^/a$ /b; return 200 after; } location /b { return 200 b; }", b"after"),
        ("none", "location / { rewrite ^/a$ /b; } location /b { return 200 b; }", b"b"),
        ("last", "rewrite ^/a$ /b last; rewrite ^/b$ /c; location /b { return 200 b; } location /c { return 200 c; }", b"b"),
        ("break", "rewrite ^/a$ /b break; rewrite ^/b$ /c; location /b { return 200 b; } location /c { return 200 c; }", b"b"),
        ("if", "location / { if ($uri = /a) { rewrite ^ /b last; } return 200 after; } location /b { return 200 b; }", b"b"),
        ("break in if", "location / { if ($uri = /a) { break; } return 200 after; }", None),
        ("return in if", "location / { if ($uri = /a) { return 200 inner; } return 200 after; }", b"inner"),
        ("first of two", "location / { if ($uri) { set $x 1; } if ($uri) { set $x $x+2; } return 200 $x; }", b"1+2"),
    ],
)
def test_where_a_script_ends(make_site: MakeSite, flag: str, where: str, body: bytes | None) -> None:
    answer = make_site(where).ask("/a")
    assert answer.body == body if body is not None else answer.status == 404


@pytest.mark.parametrize(
    ("text", "status", "location"),
    [
        ("rewrite ^ /b redirect;", 302, "/b?x=1"),
        ("rewrite ^ /b permanent;", 301, "/b?x=1"),
        ("rewrite ^ /b? permanent;", 301, "/b"),
        ("rewrite ^ /b?y=2 redirect;", 302, "/b?y=2&x=1"),
        ("rewrite ^ http://other/b;", 302, "http://other/b?x=1"),
        ("rewrite ^ https://other/b last;", 302, "https://other/b?x=1"),
        ("rewrite ^ $scheme://other/b;", 302, "http://other/b?x=1"),
        ('rewrite "(?s)^/(.*)" http://other/$1 permanent;', 301, "http://other/a%20%0D%0Ab?x=1"),  # no line of a header of its own
    ],
)
def test_redirects(make_site: MakeSite, text: str, status: int, location: str) -> None:
    answer = make_site(f"absolute_redirect off; {text}").ask("/a%20%0D%0Ab?x=1")
    assert (answer.status, answer.get("Location")) == (status, location)


def test_a_rewrite_to_nothing(make_site: MakeSite) -> None:
    site = make_site("location / { rewrite ^/(.*)$ $1; }")
    assert site.ask("/").status == 500
    assert "the rewritten URI has a zero length" in site.log()


def test_a_cycle_ends_after_ten_rounds(make_site: MakeSite) -> None:
    site = make_site("location / { rewrite ^(.*)$ $1x last; }")
    answer = site.ask("/a")
    assert answer.status == 500
    assert 'rewrite or internal redirection cycle while processing "/a' + "x" * 11 + '"' in site.log()


def test_rewrite_log(make_site: MakeSite) -> None:
    """nginx's lines, at notice."""
    text = "error_log logs/error.log notice; rewrite_log on;"
    a, b = "if ($arg_x ~ y) { } rewrite ^/(a)$ /b?c=$1 last;", "rewrite ^ /c redirect;"
    site = make_site(f"{text} location / {{ {a} }} location /b {{ {b} }}")
    site.ask("/a")
    told = [line.partition("*1 ")[2].partition(", client:")[0] for line in site.log().splitlines()]
    assert told == [
        '"y" does not match ""',
        '"^/(a)$" matches "/a"',
        'rewritten data: "/b", args: "c=a"',
        '"^" matches "/b"',
        'rewritten redirect: "/c?c=a"',
    ]


def test_no_line_without_rewrite_log(make_site: MakeSite) -> None:
    site = make_site("error_log logs/error.log notice; location / { rewrite ^/(a)$ /b last; } location /b { return 200; }")
    assert site.ask("/a").status == 200
    assert site.log() == ""


# -- return: what test_returns.py leaves


@pytest.mark.parametrize(
    ("text", "target", "status", "fields"),
    [
        ('return 204 "";', "/x.html", 204, {"Content-Length": None, "Content-Type": None}),
        ('return 200 "text";', "/x.txt", 200, {"Content-Type": "text/plain"}),
        ('default_type ""; return 200 text;', "/x", 200, {"Content-Type": None}),
        ("return 301 $arg_to;", "/?to=/y", 301, {"Location": "/y"}),
        ('return 302 "";', "/", 302, {"Location": None}),
        ("return 999 x;", "/", 999, {"Content-Length": "1"}),
        ("return 0 x;", "/", 0, {"Content-Length": "1"}),
    ],
)
def test_returned_fields(make_site: MakeSite, text: str, target: str, status: int, fields: dict[str, str | None]) -> None:
    answer = make_site(f"absolute_redirect off; location / {{ {text} }}").ask(target)
    assert answer.status == status
    for name, value in fields.items():
        assert answer.get(name) == value, name


def test_the_status_is_known_to_the_text(make_site: MakeSite) -> None:
    assert make_site("return 403 $status;").ask("/").body == b"403"
