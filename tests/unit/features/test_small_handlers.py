"""`empty_gif`, `random_index`, `limit_except`: what a request gets of them, and what they leave to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features import empty_gif, limit_except, random_index
from portico.features.empty_gif import GIF

MakeSite = Callable[[str], Site]
SMALL = (limit_except.FEATURE, *FEATURES[:-2], random_index.FEATURE, empty_gif.FEATURE, *FEATURES[-2:])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSite]:
    made: list[Site] = []

    def site(text: str) -> Site:
        made.append(Site(text, tmp_path, SMALL))
        return made[-1]

    yield site
    for one in made:
        one.close()


def refusal(text: str, directory: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Site(text, directory, SMALL).close()
    return caught.value.message


# -- empty_gif


def test_the_picture_is_a_gif_of_one_transparent_pixel() -> None:
    """The parts of GIF89a in order."""
    assert GIF[:6] == b"GIF89a"
    assert (int.from_bytes(GIF[6:8], "little"), int.from_bytes(GIF[8:10], "little")) == (1, 1)  # the screen
    assert GIF[10] & 0x80 and 2 << (GIF[10] & 7) == 2  # a table of two colours follows
    assert GIF[19:22] == b"\x21\xf9\x04" and GIF[22] & 1  # a graphic control extension: there is a transparent colour,
    assert GIF[25] == 1  # the second
    assert GIF[27:28] == b"\x2c" and GIF[-1:] == b"\x3b"  # an image, and the trailer
    assert len(GIF) == 43


@pytest.mark.parametrize(
    ("method", "fields", "status", "body", "length"),
    [
        ("GET", "", 200, GIF, "43"),
        ("HEAD", "", 200, b"", "43"),
        ("POST", "", 405, None, None),
        ("PUT", "", 405, None, None),
        ("GET", "If-Modified-Since: Mon, 28 Sep 1970 06:00:00 GMT", 304, b"", None),
        ("GET", "If-Modified-Since: Mon, 28 Sep 1970 05:59:59 GMT", 200, GIF, "43"),
        ("GET", "Range: bytes=0-1", 200, GIF, "43"),  # no parts, as nginx
    ],
)
def test_empty_gif(make: MakeSite, method: str, fields: str, status: int, body: bytes | None, length: str | None) -> None:
    answer = make("location / { empty_gif; }").ask("/any/path", fields, method)
    assert answer.status == status
    if body is not None:
        assert answer.body == body
        assert answer.get("Content-Length") == length
        assert answer.get("Last-Modified") == "Mon, 28 Sep 1970 06:00:00 GMT"
    if status == 200:
        assert answer.get("Content-Type") == "image/gif"


def test_empty_gif_is_not_inherited(make: MakeSite) -> None:
    assert make("location / { empty_gif; location /in/ { } }").ask("/in/x").status == 404


# -- random_index


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    folder = tmp_path / "html" / "q"
    (folder / "folder").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "c d?.txt", ".hidden"):
        (folder / name).write_text(name)
    (folder / "link.txt").symlink_to("a.txt")
    (folder / "broken").symlink_to("nowhere")
    (folder / "to_folder").symlink_to("folder")
    return folder


def test_one_of_the_files_of_a_directory(make: MakeSite, quotes: Path) -> None:
    """Each of them in turn or not, but no directory, nothing that begins with a dot, and no link that leads to neither."""
    site = make("location /q/ { random_index on; }")
    answers = [site.ask("/q/") for _ in range(200)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} == {b"a.txt", b"b.txt", b"c d?.txt"}  # link.txt holds "a.txt"
    assert {answer.request.uri for answer in answers} == {b"/q/a.txt", b"/q/b.txt", b"/q/c d?.txt", b"/q/link.txt"}


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/q/a.txt", "GET", 200),
        ("/q/folder/", "GET", 403),  # nothing in it: `index` is asked, and refuses
        ("/none/", "GET", 404),
        ("/q/a.txt/", "GET", 404),
        ("/q/", "PUT", 405),
        ("/q/", "HEAD", 200),
        ("/" + "x" * 300 + "/", "GET", 404),
    ],
)
def test_where_there_is_none(make: MakeSite, quotes: Path, target: str, method: str, status: int) -> None:
    assert make("location / { random_index on; }").ask(target, "", method).status == status


def test_the_request_goes_through_the_locations_again(make: MakeSite, quotes: Path) -> None:
    site = make("location /q/ { random_index on; } location ~ [.]txt$ { return 200 other; }")
    assert site.ask("/q/").body == b"other"


# -- limit_except

OTHER = 'add_header Where inner;'


@pytest.mark.parametrize(
    ("methods", "method", "applies"),
    [
        ("GET", "GET", False),
        ("GET", "HEAD", False),
        ("GET", "POST", True),
        ("HEAD", "HEAD", False),
        ("HEAD", "GET", True),  # it goes the one way only
        ("get post", "POST", False),
        ("POST", "GET", True),
        ("POST", "OPTIONS", True),
        ("POST", "BREW", True),
        ("POST", "post", True),  # the methods of requests are not in whatever case
    ],
)
def test_the_block_applies_to_all_other_methods(make: MakeSite, methods: str, method: str, applies: bool) -> None:
    site = make(f"location / {{ add_header Where outer always; limit_except {methods} {{ }} location /in {{ return 204; }} }}")
    request = site.request("/", method=method)
    script = site.plan.servers[0].locations.find(b"/").value.rewrites[0]
    before = site.plan.servers[0].locations.find(b"/").value
    request.location = before
    assert script.handle(request) is None
    assert (request.location is not before) == applies


def test_rewriting_of_the_location_around_does_not_concern_it(make: MakeSite) -> None:
    site = make("location / { limit_except GET { } return 200 outer; }")
    assert site.ask("/").body == b"outer"
    assert site.ask("/", method="DELETE").status == 405  # there is only the file system left


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("location / { limit_except BREW { } }", 'invalid method "BREW"'),
        ("location / { limit_except GET CONNECT { } }", 'invalid method "CONNECT"'),
        ("location / { limit_except TRACE { } }", 'invalid method "TRACE"'),
    ],
)
def test_methods_that_cannot_be_named(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(text, tmp_path) == message
