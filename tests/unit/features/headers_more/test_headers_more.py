"""`more_set_headers`, `more_clear_headers`, `more_set_input_headers`, `more_clear_input_headers`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Answer, Site

from portico.config.diagnostics import ConfigError
from portico.features import limit_except
from portico.features.auth_basic import feature as auth_basic
from portico.features.headers_more import feature as headers_more
from portico.http.server.http1.output import beginning_of
from portico.http.server.http1.prefixes import Prefixes

Make = Callable[..., Site]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a site of the text of a server and of an http block, with some files."""
    (tmp_path / "html" / "dir").mkdir(parents=True)
    (tmp_path / "html" / "a.txt").write_text("hello")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "users").write_text("anna:{PLAIN}secret\n")
    sites: list[Site] = []

    def site(text: str, http: str = "") -> Site:
        first = FEATURES.index(next(each for each in FEATURES if each.name == "http_rewrite"))
        features = (
            limit_except.FEATURE, *FEATURES[: first + 1], headers_more.FEATURE, auth_basic.FEATURE, *FEATURES[first + 1 :]
        )  # fmt: skip
        made = Site(text, tmp_path, features, http)
        sites.append(made)
        return made

    yield site
    for made in sites:
        made.close()


def start_of(answer: Answer) -> bytes:
    """The status line and the lines Server and Date."""
    return beginning_of(answer.request, answer.response, answer.request.location.core, Prefixes(answer.request.reactor))


def mistake(make: Make, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make(text)
    return caught.value


# -- responses


@pytest.mark.parametrize(
    ("lines", "name", "values"),
    [
        ("more_set_headers 'X: 1';", "X", ["1"]),
        ("more_set_headers 'X:1';", "X", ["1"]),
        ("more_set_headers 'X 1';", "X", ["1"]),
        ("more_set_headers 'X: $arg_v';", "X", ["var"]),
        ("more_set_headers 'X: 1' 'X: 2';", "X", ["2"]),
        ("more_set_headers 'X: 1'; more_set_headers 'x: 2';", "X", ["2"]),
        ("more_set_headers -a 'X: 1'; more_set_headers -a 'X: 2';", "X", ["1", "2"]),
        ("more_set_headers -a 'X: ';", "X", []),
        ("more_set_headers 'X: 1'; more_set_headers 'X: ';", "X", []),
        ("more_set_headers 'X: 1'; more_set_headers X;", "X", []),
        ("more_set_headers 'X: 1'; more_set_headers 'X: $arg_none';", "X", []),
        ("more_set_headers 'X: 1'; more_clear_headers X;", "X", []),
        ("more_set_headers 'X: 1'; more_clear_headers 'X: ignored';", "X", []),
        ("more_clear_headers X; more_set_headers 'X: 1';", "X", ["1"]),
        ("more_set_headers 'X-A: 1' 'X-B: 2'; more_clear_headers 'X-*';", "X-B", []),
        ("more_set_headers 'X-A: 1' 'X-B: 2' 'Y: 3'; more_set_headers 'X-*: v';", "X-A", ["v"]),
        ("more_set_headers 'X-A: 1' 'X-B: 2' 'Y: 3'; more_set_headers 'X-*: v';", "X-B", []),
        ("more_set_headers 'X-*: v';", "X-*", []),
        ("more_set_headers -s 404 'X: 1';", "X", []),
        ("more_set_headers -s '404 200' 'X: 1';", "X", ["1"]),
        ("more_set_headers -s 404 -s 200 'X: 1';", "X", ["1"]),
        ("more_set_headers -t text/html 'X: 1';", "X", []),
        ("more_set_headers -t 'text/html text/plain' 'X: 1';", "X", ["1"]),
        ("more_set_headers -t 'text/html;text/plain' -s 200 'X: 1';", "X", ["1"]),
        ("more_set_headers 'Content-Type: a/b'; more_set_headers -t a/b 'X: 1';", "X", ["1"]),
        ("more_set_headers 'Content-Type: a/b';", "Content-Type", ["a/b"]),
        ("more_clear_headers Content-Type;", "Content-Type", []),
        ("more_clear_headers Last-Modified;", "Last-Modified", []),
        ("more_set_headers 'Last-Modified: now';", "Last-Modified", ["now"]),
        ("more_clear_headers ETag;", "ETag", []),
        ("more_clear_headers 'E*';", "ETag", []),
        ("more_set_headers 'ETag: \"x\"';", "ETag", ['"x"']),
        ("more_clear_headers Accept-Ranges;", "Accept-Ranges", []),
        ("more_set_headers 'Accept-Ranges: none';", "Accept-Ranges", ["none"]),
        ("more_set_headers 'Accept-Ranges: bytes';", "Accept-Ranges", ["bytes"]),
        ("more_set_headers 'Cache-Control: no-store';", "Cache-Control", ["no-store"]),
        ("add_header X later; more_set_headers 'X: 1';", "X", ["1", "later"]),
        ("add_header X later; more_clear_headers X;", "X", ["later"]),
    ],
)
def test_fields_of_a_file(make: Make, lines: str, name: str, values: list[str]) -> None:
    answer = make(f"default_type text/plain; location / {{ {lines} }}").ask("/a.txt?v=var")
    assert (answer.status, answer.all(name), answer.body) == (200, values, b"hello")
    assert answer.get("Content-Length") == "5"


@pytest.mark.parametrize(
    ("lines", "server", "has_date"),
    [
        ("more_set_headers 'Server: mine';", b"Server: mine\r\n", True),
        ("more_set_headers 'Server: $arg_v';", b"Server: var\r\n", True),
        ("more_clear_headers Server;", b"", True),
        ("more_clear_headers Server Date;", b"", False),
        ("more_clear_headers Date;", b"Server: portico", False),
    ],
)
@pytest.mark.parametrize("target", ["/a.txt", "/nowhere", "/dir", "/text"])
def test_server_and_date(make: Make, lines: str, server: bytes, has_date: bool, target: str) -> None:
    answer = make(f"{lines} location /text {{ return 403 no; }}").ask(f"{target}?v=var")
    start = start_of(answer)
    assert server in start if server else b"Server:" not in start
    assert (b"\r\nDate: " in start) == has_date
    plain = make("location /text { return 403 no; }").ask(f"{target}?v=var")
    assert answer.fields == plain.fields


def test_errors_have_them_and_may_be_the_only_ones(make: Make) -> None:
    site = make("more_set_headers -s '401 404' 'X: $status'; location /in { auth_basic x; auth_basic_user_file users; }")
    assert site.ask("/nowhere").get("X") == "404"
    assert site.ask("/in").get("X") == "401"
    assert site.ask("/a.txt").get("X") is None
    made = make("more_clear_headers WWW-Authenticate; location /in { auth_basic x; auth_basic_user_file users; }")
    assert made.ask("/in").get("WWW-Authenticate") is None


def test_what_is_set_is_seen_on_an_error_page(make: Make) -> None:
    site = make("error_page 404 /a.txt; location / { more_set_headers -s 404 'X: 1'; }")
    assert (site.ask("/nowhere").status, site.ask("/nowhere").get("X")) == (404, "1")


def test_a_response_that_has_not_changed_has_a_status_of_its_own(make: Make) -> None:
    site = make("more_set_headers -s 304 'X: 1';")
    tag = site.ask("/a.txt").get("ETag")
    answer = site.ask("/a.txt", f"If-None-Match: {tag}")
    assert (answer.status, answer.get("X")) == (304, "1")


def test_redirects_can_be_changed(make: Make) -> None:
    assert make("more_set_headers 'Location: https://other.example/';").ask("/dir").get("Location") == "https://other.example/"
    assert make("more_set_headers 'Location: /x';").ask("/dir").get("Location") == "http://example.com/x"
    assert make("more_clear_headers 'Loc*';").ask("/dir").get("Location") is None


def test_no_range_is_served_without_accept_ranges(make: Make) -> None:
    assert make("more_clear_headers Accept-Ranges;").ask("/a.txt", "Range: bytes=0-1").status == 200
    assert make("").ask("/a.txt", "Range: bytes=0-1").status == 206


def test_a_level_runs_the_lines_around_it_first(make: Make) -> None:
    site = make(
        "more_set_headers 'X: server' 'S: 1';"
        "location / { more_set_headers 'X: location'; if ($arg_i) { more_set_headers 'X: if'; } }",
        "more_set_headers 'X: http' 'H: 1';",
    )
    plain, inner = site.ask("/a.txt"), site.ask("/a.txt?i=1")
    assert [plain.all("X"), plain.get("S"), plain.get("H")] == [["location"], "1", "1"]
    assert [inner.all("X"), inner.get("S"), inner.get("H")] == [["if"], "1", "1"]


@pytest.mark.parametrize("lines", ["more_set_headers 'X: a$uri';", "more_set_headers 'Server: $uri';", "more_set_headers -a X:$uri;"])
def test_no_value_begins_another_field(make: Make, lines: str) -> None:
    site = make(f"{lines} location / {{ return 200 x; }}")
    answer = site.ask("/a%0d%0aSet-Cookie:%20evil=1?v=%0d%0aY:%201")
    text = start_of(answer) + b"\r\n".join(f"{key}: {value}".encode() for key, value in answer.fields)
    assert b"\nSet-Cookie" not in text and b"\0" not in text and answer.get("Y") is None and answer.get("Set-Cookie") is None


@pytest.mark.parametrize("directive", ["more_set_headers", "more_clear_headers"])
@pytest.mark.parametrize("name", ["Connection", "content-length", "Transfer-Encoding", "Keep-Alive"])
def test_the_frame_of_a_response_cannot_be_changed(make: Make, directive: str, name: str) -> None:
    assert mistake(make, f"{directive} '{name}: x';").message == f'"{name}" cannot be changed'


# -- requests

SHOWN = 'return 200 "<$http_x><$http_x_a><$host><$http_host><$http_content_type>";'


@pytest.mark.parametrize(
    ("lines", "fields", "shown"),
    [
        ("more_set_input_headers 'X: 1';", "", "<1><><example.com><example.com><>"),
        ("more_set_input_headers 'X: 1';", "x: 5\nX: 6", "<1><><example.com><example.com><>"),
        ("more_set_input_headers 'X: 1' 'X: 2';", "", "<2><><example.com><example.com><>"),
        ("more_set_input_headers 'X: $http_x_a$arg_q';", "X-A: 7", "<7><7><example.com><example.com><>"),
        ("more_set_input_headers -r 'X: 1';", "", "<><><example.com><example.com><>"),
        ("more_set_input_headers -r 'X: 1';", "X: 5", "<1><><example.com><example.com><>"),
        ("more_set_input_headers 'X: ';", "X: 5", "<><><example.com><example.com><>"),
        ("more_set_input_headers 'X: $arg_none';", "X: 5", "<><><example.com><example.com><>"),
        ("more_clear_input_headers X;", "X: 5\nX: 6\nX-A: 7", "<><7><example.com><example.com><>"),
        ("more_clear_input_headers 'X*';", "X: 5\nX-A: 7", "<><><example.com><example.com><>"),
        ("more_clear_input_headers 'H*';", "X: 5", "<5><><example.com><example.com><>"),
        ("more_set_input_headers 'Host: Other.example:81';", "", "<><><other.example><Other.example:81><>"),
        ("server_name own.example; more_clear_input_headers Host;", "", "<><><own.example><><>"),
        ("more_set_input_headers -t text/plain 'X: 1';", "", "<><><example.com><example.com><>"),
        ("more_set_input_headers -t text/plain 'X: 1';", "Content-Type: text/plain", "<1><><example.com><example.com><text/plain>"),
        ("more_set_input_headers 'Content-Type: a'; more_set_input_headers -t a 'X: 1';", "", "<1><><example.com><example.com><a>"),
        ("more_set_input_headers 'X_A: 1';", "", "<><1><example.com><example.com><>"),
    ],
)
def test_fields_of_requests(make: Make, lines: str, fields: str, shown: str) -> None:
    text = f"{lines} location / {{ error_page 418 /shown; set $q 1; try_files /none =418; }} location /shown {{ {SHOWN} }}"
    # `return` ends the rewrite phase before its end, where these lines run: what they set is seen by the page of an error.
    assert make(text).ask("/", fields).body.decode() == shown


def test_they_run_behind_the_script_of_a_location_and_of_its_if(make: Make) -> None:
    text = """
    location / { set $v outer; more_set_input_headers 'X: $v'; if ($arg_i) { set $v inner; more_set_input_headers 'X-A: $v'; }
        add_header Seen "$http_x $http_x_a"; }
    location /except { more_set_input_headers 'X: 1'; limit_except GET { auth_basic off; } add_header Seen $http_x always; }
    location /away { more_set_input_headers 'X: kept'; rewrite ^ /there last; }
    location /there { add_header Seen $http_x; alias html/a.txt; }
    """
    site = make(text)
    assert site.ask("/a.txt").get("Seen") == "outer "
    assert site.ask("/a.txt?i=1").get("Seen") == "inner inner"
    assert site.ask("/except").get("Seen") == site.ask("/except", method="POST").get("Seen") == "1"
    assert site.ask("/away").get("Seen") == "kept"


def test_a_section_that_others_share_stays_as_it_is(make: Make) -> None:
    site = make("more_set_input_headers 'X: $arg_v' 'Host: other'; add_header Seen $http_x;")
    request = site.request("/a.txt?v=1", "X: 5\nAccept: a")
    before = request.fields
    names, values, first = list(before.names), list(before.values), dict(before.first)
    location = request.server.locations.find(request.uri).value
    for handler in location.rewrites:
        handler.handle(request)
    assert request.fields is not before and request.fields.get(b"x") == b"1" and request.memo is None
    assert (before.names, before.values, before.first, before.host) == (names, values, first, b"example.com")


def test_what_does_not_change_costs_no_new_section(make: Make) -> None:
    site = make("more_clear_input_headers X; more_set_input_headers -r 'Y: 1';")
    request = site.request("/a.txt", "Accept: a")
    before = request.fields
    for handler in request.server.locations.find(request.uri).value.rewrites:
        handler.handle(request)
    assert request.fields is before


def test_the_frame_of_a_request_is_as_it_was_read(make: Make) -> None:
    site = make("more_clear_input_headers 'C*' 'T*' Upgrade; more_set_input_headers 'X: 1' 'Y: 2';")
    request = site.request("/a.txt", "Content-Length: 3\nConnection: close, x, z, upgrade\nUpgrade: websocket\nCookie: a", "POST")
    for handler in request.server.locations.find(request.uri).value.rewrites:
        handler.handle(request)
    fields = request.fields
    assert (fields.content_length, fields.chunked, fields.close, fields.upgrade) == (3, False, True, b"")
    assert fields.get(b"content-length") == b"3" and fields.get(b"connection") is not None and fields.get(b"cookie") is None
    assert fields.connection_tokens == {b"z"}  # X is not the client's any more: it cannot have it removed


@pytest.mark.parametrize("directive", ["more_set_input_headers", "more_clear_input_headers"])
@pytest.mark.parametrize("name", ["Connection", "CONTENT-LENGTH", "Transfer-Encoding"])
def test_the_frame_of_a_request_cannot_be_changed(make: Make, directive: str, name: str) -> None:
    assert mistake(make, f"{directive} '{name}: 1';").message == f'"{name}" cannot be changed'


@pytest.mark.parametrize("host", ["a%20b", "a/b", "a..b", "a:b", "[", "a%0d%0aX: 1"])
def test_a_host_that_is_none_ends_the_request(make: Make, host: str) -> None:
    site = make("location / { set $h $uri; rewrite (?s)^/(.*)$ /$1 break; set $h $1; more_set_input_headers 'Host: $h'; }")
    assert site.ask(f"/{host}").status == 500
    assert "invalid host" in site.log()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("more_set_headers -x 'X: 1';", 'invalid option name: "-x"'),
        ("more_set_headers -r 'X: 1';", 'invalid option name: "-r"'),
        ("more_clear_headers -a X;", 'invalid option name: "-a"'),
        ("more_set_input_headers -s 404 'X: 1';", 'invalid option name: "-s"'),
        ("more_clear_input_headers -r X;", 'invalid option name: "-r"'),
        ("more_set_headers 'X: 1' -t;", "option -t takes an argument"),
        ("more_set_headers -s 4x4 'X: 1';", 'invalid status "4x4" in the list "4x4"'),
        ("more_set_headers -s 404;", "no header field is named"),
        ("more_set_headers ': x';", 'invalid name of a header field ""'),
        ("more_set_headers '*: x';", 'invalid name of a header field "*"'),
        ("more_set_headers 'a(b): x';", 'invalid name of a header field "a(b)"'),
        ('more_set_headers "a\x01b: x";', 'invalid name of a header field "a\x01b"'),
        ("more_set_headers 'X: $no_such_variable';", 'unknown "no_such_variable" variable'),
        ("more_set_input_headers 'X-*: 1';", 'a value for all fields "X-*"'),
        ("if ($uri) { more_set_headers 'X: 1'; }", '"more_set_headers" directive is not allowed here'),
    ],
)
def test_mistakes(make: Make, line: str, message: str) -> None:
    assert mistake(make, line).message == message
