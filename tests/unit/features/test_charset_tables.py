"""The charsets that a configuration names: found in whatever case, spelt as they were first, and maps that go both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.config.diagnostics import ConfigError
from portico.config.load import Load
from portico.config.reader import read_text
from portico.features.charset.tables import CharsetMap, Charsets, charset_map


def given_map(text: str, directory: Path) -> CharsetMap:
    load = Load(str(directory), "conf")
    (statement,) = read_text(f"charset_map {text}", "conf", load)
    return charset_map(statement)


def test_a_name_is_spelt_as_it_was_first() -> None:
    """nginx: ngx_http_add_charset."""
    known = Charsets()
    first = known.add(b"Windows-1251")
    assert known.add(b"WINDOWS-1251") is first and known.find(b"windows-1251") is first
    assert (first.name, first.key, len(known)) == (b"Windows-1251", b"windows-1251", 1)
    assert known.find(b"koi8-r") is None


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a b { 80 81; }", [(0x80, 0x81)]),
        ("a b { 0 FF; fF 00; }", [(0, 255), (255, 0)]),
        ("a utf-8 { 80 D0B0; }", [(0x80, 0x430)]),
        ("a UTF-8 { 80 c280; FF EFBFBF; }", [(0x80, 0x80), (0xFF, 0xFFFF)]),  # the ends of what a table holds
        ("utf-8 UTF-8 { }", []),
        ("a b { }", []),
    ],
)
def test_a_map(tmp_path: Path, text: str, pairs: list[tuple[int, int]]) -> None:
    assert given_map(text, tmp_path).pairs == pairs


@pytest.mark.parametrize(
    "pair",
    [
        "80 C080",  # an overlong form
        "80 7F",  # ASCII stays what it is
        "80 F0908080",  # beyond 16 bits
        "80 D0",  # half a character
        "80 B0D0",
        "80 D0B0C2A9",  # two of them
        "80 D0B",
        "80 0xD0B0",
        '80 ""',
        "80 ED",
    ],
)
def test_what_is_no_character(tmp_path: Path, pair: str) -> None:
    with pytest.raises(ConfigError, match="invalid value"):
        given_map(f"a utf-8 {{ {pair}; }}", tmp_path)


def test_a_map_holds_in_both_directions(tmp_path: Path) -> None:
    known = Charsets()
    known.add_map(given_map("A b { 80 90; }", tmp_path))
    a, b = known.add(b"a"), known.add(b"B")
    there, back = a.recoding_to(b), b.recoding_to(a)
    assert there is not None and back is not None
    assert there.transform().feed(b"x\x80") == b"x\x90"
    assert back.transform().feed(b"x\x90") == b"x\x80"
    assert a.recoding_to(a) is None


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("a b { }", 'duplicate "charset_map" between "a" and "b"'),
        ("B A { }", 'duplicate "charset_map" between "B" and "A"'),
        ("c C { }", '"charset_map" between the same charsets "c" and "C"'),
    ],
)
def test_one_map_for_two_charsets(tmp_path: Path, second: str, message: str) -> None:
    known = Charsets()
    known.add_map(given_map("a b { 80 90; }", tmp_path))
    with pytest.raises(ConfigError) as caught:
        known.add_map(given_map(second, tmp_path))
    assert caught.value.message == message
