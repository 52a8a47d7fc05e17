"""Decompression: the same result however the body is cut into pieces, and never without a bound."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.features.local_site import FEATURES, Site

from portico.features import gunzip
from portico.features.gunzip import GunzipBody, GunzipLimits
from portico.http.errors import BodyCutShort
from portico.http.response import Body, BytesBody, PartsBody

NO_LIMITS = GunzipLimits(4096, 0, 0)
USUAL = GunzipLimits(128 << 10, 200, 0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site("", tmp_path_factory.mktemp("site"), (*FEATURES, gunzip.FEATURE))
    yield made
    made.close()


def pieces_of(data: bytes, size: int) -> Body:
    parts: list[Body] = [BytesBody(data[start : start + size]) for start in range(0, len(data), size)]
    return PartsBody(parts)


def plain(site: Site, source: Body, limits: GunzipLimits = NO_LIMITS) -> bytes:
    body = GunzipBody(source, limits, site.request("/"))
    out = []
    while (data := body.take()) != b"":
        if data is not None:  # else others have their turn
            assert len(data) <= limits.piece
            out.append(data)
    assert body.take() == b""
    return b"".join(out)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.binary(max_size=300), st.integers(1, 50_000).map(bytes)), min_size=1, max_size=4),
    st.integers(1, 400),
    st.integers(1, 5000),
    st.integers(0, 9),
)
def test_pieces_do_not_matter(site: Site, members: list[bytes], size: int, piece: int, level: int) -> None:
    packed = b"".join(gzip.compress(member, level) for member in members)
    assert plain(site, pieces_of(packed, size), GunzipLimits(piece, 0, 0)) == b"".join(members)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(1, 50), st.data())
def test_what_is_cut_short_is_never_whole(site: Site, content: bytes, size: int, data: st.DataObject) -> None:
    packed = gzip.compress(content)
    end = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(BodyCutShort):
        plain(site, pieces_of(packed[:end], size))


def at_once(data: bytes) -> bytes:
    """The obvious way. Raises zlib.error and EOFError."""
    out = b""
    while data:
        decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
        out += decoder.decompress(data)
        if not decoder.eof:
            raise EOFError
        data = decoder.unused_data
    return out


HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
garbage = st.one_of(st.binary(min_size=1, max_size=200), st.binary(max_size=100).map(lambda tail: HEAD + tail))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage)
def test_whatever_comes(site: Site, garbage: bytes) -> None:
    try:
        expected = at_once(garbage)
    except (EOFError, zlib.error):
        with pytest.raises(BodyCutShort):
            plain(site, pieces_of(garbage, 7))
    else:
        assert plain(site, pieces_of(garbage, 7)) == expected


@pytest.mark.parametrize("tail", [b"\0\0\0", b"garbage", b"\x1f\x8b"])
def test_what_follows_must_be_gzip(site: Site, tail: bytes) -> None:
    with pytest.raises(BodyCutShort):
        plain(site, BytesBody(gzip.compress(b"hello") + tail))


def test_what_came_before_the_end_is_passed_on(site: Site) -> None:
    body = GunzipBody(BytesBody(gzip.compress(b"hello")[:-4]), USUAL, site.request("/"))
    assert body.take() == b"hello"
    with pytest.raises(BodyCutShort):
        body.take()
    assert "the compressed body is cut short" in site.log()


def test_a_bomb_is_cut(site: Site) -> None:
    """100 KB that would become 100 MB."""
    body = GunzipBody(BytesBody(gzip.compress(bytes(100_000_000))), USUAL, site.request("/"))
    delivered = 0
    with pytest.raises(BodyCutShort):
        while data := body.take():
            delivered += len(data)
    assert delivered <= (1 << 20) + USUAL.piece
    assert "(gunzip_max_ratio is 200)" in site.log()


def _gigabyte() -> bytes:
    """1 GB of zeros, nearly: a hundred times the same block, as to compress them all takes seconds. Its checksum is wrong."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(10_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + block * 100 + packer.flush() + bytes(8)


def test_a_bomb_that_waits_is_cut(site: Site) -> None:
    """What was long in coming does not count for what comes at the end, beyond the ratio."""
    honest = gzip.compress(b"".join(b"%d," % (number * 7919 % 100_003) for number in range(100_000)), 1)
    body = GunzipBody(pieces_of(honest + _gigabyte(), 60_000), USUAL, site.request("/"))
    delivered = 0
    with pytest.raises(BodyCutShort):
        while data := body.take():
            delivered += len(data)
    assert delivered <= len(honest) * 250


def test_memory_stays_flat(site: Site) -> None:
    packed = gzip.compress(bytes(50_000_000))
    body = GunzipBody(BytesBody(packed), GunzipLimits(128 << 10, 0, 0), site.request("/"))
    tracemalloc.start()
    try:
        total = 0
        while data := body.take():
            total += len(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 50_000_000
    assert peak < 2 << 20


def test_size(site: Site) -> None:
    packed = gzip.compress(bytes(5000))
    assert len(plain(site, BytesBody(packed), GunzipLimits(4096, 0, 5000))) == 5000
    with pytest.raises(BodyCutShort):
        plain(site, BytesBody(packed), GunzipLimits(4096, 0, 4999))
    assert "more than 4999 bytes (gunzip_max_size)" in site.log()


def test_a_small_body_may_have_any_ratio(site: Site) -> None:
    assert len(plain(site, BytesBody(gzip.compress(bytes(1 << 20))), USUAL)) == 1 << 20


def test_members_that_lead_to_nothing(site: Site) -> None:
    assert plain(site, BytesBody(gzip.compress(b"") * 900 + gzip.compress(b"x")), USUAL) == b"x"
    with pytest.raises(BodyCutShort):
        plain(site, BytesBody(gzip.compress(b"") * 1100), USUAL)


def test_blocks_that_lead_to_nothing(site: Site) -> None:
    """An upstream can send empty blocks as fast as they are read: now and then others have their turn."""
    blocks = b"\x00\x00\x00\xff\xff" * 13_000
    packed = gzip.compress(b"hello")
    body = GunzipBody(PartsBody([BytesBody(packed[:10]), *(BytesBody(blocks) for _ in range(100)), BytesBody(packed[10:])]), USUAL,
                      site.request("/"))  # fmt: skip
    pieces: list[bytes | None] = []
    while (data := body.take()) != b"":
        pieces.append(data)
    assert pieces[-1] == b"hello" and 3 < pieces.count(None) == len(pieces) - 1


def test_many_tiny_members_are_sent_together(site: Site) -> None:
    body = GunzipBody(BytesBody(gzip.compress(b"a") * 640), USUAL, site.request("/"))
    first = body.take()
    assert first is not None
    assert len(first) == 64


def test_a_ratio_that_cuts_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r'"gunzip_max_ratio" directive invalid value'):
        Site("gunzip_max_ratio 1;", tmp_path, (*FEATURES, gunzip.FEATURE))
