"""Which responses are compressed at all, and which codings are worth it for their length (ngx_http_gzip_header_filter)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features.compression import feature as compression
from portico.features.compression.codings import gzip_coding
from portico.features.compression.filter import Offer, Offers
from portico.http.content.media_types import MediaTypes

MakeSite = Callable[[str], Site]
WITH_GZIP = (*FEATURES, compression.GZIP, compression.FEATURE)
TAKES = "Accept-Encoding: gzip"
HTML = MediaTypes(frozenset((b"text/html",)))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSite]:
    made: list[Site] = []

    def site(text: str) -> Site:
        made.append(Site(f"gzip on; gzip_vary on; default_type text/html; {text}", tmp_path, WITH_GZIP))
        return made[-1]

    yield site
    for one in made:
        one.close()


def offers(*least: int) -> Offers:
    return Offers([Offer(gzip_coding(1), HTML, length) for length in least])


@pytest.mark.parametrize(
    ("least", "length", "left"),
    [
        ([], 100, []), ([20], 20, [20]), ([20], 19, []), ([20], 0, []),
        ([20], -1, [20]),  # nobody knows how long it is: it is worth it
        ([20, 100], 50, [20]), ([100, 20], 50, [20]),
        ([20, 100], 20, [20]), ([20, 100], 100, [20, 100]), ([20, 100], -1, [20, 100]), ([0], 0, [0]),
    ],
)  # fmt: skip
def test_the_least_length(least: list[int], length: int, left: list[int]) -> None:
    assert [offer.min_length for offer in offers(*least).for_length(length).offers] == left


def test_without_gzip_nothing_is_left_of_gzip() -> None:
    assert offers(20).without_gzip().offers == []


@pytest.mark.parametrize(
    ("status", "compressed"),
    [(200, True), (403, True), (404, True), (201, False), (203, False), (206, False), (400, False), (410, False), (500, False)],
)
def test_the_statuses(make: MakeSite, status: int, compressed: bool) -> None:
    answer = make(f"return {status} {'x' * 100};").ask("/", TAKES)
    assert answer.status == status
    assert (answer.get("Content-Encoding") == "gzip") == compressed
    assert (answer.get("Vary") == "Accept-Encoding") == compressed


@pytest.mark.parametrize(
    ("fields", "asked", "compressed"),
    [
        ("", "", True),
        ("add_header Cache-Control no-transform;", "", False),
        ("", "Cache-Control: no-transform", False),
        ("", "Cache-Control: no-cache, No-Transform", False),
        ("", "Cache-Control: no-transformation", True),
        ("types { } default_type text/plain;", "", False),
        ("types { } default_type text/plain; gzip_types text/plain;", "", True),
        ("types { } default_type text/plain; gzip_types *;", "", True),
        ("gzip_min_length 100;", "", True),
        ("gzip_min_length 101;", "", False),
        ("gzip off;", "", False),
        ("", "Via: 1.1 proxy", False),  # `gzip_proxied off`
    ],
)
def test_the_conditions(make: MakeSite, fields: str, asked: str, compressed: bool) -> None:
    site = make(f"location / {{ {fields} return 200 {'x' * 100}; }}")
    answer = site.ask("/", f"{TAKES}\n{asked}" if asked else TAKES)
    assert (answer.get("Content-Encoding") == "gzip") == compressed
    assert len(answer.body) < 100 or not compressed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gzip_buffers 4;", 'invalid number of arguments in "gzip_buffers" directive'),
        ("gzip_buffers 0 4k;", '"gzip_buffers" directive invalid value'),
        ("gzip_buffers 4 x;", '"gzip_buffers" directive invalid value'),
        ("gzip_min_length -1;", '"gzip_min_length" directive invalid value'),
        ("compression_cache maybe;", '"compression_cache" directive invalid value'),
        ("compression_cache 0;", '"compression_cache" directive invalid value'),
        ("compression_cache -1m;", '"compression_cache" directive invalid value'),
    ],
)
def test_mistakes(make: MakeSite, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(f"location / {{ {text} }}")
    assert caught.value.message == message
