"""What all compressed answers share: Accept-Encoding read once, Vary said once, old browsers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

from portico.http.compression import AcceptedCodings, has_token, say_vary
from portico.http.finished import FinishedHead
from portico.http.response import BytesBody, Response
from portico.http.user_agent import is_msie6


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site("", tmp_path)
    yield made
    made.close()


def test_several_lines_are_one_list(site: Site) -> None:
    accepted = AcceptedCodings()
    request = site.request("/", "Accept-Encoding: br;q=0.5\nAccept: x\nAccept-Encoding: gzip;q=0.1")
    assert (accepted.of(request).weight(b"br"), accepted.of(request).weight(b"gzip")) == (500, 100)
    assert accepted.of(site.request("/")).choose((b"gzip",)) == -1


def test_a_value_is_read_once_and_few_are_remembered(site: Site) -> None:
    accepted = AcceptedCodings()
    usual = site.request("/", "Accept-Encoding: gzip, br")
    assert accepted.of(usual) is accepted.of(usual)
    long = site.request("/", f"Accept-Encoding: gzip, {'x, ' * 200}br")
    assert accepted.of(long) is not accepted.of(long)
    first = accepted.of(usual)
    for number in range(2000):
        accepted.of(site.request("/", f"Accept-Encoding: gzip, x{number}"))
    assert accepted.of(usual) is not first, "forgotten with all the others"


@pytest.mark.parametrize(
    ("said", "vary"),
    [
        ([], [b"Accept-Encoding"]),
        ([b"Origin"], [b"Origin", b"Accept-Encoding"]),
        ([b"Origin , ACCEPT-ENCODING"], [b"Origin , ACCEPT-ENCODING"]),
        ([b"Origin", b"accept-encoding"], [b"Origin", b"accept-encoding"]),
        ([b"*"], [b"*"]),
        ([b"X-Accept-Encoding"], [b"X-Accept-Encoding", b"Accept-Encoding"]),
    ],
)
def test_vary(said: list[bytes], vary: list[bytes]) -> None:
    response = Response(200, BytesBody(b""))
    response.fields = [(b"vary", value) for value in said]
    response.finished = FinishedHead([(b"X", b"y")])
    say_vary(response)
    assert [value for _, value in response.fields] == vary
    assert (response.finished is None) == (len(said) != len(vary))


def test_tokens() -> None:
    assert has_token([b"public", b"max-age=1, No-Transform "], b"no-transform")
    assert not has_token([b"no-transform-at-all", b'x="no-transform"', b"no-transform=1"], b"no-transform")


@pytest.mark.parametrize(
    ("agent", "old"),
    [
        (b"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", True),
        (b"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", False),
        (b"Mozilla/4.0 (compatible; MSIE 5.5; Windows; SV1)", True),
        (b"Mozilla/4.0 (compatible; MSIE 4.01; Windows 98)", True),
        (b"Mozilla/4.0 (compatible; MSIE 7.0; Windows)", False),
        (b"Mozilla/4.0 (compatible; MSIE 6.0; Windows) Opera 8", False),
        (b"MSIE 6", False),
        (b"MSIE 60.1", False),
        (b"", False),
    ],
)
def test_old_browsers(agent: bytes, old: bool) -> None:
    assert is_msie6(agent) is old
