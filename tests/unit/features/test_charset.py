"""Recoding: the same result however the body is cut into pieces; and maps that make no sense."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features.charset import feature as charset
from portico.features.charset.recode import Recoding, byte_tables, utf8_tables

KOI = [(code, ord(bytes([code]).decode("koi8-r"))) for code in range(128, 256)]
TO_UTF8, FROM_UTF8 = utf8_tables(KOI)


def recoded(recoding: Recoding, pieces: list[bytes]) -> bytes:
    made = recoding.transform()
    return b"".join(made.feed(piece) for piece in pieces) + made.flush() + made.finish()


def decoded(data: bytes, at: int) -> tuple[int, int]:
    """The code point at `at` and where the next one begins, (-1, …): none, (-2, …): it is not all there (ngx_utf8_decode)."""
    first = data[at]
    if first >= 0xF8 or first < 0xC2:
        return -1, at + 1
    more, code, below = (3, first & 7, 0xFFFF) if first >= 0xF0 else (1, first & 31, 0x7F)
    if 0xE0 <= first < 0xF0:
        more, code, below = 2, first & 15, 0x7FF
    if len(data) - at - 1 < more:
        return -2, len(data)
    for place in range(at + 1, at + 1 + more):
        if data[place] < 0x80:
            return -1, place + 1
        code = code << 6 | data[place] & 0x3F
    return (code if below < code <= 0x10FFFF else -1), at + 1 + more


def expected(data: bytes) -> bytes:
    """The obvious way from UTF-8 to koi8-r."""
    codes = {code: bytes([byte]) for byte, code in KOI}
    out = b""
    at = 0
    while at < len(data):
        if data[at] < 0x80:
            out += data[at : at + 1]
            at += 1
            continue
        code, at = decoded(data, at)
        out += b"?" if code == -1 else b"" if code == -2 else codes.get(code, b"&#%d;" % code)
    return out


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


places = st.lists(st.integers(0, 200), max_size=8)
bits = st.sampled_from([b"a", b"\xd0", b"\xbf", b"\xe2", b"\x98", b"\x83", b"\xf0", b"\x9f", b"\xed", b"\xa0", b"\xff", b"\x00"])


@given(st.one_of(st.binary(max_size=40), st.lists(bits, max_size=12).map(b"".join)), places)
@example(b"\xf0A", [1])
@example(b"\xe0\x80A", [2])
def test_whatever_comes_as_utf8(data: bytes, where: list[int]) -> None:
    assert recoded(FROM_UTF8, cut(data, where)) == expected(data)


@given(st.text(max_size=40), places)
def test_utf8(text: str, where: list[int]) -> None:
    data = text.encode("utf-8")
    assert recoded(FROM_UTF8, cut(data, where)) == text.encode("koi8-r", "xmlcharrefreplace")


@given(st.binary(max_size=60), places)
def test_there_and_back(data: bytes, where: list[int]) -> None:
    there = recoded(TO_UTF8, cut(data, where))
    assert there == data.decode("koi8-r").encode()
    assert recoded(FROM_UTF8, cut(there, where)) == data


def test_bytes() -> None:
    there, back = byte_tables([(0x80, 0x90), (0x41, 0x42)])
    assert recoded(there, [b"AB", b"\x80\x90"]) == b"BB\x90?"
    assert recoded(back, [b"AB\x80\x90"]) == b"AA?\x80"


def test_two_codes_for_one_character_and_one_byte_for_two() -> None:
    there, back = utf8_tables([(0x80, 0x44E), (0x81, 0x44E), (0x82, 0x430), (0x82, 0x431)])
    assert recoded(there, [b"\x80\x81\x82\x83"]).decode() == "ююб?"
    assert recoded(back, ["юабв".encode()]) == b"\x81\x82\x82&#1074;"


def test_invalid_bytes_take_no_more_time_the_more_there_are() -> None:
    data = b"\xff\xd0" * 500_000
    assert len(recoded(FROM_UTF8, [data[i : i + 65536] for i in range(0, len(data), 65536)])) > 0


def refusal(text: str, folder: Path, outside: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        _site(text, folder, outside)
    return caught.value.message


def _site(text: str, folder: Path, outside: str) -> None:
    Site(f"{text} }} {outside} server {{ listen 127.0.0.1:8081; ", folder, (*FEATURES, charset.FEATURE)).close()


@pytest.mark.parametrize(
    ("outside", "message"),
    [
        ("charset_map a A { }", '"charset_map" between the same charsets "a" and "A"'),
        ("charset_map a b { } charset_map B a { }", 'duplicate "charset_map" between "B" and "a"'),
        ("charset_map a b { 80; }", "invalid parameters number"),
        ("charset_map a b { 80 81 82; }", "invalid parameters number"),
        ("charset_map a b { 100 81; }", 'invalid value "100"'),
        ("charset_map a b { x 81; }", 'invalid value "x"'),
        ("charset_map a b { -1 81; }", 'invalid value "-1"'),
        ("charset_map a b { 80 1FF; }", 'invalid value "1FF"'),
        ("charset_map a utf-8 { 80 D0; }", 'invalid value "D0"'),
        ("charset_map a utf-8 { 80 D0B; }", 'invalid value "D0B"'),
        ("charset_map a utf-8 { 80 41; }", 'invalid value "41"'),
        ("charset_map a utf-8 { 80 F09F9880; }", 'invalid value "F09F9880"'),
        ("charset_map a utf-8 { 80 D0B0D0B1; }", 'invalid value "D0B0D0B1"'),
        ("charset_map utf-8 a { 80 81; }", "utf-8 must be the second of the two charsets"),
    ],
)
def test_maps_that_are_refused(outside: str, message: str, tmp_path: Path) -> None:
    assert message in refusal("", tmp_path, outside)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("charset a; source_charset b;", 'no "charset_map" between the charsets "b" and "a"'),
        ("charset a; location / { source_charset b; }", 'no "charset_map" between the charsets "b" and "a"'),
        ("charset $nothing;", 'unknown "nothing" variable'),
        ("charset $host-$host;", 'unknown "host-$host" variable'),
        ('charset "";', '"charset" directive invalid value'),
        ("charset a; charset b;", '"charset" directive is duplicate'),
    ],
)
def test_what_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(text, tmp_path)


def test_a_map_may_stand_after_its_use(tmp_path: Path) -> None:
    text = "charset a; source_charset b; location / { return 200 ok; } }"
    site = Site(f"{text} charset_map a b {{ 80 81; }} server {{ listen 127.0.0.1:8081;", tmp_path, (*FEATURES, charset.FEATURE))
    try:
        assert site.ask("/").get("Content-Type") == "text/plain; charset=a"
    finally:
        site.close()
