"""What asks subrequests: `auth_request`, `mirror`, `add_before_body` and `add_after_body`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features import addition, auth_request, mirror
from portico.http.errors import HTTPError
from portico.http.response import EMPTY, Response

MakeSite = Callable[[str], Site]
ASKING = (*FEATURES[:3], auth_request.FEATURE, mirror.FEATURE, addition.FEATURE, *FEATURES[3:])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSite]:
    made: list[Site] = []

    def site(text: str) -> Site:
        made.append(Site(text, tmp_path, ASKING))
        return made[-1]

    (tmp_path / "html").mkdir()
    for name in ("a.html", "header.html", "footer.html", "a.txt"):
        (tmp_path / "html" / name).write_text(f"<{name}>")
    yield site
    for one in made:
        one.close()


def refusal(text: str, directory: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Site(text, directory, ASKING).close()
    return caught.value.message


# -- auth_request


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        ("return 200;", 200), ("return 204;", 200), ("return 299;", 200),
        ("return 401;", 401), ("return 403;", 403),
        ("return 300;", 500), ("return 302 /login;", 500), ("return 404;", 500), ("return 500;", 500), ("return 400;", 500),
        ("return 100;", 500),
    ],
)  # fmt: skip
def test_the_verdict(make: MakeSite, verdict: str, status: int) -> None:
    site = make(f"location / {{ auth_request /auth; }} location = /auth {{ {verdict} }}")
    answer = site.ask("/a.html")
    assert answer.status == status
    assert (b"<a.html>" in answer.body) == (status == 200)
    if status == 500:
        assert "auth request unexpected status: " in site.log()


def test_a_401_brings_its_challenges_along() -> None:
    """RFC 9110 section 11.6.1: without them the client would not know how to ask; all other fields stay here."""
    refused = Response(401, EMPTY)
    refused.fields = [(b"WWW-Authenticate", b"Basic"), (b"X-Other", b"y"), (b"www-authenticate", b"Bearer")]
    with pytest.raises(HTTPError) as caught:
        auth_request.AuthRequestStep(b"/a", [])._verdict(refused)
    assert (caught.value.status, caught.value.fields) == (401, (refused.fields[0], refused.fields[2]))


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ("auth_request_set $who $uri;", b"/auth"),  # the value is the subrequest's
        ("auth_request_set $who $status;", b"204"),
        ("auth_request_set $who a; auth_request_set $who $who-b;", b"a-b"),  # in the order written
        ("auth_request_set $who $request_method;", b"GET"),
        ("auth_request_set $who [$args];", b"[]"),  # the arguments of the request are not those of the subrequest
        ("auth_request_set $who $http_x_user;", b"joe"),  # its fields are
    ],
)
def test_variables_of_the_subrequest(make: MakeSite, variables: str, shown: bytes) -> None:
    site = make(f"location / {{ auth_request /auth; {variables} add_header Who $who; }} location = /auth {{ return 204; }}")
    answer = site.ask("/a.html?x=1", "X-User: joe")
    assert answer.get("Who") == shown.decode()


def test_variables_are_set_although_it_refuses(make: MakeSite) -> None:
    site = make(
        "location / { auth_request /auth; auth_request_set $why no; error_page 403 /why; }"
        "location = /auth { return 403; } location = /why { return 200 $why; }"
    )
    assert site.ask("/a.html").body == b"no"


def test_subrequests_are_not_judged_again(make: MakeSite) -> None:
    """Else the check of the check would ask for ever."""
    site = make("auth_request /auth; location = /auth { return 204; }")
    assert site.ask("/a.html").status == 200


def test_off_undoes_it(make: MakeSite) -> None:
    site = make("auth_request /auth; location / { auth_request off; } location = /auth { return 403; }")
    assert site.ask("/a.html").status == 200


# -- mirror


SHOWS = (
    "error_log logs/error.log notice; rewrite_log on; set $shown $uri/$request_method/$args/$http_x_user; if ($shown ~ .) { }"
)


def mirrored(site: Site) -> list[str]:
    """URI, method, arguments and one field of every request that came to a location which `SHOWS`."""
    return [line.partition('matches "')[2].partition('"')[0] for line in site.log().splitlines()]


def test_mirrors_are_asked_and_their_answers_thrown_away(make: MakeSite) -> None:
    site = make(f"mirror /m; mirror /n; location /m {{ {SHOWS} return 500 x; }} location /n {{ {SHOWS} return 403; }}")
    answer = site.ask("/a.html?x=1", "X-User: joe")
    assert (answer.status, answer.body) == (200, b"<a.html>")
    assert mirrored(site) == ["/m/GET/x=1/joe", "/n/GET/x=1/joe"]
    background = site.stream.background
    assert background is not None and [task.done for task in background] == [True, True]


def test_a_mirror_has_no_mirrors(make: MakeSite) -> None:
    site = make(f"mirror /a.txt; location = /a.txt {{ {SHOWS} }}")
    site.ask("/a.html")
    background = site.stream.background
    assert background is not None and len(background) == 1
    assert len(mirrored(site)) == 1


@pytest.mark.parametrize("text", ["mirror off;", "mirror /m; location / { mirror off; }", ""])
def test_no_mirrors(make: MakeSite, text: str) -> None:
    site = make(text)
    site.ask("/a.html")
    assert site.stream.background is None


@pytest.mark.parametrize("text", ["mirror /m; mirror off;", "mirror off; mirror /m;", "mirror off; mirror off;"])
def test_off_stands_alone(tmp_path: Path, text: str) -> None:
    assert refusal(text, tmp_path) == '"mirror" directive is duplicate: "off" stands alone'


def test_a_mirror_that_asks_for_subrequests_without_end(make: MakeSite) -> None:
    site = make("location / { mirror /m; } location /m { auth_request /m; return 204; }")
    assert site.ask("/a.html").status == 200


# -- add_before_body, add_after_body


@pytest.mark.parametrize(
    ("text", "target", "body"),
    [
        ("add_before_body /header.html;", "/a.html", b"<header.html><a.html>"),
        ("add_after_body /footer.html;", "/a.html", b"<a.html><footer.html>"),
        ("add_before_body /header.html; add_after_body /footer.html;", "/a.html", b"<header.html><a.html><footer.html>"),
        ('add_before_body /header.html; location / { add_before_body ""; add_after_body /footer.html; }', "/a.html", None),
        ("add_before_body /header.html;", "/a.txt", b"<a.txt>"),  # text/html only
        ("addition_types text/plain; add_before_body /header.html;", "/a.txt", b"<header.html><a.txt>"),
        ("addition_types *; add_before_body /header.html;", "/a.txt", b"<header.html><a.txt>"),
        ("add_before_body /none.html;", "/a.html", None),
    ],
)
def test_additions(make: MakeSite, text: str, target: str, body: bytes | None) -> None:
    answer = make(f"types {{ text/html html; text/plain txt; }} {text}").ask(target)
    assert answer.status == 200
    if body is not None:
        assert answer.body == body
    elif "none" in text:
        assert answer.body.endswith(b"<a.html>") and b"404 Not Found" in answer.body  # its error page, as in nginx
    else:
        assert answer.body == b"<a.html><footer.html>"


def test_what_the_header_section_says_of_a_longer_body(make: MakeSite) -> None:
    answer = make("types { text/html html; } add_after_body /footer.html;").ask("/a.html")
    assert answer.get("Content-Length") is None and answer.get("Accept-Ranges") is None
    assert (answer.get("ETag") or "").startswith('W/"')
    part = make("types { text/html html; } add_after_body /footer.html;").ask("/a.html", "Range: bytes=0-1")
    assert (part.status, part.body) == (200, b"<a.html><footer.html>")


def test_only_a_200_gets_something_added(make: MakeSite) -> None:
    site = make("types { text/html html; } add_after_body /footer.html;")
    assert b"footer" not in site.ask("/none.html").body
    etag = site.ask("/a.html").get("ETag")
    assert site.ask("/a.html", f"If-None-Match: {etag}").body == b""


def test_what_is_added_gets_nothing_added(make: MakeSite) -> None:
    """The filters of a subrequest are its own location's; the same one would go on for ever."""
    site = make("types { text/html html; } location / { add_after_body /footer.html; } location = /footer.html { }")
    assert site.ask("/a.html").body == b"<a.html><footer.html>"
