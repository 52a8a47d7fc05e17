"""Values are accepted and refused as by nginx 1.22, in its words."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.load import Load
from portico.config.reader import Statement, read_text


def statement(text: str) -> Statement:
    (found,) = read_text(text, "x.conf", Load("/srv", "/etc/portico/portico.conf"))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("512", 512),
        ("8k", 8192),
        ("8K", 8192),
        ("1m", 1 << 20),
        ("1M", 1 << 20),
        ("0" * 50 + "7", 7),
    ]
    + [
        (bad, None)
        for bad in ("", "k", "-1", "+1", "1g", "1kk", "1 k", "1.5k", "٣", "0x1", "9223372036854775808")
    ]
    + [("9223372036854775807", (1 << 63) - 1), ("9007199254740992k", None), ("9" * 5000, None)],
)
def test_size(text: str, expected: int | None) -> None:
    assert values.size_of(text) == expected


def test_offset() -> None:
    assert values.offset_of("2g") == values.offset_of("2G") == 2 << 30
    assert values.offset_of("1t") is None
    assert values.offset_of("3k") == 3072


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("10", 10.0),
        ("500ms", 0.5),
        ("1s500ms", 1.5),
        ("1h30m", 5400.0),
        ("1w2d3h4m5s6ms", 604800 + 2 * 86400 + 3 * 3600 + 4 * 60 + 5 + 0.006),
        ("1d 2h", 86400.0 + 7200),
        ("1d  2h ", 86400.0 + 7200),
        ("1m30", 90.0),
        ("1s5", 6.0),
        ("s1", 1.0),
        ("1 2", 3.0),
        ("1 ", 1.0),
    ]
    + [
        (bad, None)
        for bad in ("", "s", "1y", "1M", "1s1m", "1h1h", "1 2h", "-1", "1x", "1.5s", "1S", "٣", " ")
    ]
    + [("9223372036854775", 9223372036854775.0), ("9223372036854776", None), ("9" * 5000, None)],
)
def test_time_with_milliseconds(text: str, expected: float | None) -> None:
    assert values.time_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1y", 365 * 86400),
        ("1M", 30 * 86400),
        ("1y1M1w1d", (365 + 30 + 7 + 1) * 86400),
        ("90", 90),
        ("2m", 120),
    ]
    + [(bad, None) for bad in ("", "1ms", "1M1y", "x", "9223372036854775808", "999999999999y")]
    + [("9223372036854775807", (1 << 63) - 1)],
)
def test_time_in_whole_seconds(text: str, expected: int | None) -> None:
    assert values.seconds_of(text) == expected


@given(st.text(alphabet="0123456789yMwdhms kKg-", max_size=30))
def test_bare_texts_never_raise(text: str) -> None:
    for of in (values.size_of, values.offset_of, values.number_of, values.seconds_of, values.time_of):
        assert of(text) is None or text


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (values.flag, "gzip on;", True),
        (values.flag, "gzip OFF;", False),
        (values.number, "n 12;", 12),
        (values.size, "n 12k;", 12288),
        (values.offset, "n 1g;", 1 << 30),
        (values.msec, "n 250ms;", 0.25),
        (values.seconds, "n 1m;", 60),
        (values.text, "n 'a b';", "a b"),
        (values.texts, "n a b;", ["a", "b"]),
        (values.texts, "n;", []),
        (values.path, "root html;", "/srv/html"),
        (values.path, "root /html;", "/html"),
        (values.conf_path, "auth_basic_user_file htpasswd;", "/etc/portico/htpasswd"),
        (values.buffers, "n 8 4k;", (8, 4096)),
        (values.choice({"off": 0, "exact": 1}), "n Exact;", 1),
        (values.bits({"error": 2, "timeout": 4}), "n timeout error;", 6),
    ],
)
def test_parsers(parse: Callable[[Statement], object], text: str, expected: object) -> None:
    assert parse(statement(text)) == expected


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (values.flag, "gzip yes;", 'invalid value "yes" in "gzip" directive, it must be "on" or "off"'),
        (values.number, "keepalive_requests 1k;", '"keepalive_requests" directive invalid number'),
        (values.size, "n 1g;", '"n" directive invalid value'),
        (values.offset, "client_max_body_size 1x;", '"client_max_body_size" directive invalid value'),
        (values.msec, "n 1y;", '"n" directive invalid value'),
        (values.seconds, "n 1ms;", '"n" directive invalid value'),
        (values.buffers, "n 0 1;", '"n" directive invalid value'),
        (values.buffers, "n 1 0;", '"n" directive invalid value'),
        (values.choice({"off": 0}), "n of;", 'invalid value "of"'),
        (values.bits({"error": 2}), "n error foo;", 'invalid value "foo"'),
    ],
)
def test_refusals(parse: Callable[[Statement], object], text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(statement(text))
    assert str(caught.value) == f"{message} in x.conf:1"


def test_a_wrong_unit_is_told_the_right_ones() -> None:
    for parse, unit in ((values.offset, "10m"), (values.size, "8k"), (values.msec, "30s"), (values.seconds, "30s")):
        with pytest.raises(ConfigError) as caught:
            parse(statement("n 10MB;"))
        assert unit in caught.value.hint


def test_repeated_bit_is_a_warning() -> None:
    s = statement("n error error;")
    assert values.bits({"error": 2})(s) == 2
    (warning,) = s.load.diagnostics.warnings
    assert str(warning) == 'duplicate value "error" in x.conf:1'
    assert warning.where is not None and warning.where.column == 9
