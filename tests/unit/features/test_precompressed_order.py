"""Which compressed files are looked for, in which order, and what is left to the handler of plain files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.codec.accept_encoding import BROTLI, GZIP, ZSTD
from portico.features.compression import feature as compression
from portico.features.static.handler import StaticHandler
from portico.features.static.precompressed import Form, PrecompressedHandler
from portico.http.compression import AcceptedCodings, CompressionRules
from portico.http.errors import HTTPError
from portico.http.request import Request
from portico.http.response import Response
from portico.http.subrequest import subrequest_of

FORMS = {"br": (BROTLI, b".br"), "gz": (GZIP, b".gz"), "zst": (ZSTD, b".zst")}


class Folder:
    """A folder of files, each of which contains its own name, and handlers for it."""

    def __init__(self, directory: Path) -> None:
        self.html = directory / "html"
        self.html.mkdir()
        self.site = Site("gzip_http_version 1.1;", directory, (*FEATURES, compression.GZIP, compression.FEATURE))

    def add(self, *names: str) -> None:
        for name in names:
            (self.html / name).write_text(name)

    def handler(self, *forms: str) -> PrecompressedHandler:
        """Return the handler of these forms in the server's order; "gz!": always."""
        location = self.site.plan.servers[0].fallback
        plain = location.handlers[-1]
        assert isinstance(plain, StaticHandler)
        listed = [Form(*FORMS[form.rstrip("!")], form.endswith("!")) for form in forms]
        return PrecompressedHandler(plain, listed, CompressionRules(location.scope), AcceptedCodings())

    def sent(self, handler: PrecompressedHandler, request: Request) -> tuple[str, bytes]:
        """Return the content of the file that is sent, and the content encoding."""
        response = handler.handle(request)
        assert isinstance(response, Response)
        text = response.body.take()
        response.body.close()
        assert text is not None
        encodings = [value for name, value in response.fields if name == b"Content-Encoding"]
        return text.decode(), b", ".join(encodings)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.site.close()


@pytest.mark.parametrize(
    ("forms", "accept", "expected"),
    [
        (("zst", "br", "gz"), "gzip, br, zstd", ("a.zst", b"zstd")),  # all the same to the client: the server's order
        (("gz", "br", "zst"), "gzip, br, zstd", ("a.gz", b"gzip")),
        (("zst", "br", "gz"), "gzip, br;q=0.9, zstd;q=0.8", ("a.gz", b"gzip")),  # the client's weights go first
        (("zst", "br", "gz"), "gzip;q=0", ("a", b"")),
        (("zst", "br", "gz!"), "", ("a.gz", b"gzip")),  # always: for those too that do not accept it
        (("gz!", "br"), "br", ("a.br", b"br")),  # what the client accepts goes before what is for all
    ],
)
def test_the_order_of_the_forms(folder: Folder, forms: tuple[str, ...], accept: str, expected: tuple[str, bytes]) -> None:
    folder.add("a", "a.gz", "a.br", "a.zst")
    handler = folder.handler(*forms)
    request = folder.site.request("/a", f"Accept-Encoding: {accept}" if accept else "")
    assert folder.sent(handler, request) == expected


def test_a_form_whose_file_is_missing_gives_way_to_the_next_one(folder: Folder) -> None:
    folder.add("a", "a.gz")
    request = folder.site.request("/a", "Accept-Encoding: gzip, br, zstd")
    assert folder.sent(folder.handler("zst", "br", "gz"), request) == ("a.gz", b"gzip")


def test_a_subrequest_gets_only_what_is_for_all(folder: Folder) -> None:
    """nginx: r != r->main is never encoded for the client, whatever the client accepts."""
    folder.add("a", "a.gz", "a.br")
    parent = folder.site.request("/page", "Accept-Encoding: br, gzip")
    part = subrequest_of(parent, b"/a", b"")
    assert folder.sent(folder.handler("br", "gz"), part) == ("a", b"")
    part = subrequest_of(parent, b"/a", b"")
    assert folder.sent(folder.handler("br", "gz!"), part) == ("a.gz", b"gzip")


def test_only_get_and_head_look_for_compressed_files(folder: Folder) -> None:
    folder.add("a.gz")
    with pytest.raises(HTTPError) as refused:  # the plain handler's response to POST, as without gzip_static
        folder.handler("gz!").handle(folder.site.request("/none", method="DELETE"))
    assert refused.value.status == 405


def test_a_uri_that_ends_with_a_slash_is_left_to_the_plain_handler(folder: Folder) -> None:
    folder.add(".gz")
    with pytest.raises(HTTPError) as refused:
        folder.handler("gz!").handle(folder.site.request("/"))
    assert refused.value.status == 403


def test_the_description_names_the_suffixes(folder: Folder) -> None:
    assert folder.handler("br", "gz").describe().endswith(", or the same with .br .gz")
