"""nginx's rules for what is stored, and for how long: ngx_http_upstream.c, ngx_http_file_cache.c. Each row is one of them."""

from __future__ import annotations

import pytest

from portico.cache.policy.ignored import (
    IGNORE_ACCEL_EXPIRES,
    IGNORE_CACHE_CONTROL,
    IGNORE_EXPIRES,
    IGNORE_SET_COOKIE,
    IGNORE_VARY,
)
from portico.cache.policy.nginx import Verdict, accel_expires, judge, variant_of
from portico.codec.http1_response import parse_response_head
from portico.net.reactor import http_date

NOW = 1_700_000_000


def at(seconds: int) -> str:
    return http_date(NOW + seconds).decode()


def verdict(*fields: str, ignore: int = 0) -> Verdict:
    return judge(parse_response_head("\r\n".join(["HTTP/1.1 200 OK", *fields, "", ""]).encode()), NOW, ignore)


# (fields; seconds of freshness, 0: `proxy_cache_valid` says it, None: not stored)
FRESHNESS: list[tuple[tuple[str, ...], int | None]] = [
    ((), 0),
    # Cache-Control
    (("Cache-Control: max-age=60",), 60),
    (("Cache-Control: MAX-AGE=60",), 60),
    (('Cache-Control: max-age="60"',), None),
    (("Cache-Control: max-age=60s",), None),
    (("Cache-Control: max-age=60.5",), None),
    (("Cache-Control: max-age=60 ",), 60),
    (("Cache-Control: max-age=60;x",), 60),
    (("Cache-Control: public, max-age=60, must-revalidate",), 60),
    (("Cache-Control: max-age=0",), None),
    (("Cache-Control: max-age=x",), None),
    (("Cache-Control: max-age=",), None),
    (("Cache-Control: max-age",), 0),  # without its equals sign it is not looked for
    (("Cache-Control: max-age =60",), 0),
    (("Cache-Control: xmax-age=60",), 60),
    (("Cache-Control: x-no-cache-y",), None),
    (('Cache-Control: private="x-a", max-age=60',), None),
    (("Cache-Control: max-age=60, s-maxage=5",), 5),  # s-maxage first, wherever it stands
    (("Cache-Control: s-maxage=0, max-age=60",), None),
    (("Cache-Control: max-age=5, max-age=60",), 5),
    (("Cache-Control: max-age=5", "Cache-Control: max-age=60"), 60),  # the last line above all
    (("Cache-Control: s-maxage=5", "Cache-Control: max-age=60"), 60),
    (("Cache-Control: max-age=5", "Cache-Control: public"), 5),
    (("Cache-Control: max-age=0", "Cache-Control: max-age=60"), None),
    (("Cache-Control: max-age=x", "Cache-Control: max-age=60"), None),
    (("Cache-Control: max-age=5", "Cache-Control: no-cache"), None),
    (("Cache-Control: no-cache",), None),
    (("Cache-Control: max-age=60, no-store",), None),
    (("Cache-Control: private, max-age=60",), None),
    (("Cache-Control: public",), 0),
    (("Cache-Control: no-transform",), 0),
    (("Cache-Control: max-age=99999999999999999999",), 1 << 40),
    # Expires
    ((f"Expires: {at(60)}",), 60),
    ((f"Expires: {at(0)}",), None),
    ((f"Expires: {at(-60)}",), None),
    (("Expires: 0",), None),
    ((f"Expires: {at(60)}", "Cache-Control: max-age=5"), 5),
    (("Expires: 0", "Cache-Control: max-age=5"), 5),
    ((f"Expires: {at(60)}", "Cache-Control: no-cache"), None),
    ((f"Expires: {at(60)}", "Cache-Control: public"), 60),
    # X-Accel-Expires
    (("X-Accel-Expires: 60",), 60),
    ((f"X-Accel-Expires: @{NOW + 60}",), 60),
    (("X-Accel-Expires: 0",), None),
    (("X-Accel-Expires: @0",), None),
    (("X-Accel-Expires: x",), 0),
    (("X-Accel-Expires: -1",), 0),
    (("X-Accel-Expires: 60", "Cache-Control: no-cache", "Expires: 0"), 60),  # it lifts what they forbid
    (("X-Accel-Expires: 0", "Cache-Control: max-age=60"), None),
    (("X-Accel-Expires: x", "Cache-Control: max-age=60"), 60),
    # Set-Cookie and Vary
    (("Set-Cookie: a=b", "Cache-Control: max-age=60"), None),
    (("Set-Cookie: a=b", "X-Accel-Expires: 60"), None),
    (("Vary: *", "Cache-Control: max-age=60"), None),
    (("Vary: a, *", "Cache-Control: max-age=60"), None),
    (("Vary: a, b", "Cache-Control: max-age=60"), 60),
    (("Vary: " + "a" * 128, "Cache-Control: max-age=60"), 60),
    (("Vary: " + "a" * 129, "Cache-Control: max-age=60"), None),
    (("Vary: " + "a" * 64, "Vary: " + "b" * 63, "Cache-Control: max-age=60"), None),
]


@pytest.mark.parametrize(("fields", "seconds"), FRESHNESS, ids=["; ".join(row[0])[:60] for row in FRESHNESS])
def test_for_how_long(fields: tuple[str, ...], seconds: int | None) -> None:
    found = verdict(*fields)
    assert found.may_store is (seconds is not None)
    if seconds is not None:
        assert found.valid == (NOW + seconds if seconds else 0)
    assert found.age == 0 and found.withheld == []  # RFC 9111 has them, nginx does not


# (what `proxy_ignore_headers` names, fields, seconds; as above)
IGNORED: list[tuple[int, tuple[str, ...], int | None]] = [
    (IGNORE_CACHE_CONTROL, ("Cache-Control: no-store",), 0),
    (IGNORE_CACHE_CONTROL, ("Cache-Control: max-age=60", f"Expires: {at(5)}"), 5),
    (IGNORE_EXPIRES, ("Expires: 0",), 0),
    (IGNORE_EXPIRES, (f"Expires: {at(60)}",), 0),
    (IGNORE_ACCEL_EXPIRES, ("X-Accel-Expires: 0",), 0),
    (IGNORE_ACCEL_EXPIRES, ("X-Accel-Expires: 5", "Cache-Control: max-age=60"), 60),
    (IGNORE_SET_COOKIE, ("Set-Cookie: a=b", "Cache-Control: max-age=60"), 60),
    (IGNORE_VARY, ("Vary: *", "Cache-Control: max-age=60"), 60),
    (IGNORE_VARY | IGNORE_SET_COOKIE, ("Vary: *", "Cache-Control: no-cache"), None),
    (IGNORE_CACHE_CONTROL | IGNORE_EXPIRES, ("Cache-Control: no-cache", "Expires: 0", "X-Accel-Expires: 5"), 5),
]


@pytest.mark.parametrize(("ignore", "fields", "seconds"), IGNORED)
def test_what_is_ignored(ignore: int, fields: tuple[str, ...], seconds: int | None) -> None:
    found = verdict(*fields, ignore=ignore)
    assert found.may_store is (seconds is not None)
    if seconds is not None:
        assert found.valid == (NOW + seconds if seconds else 0)


def test_vary_is_noted_in_lower_case() -> None:
    assert verdict("Vary: Accept-Encoding ,, Foo", "Vary: bar").vary == b"accept-encoding,foo,bar"
    assert verdict("Vary: Foo", ignore=IGNORE_VARY).vary == b"" and verdict().vary == b""


@pytest.mark.parametrize(
    ("field", "updating", "error"),
    [
        ("max-age=1, stale-while-revalidate=5, stale-if-error=7", 5, 7),
        ("stale-if-error=7, stale-while-revalidate=5", 5, 7),
        ("stale-while-revalidate=5", 5, 5),  # nginx: both
        ("stale-if-error=7", 0, 7),
        ("max-age=1", 0, 0),
    ],
)
def test_rfc_5861(field: str, updating: int, error: int) -> None:
    found = verdict(f"Cache-Control: {field}")
    assert (found.updating, found.error) == (updating, error)


@pytest.mark.parametrize(
    ("value", "when"),
    [
        (b"5", NOW + 5), (b"0", 0), (b"@5", 5), (b"@0", 0), (b"", -1), (b"@", -1), (b"-5", -1), (b"5s", -1),
        (b"9" * 18, NOW + 10**18 - 1), (b"9" * 19, -1),
    ],
)  # fmt: skip
def test_x_accel_expires(value: bytes, when: int) -> None:
    assert accel_expires(value, NOW) == when


# (names in Vary, fields of two requests, whether they may have the same response): ngx_http_file_cache_vary
VARIANTS: list[tuple[bytes, list[tuple[bytes, bytes]], list[tuple[bytes, bytes]], bool]] = [
    (b"accept", [(b"accept", b"a, b")], [(b"accept", b"a,b ")], True),
    (b"accept", [(b"accept", b"a,b")], [(b"accept", b"a"), (b"accept", b"b")], True),
    (b"accept", [(b"accept", b"a,b")], [(b"accept", b"b,a")], False),
    (b"accept", [(b"accept", b"a")], [(b"accept", b"A")], False),
    (b"accept", [], [(b"accept", b"")], True),
    (b"accept", [], [(b"accept", b"a")], False),
    (b"accept", [(b"other", b"1")], [(b"other", b"2")], True),
    (b"a,b", [(b"a", b"1"), (b"b", b"2")], [(b"b", b"2"), (b"a", b"1")], True),
    (b"a,b", [(b"a", b"1")], [(b"b", b"1")], False),
]


@pytest.mark.parametrize(("vary", "one", "other", "same"), VARIANTS)
def test_variants(vary: bytes, one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]], same: bool) -> None:
    found = [variant_of(vary, [name for name, _ in fields], [value for _, value in fields]) for fields in (one, other)]
    assert (found[0] == found[1]) is same
