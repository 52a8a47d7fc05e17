"""The rules of RFC 9111, one by one; each row names its section."""

from __future__ import annotations

import pytest

from portico.cache.policy.control import ANY_AGE, MOST_SECONDS, directives_in, request_control, response_control
from portico.cache.policy.ignored import (
    IGNORE_ACCEL_EXPIRES,
    IGNORE_CACHE_CONTROL,
    IGNORE_EXPIRES,
    IGNORE_SET_COOKIE,
    IGNORE_VARY,
)
from portico.cache.policy.nginx import Verdict
from portico.cache.policy.rfc9111 import (
    cache_status,
    differs,
    initial_age,
    is_refreshed_by,
    is_same_as_head,
    judge,
    merged,
    satisfies,
    without_fields,
)
from portico.codec.dates import parse_date
from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import parse_request_fields
from portico.codec.http1_response import ResponseHead, parse_response_head
from portico.net.reactor import http_date

NOW = 1_700_000_000


def at(seconds: int) -> str:
    return http_date(NOW + seconds).decode()


def head(*fields: str, status: int = 200) -> ResponseHead:
    return parse_response_head("\r\n".join([f"HTTP/1.1 {status} X", *fields, "", ""]).encode())


def verdict(
    *fields: str, status: int = 200, ignore: int = 0, configured: int = 0, authorized: bool = False, partial: bool = False
) -> Verdict:
    return judge(head(*fields, status=status), NOW, NOW, ignore, configured, authorized, partial)



TAG = 'ETag: "a"'
LONG = "Cache-Control: max-age=60"


# (section, fields, status, seconds of freshness; None: not kept)
STORING: list[tuple[str, tuple[str, ...], int, int | None]] = [
    ("3: explicit freshness", (LONG,), 200, 60),
    ("3: and for any final status", (LONG,), 418, 60),
    ("3: an interim one is not", (LONG,), 103, None),
    ("3: nothing says how long, nothing to ask with", (), 200, None),
    ("3: nothing says how long, but it can be asked about", (TAG,), 200, 0),
    ("3: not of a status that has no meaning for caches", (TAG,), 302, None),
    ("3: public is enough", (TAG, "Cache-Control: public"), 302, 0),
    ("3: 206 without slices", (LONG,), 206, None),
    ("3: 304 is no answer of its own", (LONG,), 304, None),
    ("5.2.2.5: no-store", ("Cache-Control: no-store, max-age=60",), 200, None),
    ("5.2.2.5: no-store, spelt otherwise", ("Cache-Control: max-age=60", "Cache-Control: No-Store"), 200, None),
    ("5.2.2.7: private", ("Cache-Control: private, max-age=60",), 200, None),
    ("5.2.2.7: private with names", ('Cache-Control: private="x-a, x-b", max-age=60',), 200, 60),
    ("4.2.1: the private without names counts", ('Cache-Control: private="x", max-age=60', "Cache-Control: private"), 200, None),
    ("4.2.1: also when it comes first", ('Cache-Control: private, private="x", max-age=60',), 200, None),
    ("5.2.2.7: private with half a name", ('Cache-Control: private="x-a, max-age=60',), 200, None),
    ("5.2.2.4: no-cache is kept to be asked about", (TAG, "Cache-Control: no-cache, max-age=60"), 200, 0),
    ("5.2.2.4: no-cache with nothing to ask", ("Cache-Control: no-cache, max-age=60",), 200, None),
    ("5.2.2.4: no-cache with names", ('Cache-Control: no-cache="x-a", max-age=60',), 200, 60),
    ("5.2.2.3: must-understand lifts no-store", ("Cache-Control: must-understand, no-store, max-age=60",), 200, 60),
    ("5.2.2.3: but not of what is not understood", ("Cache-Control: must-understand, max-age=60",), 299, None),
    ("4.2.1: s-maxage first", ("Cache-Control: max-age=5, s-maxage=60", f"Expires: {at(9)}"), 200, 60),
    ("4.2.1: max-age before Expires", (LONG, "Expires: 0"), 200, 60),
    ("4.2.1: Expires less Date", (f"Date: {at(0)}", f"Expires: {at(30)}"), 200, 30),
    ("4.2.1: by the upstream's clock", (f"Date: {at(100)}", f"Expires: {at(130)}"), 200, 30),
    ("4.2.1: the first max-age counts", ("Cache-Control: max-age=60, max-age=5",), 200, 60),
    ("4.2.1: what is no number is stale", (TAG, "Cache-Control: max-age=1h"), 200, 0),
    ("4.2.1: nor is a negative one", (TAG, "Cache-Control: max-age=-1"), 200, 0),
    ("1.2.2: quoted numbers are read", ('Cache-Control: max-age="60"',), 200, 60),
    ("1.2.2: numbers too large", ("Cache-Control: max-age=99999999999999999999",), 200, MOST_SECONDS),
    ("5.3: Expires that is no date", (TAG, "Expires: 0"), 200, 0),
    ("RFC 9110 5.6.7: Expires in another zone", (TAG, f"Date: {at(0)}", f"Expires: {at(30)[:-3]}EST"), 200, 0),
    ("5.3: Expires in the past", (TAG, f"Date: {at(0)}", f"Expires: {at(-5)}"), 200, 0),
    ("4.2.2: a tenth of its age", (f"Date: {at(0)}", f"Last-Modified: {at(-1000)}"), 200, 100),
    ("4.2.2: at most a day", (f"Date: {at(0)}", f"Last-Modified: {at(-10_000_000)}"), 200, 86400),
    ("4.2.2: also of a 404", (f"Date: {at(0)}", f"Last-Modified: {at(-1000)}"), 404, 100),
    ("4.2.2: not of a 500", (f"Date: {at(0)}", f"Last-Modified: {at(-1000)}"), 500, None),
    ("4.2.2: of a 500 that is public", ("Cache-Control: public", f"Date: {at(0)}", f"Last-Modified: {at(-1000)}"), 500, 100),
    ("4.2.2: not when the future is told", (f"Date: {at(0)}", f"Last-Modified: {at(50)}"), 200, 0),
    ("4.2.3: it was old already", (LONG, "Age: 45"), 200, 15),
    ("4.2.3: too old", (LONG, TAG, "Age: 100"), 200, -40),
    ("4.2.3: too old, nothing to ask with", (LONG, "Age: 100"), 200, None),
    ("4.1: Vary", (LONG, "Vary: A, B"), 200, 60),
    ("4.1: Vary *", (LONG, "Vary: A, *"), 200, None),
    ("7.3: cookies are nginx's affair", (LONG, "Set-Cookie: a=b"), 200, None),
    ("7.3: unless they are withheld", ('Cache-Control: max-age=60, private="Set-Cookie"', "Set-Cookie: a=b"), 200, 60),
    ("X-Accel-Expires before s-maxage", ("X-Accel-Expires: 70", "Cache-Control: s-maxage=5"), 200, 70),
    ("X-Accel-Expires allows nothing", ("X-Accel-Expires: 70", "Cache-Control: private"), 200, None),
    ("X-Accel-Expires 0", ("X-Accel-Expires: 0", LONG), 200, None),
    ("RFC 9213 2.2: targeted first", ("CDN-Cache-Control: max-age=90", "Cache-Control: no-store", "Expires: 0"), 200, 90),
    ("RFC 9213 2.2: Expires does not count then", ("CDN-Cache-Control: public", f"Expires: {at(30)}", TAG), 200, 0),
    ("RFC 9213 2.1: malformed", ("CDN-Cache-Control: max-age=90;;", LONG), 200, 60),
    ("RFC 9213 2.1: empty", ("CDN-Cache-Control: ", LONG), 200, 60),
    ("RFC 9213 2.1: a decimal is no number of seconds", ("CDN-Cache-Control: max-age=90.0", LONG, TAG), 200, 0),
    ("RFC 9213 2.1: parameters say nothing", ("CDN-Cache-Control: max-age=90;a=1", LONG), 200, 90),
    ("RFC 9213 2.1: several lines", ("CDN-Cache-Control: max-age=90", "CDN-Cache-Control: no-store"), 200, None),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status", "seconds"), [row[1:] for row in STORING], ids=[row[0] for row in STORING])
def test_what_is_kept_and_for_how_long(fields: tuple[str, ...], status: int, seconds: int | None) -> None:
    found = verdict(*fields, status=status)
    assert found.may_store == (seconds is not None)
    if seconds is not None:
        assert found.valid == NOW + seconds - 1


@pytest.mark.parametrize(
    ("control", "keep"),
    [("max-age=60", False), ("public, max-age=60", True), ("s-maxage=60", True), ("must-revalidate, max-age=60", True)],
)
def test_section_3_5_authorization(control: str, keep: bool) -> None:
    assert verdict(f"Cache-Control: {control}", authorized=True).may_store == keep
    assert verdict(f"Cache-Control: {control}").may_store


def test_what_is_configured_holds_for_what_says_nothing() -> None:
    assert verdict(configured=10).valid == NOW + 9
    assert verdict(f"Last-Modified: {at(-1000)}", configured=10).valid == NOW + 9
    assert verdict(LONG, configured=10).valid == NOW + 59
    assert not verdict(status=500, configured=10).may_store
    assert verdict(status=206, configured=10, partial=True).valid == NOW + 9


def test_what_is_ignored() -> None:
    assert verdict("Cache-Control: no-store", configured=5, ignore=IGNORE_CACHE_CONTROL).may_store
    assert verdict("Expires: 0", configured=5, ignore=IGNORE_EXPIRES).valid == NOW + 4
    assert verdict("X-Accel-Expires: 0", LONG, ignore=IGNORE_ACCEL_EXPIRES).may_store
    assert verdict("Set-Cookie: a", LONG, ignore=IGNORE_SET_COOKIE).may_store
    assert verdict("Vary: *", LONG, ignore=IGNORE_VARY).may_store


def test_section_4_2_3_age() -> None:
    assert initial_age(head(), NOW, NOW) == 0
    assert initial_age(head("Age: 7"), NOW - 3, NOW) == 10
    assert initial_age(head(f"Date: {at(-20)}", "Age: 7"), NOW - 3, NOW) == 20
    assert initial_age(head(f"Date: {at(20)}"), NOW, NOW) == 0
    assert initial_age(head("Age: x", f"Date: {at(-2)}"), NOW, NOW) == 2
    assert initial_age(head("Age: 5, 9"), NOW, NOW) == 5
    assert initial_age(head("Age: -5"), NOW, NOW) == 0
    assert parse_date(at(0).encode()) == NOW


@pytest.mark.parametrize("control", ["no-cache", "must-revalidate", "proxy-revalidate", "s-maxage=9"])
def test_section_4_2_4_what_forbids_stale_answers(control: str) -> None:
    found = verdict(TAG, f"Cache-Control: max-age=60, stale-while-revalidate=5, stale-if-error=7, {control}")
    assert (found.updating, found.error) == (0, 0)
    assert response_control(head(f"Cache-Control: {control}")).forbids_stale()


def test_rfc_5861() -> None:
    found = verdict("Cache-Control: max-age=60, stale-while-revalidate=5, stale-if-error=7")
    assert (found.updating, found.error) == (5, 7)
    assert verdict("Cache-Control: max-age=0, stale-while-revalidate=5").may_store


def test_what_is_withheld() -> None:
    found = verdict('Cache-Control: max-age=9, private="X-A", no-cache="x-b,x-c"', "Connection: X-Hop", "Proxy-Authenticate: Basic")
    assert sorted(found.withheld) == [b"proxy-authenticate", b"x-a", b"x-b", b"x-c", b"x-hop"]
    kept = without_fields(head("X-A: 1", "x-keep: 2", "X-B: 3"), [b"x-a", b"x-b"])
    assert kept == b"HTTP/1.1 200 X\r\nx-keep: 2\r\n\r\n"


def test_commas_in_quotes() -> None:
    assert directives_in([b'a="b, c", d, =x, E = f , d=1']) == {
        b"a": (True, b"b, c"), b"d": (False, b""), b"e": (True, b"f"),
    }  # fmt: skip


# (section, request's fields, freshness left, age; whether what is kept will do)
WISHES: list[tuple[str, str, int, int, bool]] = [
    ("5.2.1.4: no-cache", "Cache-Control: no-cache", 60, 0, False),
    ("5.4: Pragma", "Pragma: no-cache", 60, 0, False),
    ("5.4: not with Cache-Control", "Cache-Control: max-age=99\r\nPragma: no-cache", 60, 0, True),
    ("5.2.1.1: max-age, young enough", "Cache-Control: max-age=10", 60, 10, True),
    ("5.2.1.1: max-age, too old", "Cache-Control: max-age=10", 60, 11, False),
    ("5.2.1.1: max-age=0", "Cache-Control: max-age=0", 60, 1, False),
    ("5.2.1.3: min-fresh", "Cache-Control: min-fresh=60", 60, 0, True),
    ("5.2.1.3: min-fresh, not enough left", "Cache-Control: min-fresh=61", 60, 0, False),
    ("5.2.1.2: max-stale", "Cache-Control: max-stale=10", -10, 0, True),
    ("5.2.1.2: max-stale, staler", "Cache-Control: max-stale=10", -11, 0, False),
    ("5.2.1.2: max-stale of any age", "Cache-Control: max-stale", -9999, 0, True),
    ("5.2.1.2: max-stale and max-age", "Cache-Control: max-stale=10, max-age=5", -1, 6, False),
    ("5.2.1.7: only-if-cached asks for nothing more", "Cache-Control: only-if-cached", 60, 0, True),
    ("5.2.1.7: nor for what is stale", "Cache-Control: only-if-cached", 0, 0, False),
]


@pytest.mark.parametrize(("field", "left", "age", "will_do"), [row[1:] for row in WISHES], ids=[row[0] for row in WISHES])
def test_what_requests_say(field: str, left: int, age: int, will_do: bool) -> None:
    fields = parse_request_fields(f"Host: a\r\n{field}\r\n".encode(), 11, HeaderOptions())
    control = request_control(fields)
    assert control is not None
    assert satisfies(control, NOW + left - 1, NOW, age) == will_do


def test_a_request_without_wishes() -> None:
    assert request_control(parse_request_fields(b"Host: a\r\nPragma: x\r\n", 11, HeaderOptions())) is None


def test_section_3_2_and_4_3_4_freshening() -> None:
    fields = ("X-A: old", "X-A: older", "X-B: stays", "Content-Length: 5", "Content-Type: text/css", "Age: 9", f"Date: {at(-50)}")
    stored = head(TAG, *fields)
    answer = head("x-a: new", "Content-Length: 0", "Content-Type: text/plain", "Connection: x-c", "X-C: 1", status=304)
    made = parse_response_head(merged(stored, answer))
    assert (made.status, made.get(b"content-length"), made.get(b"content-type")) == (200, b"5", b"text/css")
    assert made.get_all(b"x-a") == [b"new"] and made.get(b"x-b") == b"stays" and made.get(b"x-c") is None
    assert made.get(b"age") is None and made.get(b"date") is None  # those of an answer that is no more
    assert differs(stored, merged(stored, answer), (b"age", b"date"))
    assert not differs(stored, merged(stored, head("X-B: stays", f"Date: {at(0)}", status=304)), (b"age", b"date"))


def test_section_4_3_4_strong_validators() -> None:
    stored = head('ETag: "a"')
    assert is_refreshed_by(stored, head('ETag: "a"', status=304))
    assert not is_refreshed_by(stored, head('ETag: "b"', status=304))
    assert is_refreshed_by(stored, head('ETag: W/"b"', status=304)) and is_refreshed_by(stored, head(status=304))


def test_section_4_3_5_head() -> None:
    stored = head('ETag: "a"', "Content-Length: 5")
    assert is_same_as_head(stored, head("Content-Length: 5")) and is_same_as_head(stored, head('ETag: "a"'))
    assert not is_same_as_head(stored, head("Content-Length: 6")) and not is_same_as_head(stored, head('ETag: "b"'))


def test_rfc_9211() -> None:
    assert cache_status(True, b"", 0, False, False, 30, b"") == b"Portico; hit; ttl=30"
    made = cache_status(False, b"stale", 304, False, False, -2, b"STALE")
    assert made == b"Portico; fwd=stale; fwd-status=304; ttl=-2; detail=STALE"
    assert cache_status(False, b"uri-miss", 0, True, True, ANY_AGE, b"") == b"Portico; fwd=uri-miss; stored; collapsed"
