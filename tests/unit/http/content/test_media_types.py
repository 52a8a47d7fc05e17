"""Lists of media types, and the charset of a Content-Type."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.config.load import Load
from portico.config.reader import read_text
from portico.http.content.media_types import MediaTypes, media_types, split_charset


@pytest.mark.parametrize(
    ("content_type", "media", "charset"),
    [
        (b"text/html", b"text/html", b""),
        (b"text/html; charset=utf-8", b"text/html", b"utf-8"),
        (b"text/html;charset=utf-8", b"text/html", b"utf-8"),
        (b"text/html;   CHARSET=UTF-8", b"text/html", b"UTF-8"),
        (b'text/html; charset="utf-8"', b"text/html", b"utf-8"),
        (b"text/html; level=1; charset=koi8-r", b"text/html; level=1", b"koi8-r"),
        (b"text/html; charset=a; level=1", b"text/html", b"a; level=1"),  # all that follows, as nginx takes it
        (b"text/html; xcharset=a", b"text/html; xcharset=a", b""),
        (b"text/html; charset", b"text/html; charset", b""),
        (b"text/html; charset=", b"text/html", b""),
        (b"text/html;", b"text/html;", b""),
        (b"text/html;;charset=a", b"text/html;", b"a"),
        (b'text/html; charset="', b"text/html", b""),
        (b"; charset=a", b"", b"a"),
        (b"", b"", b""),
    ],
)
def test_the_charset(content_type: bytes, media: bytes, charset: bytes) -> None:
    """ngx_http_upstream_copy_content_type."""
    assert split_charset(content_type) == (media, charset)


def test_many_parameters_take_no_more_than_their_length() -> None:
    assert split_charset(b"a" + b"; " * 100_000) == (b"a" + b"; " * 100_000, b"")


@pytest.mark.parametrize(
    ("content_type", "included"),
    [
        (b"text/css", True),
        (b"TEXT/CSS", True),
        (b"text/css; charset=utf-8", True),
        (b"text/css;charset=utf-8", True),
        (b"text/css; level=1", False),  # any other parameter makes it another type (ngx_http_test_content_type)
        (b"text/cssx", False),
        (b"text/cs", False),
        (b" text/css", False),
        (b"", False),
    ],
)
def test_a_set(content_type: bytes, included: bool) -> None:
    assert MediaTypes(frozenset((b"text/css",))).has(content_type) == included


def test_every_type_includes_none() -> None:
    every = MediaTypes(frozenset(), every=True)
    assert every.has(b"x/y; a=b") and every.has(b"")


@pytest.mark.parametrize(
    ("text", "types", "every", "duplicate"),
    [
        ("text/css", {b"text/html", b"text/css"}, False, None),
        ("Text/CSS a/b", {b"text/html", b"text/css", b"a/b"}, False, None),
        ("*", {b"text/html"}, True, None),
        ("text/css *", {b"text/html", b"text/css"}, True, None),
        ("text/html", {b"text/html"}, False, "text/html"),
        ("a/b A/B", {b"text/html", b"a/b"}, False, "A/B"),
    ],
)
def test_a_directive(tmp_path: Path, text: str, types: set[bytes], every: bool, duplicate: str | None) -> None:
    """ngx_http_types_slot: text/html is always one of them, and named again it is a warning."""
    load = Load(str(tmp_path), "conf")
    (statement,) = read_text(f"gzip_types {text};", "conf", load)
    found = media_types(statement)
    assert (found.types, found.every) == (types, every)
    told = [warning.message for warning in load.diagnostics.warnings]
    assert told == ([] if duplicate is None else [f'duplicate MIME type "{duplicate}"'])
