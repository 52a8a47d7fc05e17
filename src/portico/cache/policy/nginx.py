"""nginx's rules: whether a response may be stored, and for how long it is fresh (ngx_http_upstream.c).

`X-Accel-Expires` comes before `Cache-Control`, and that before `Expires`; a response with `Set-Cookie` or `Vary: *` is not stored.
What `proxy_ignore_headers` names (ignored.py) does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.cache.policy.ignored import (
    IGNORE_ACCEL_EXPIRES,
    IGNORE_CACHE_CONTROL,
    IGNORE_EXPIRES,
    IGNORE_SET_COOKIE,
    IGNORE_VARY,
)
from portico.codec.dates import parse_date

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead

_MOST_VARY: Final = 128  # bytes (nginx: NGX_HTTP_CACHE_VARY_LEN): each lookup goes through all the names
_FOREVER: Final = (1 << 62) - 1
_LONGEST: Final = 1 << 40  # seconds
_NOT_SAID: Final = -1
_INVALID: Final = -2


@final
class Verdict:
    """What a header section says to the cache. Times in seconds since the epoch; `valid` 0: it does not say."""

    def __init__(self) -> None:
        self.may_store = True
        self.valid = 0  # the last second in which it is fresh
        self.updating = 0  # seconds from `valid` on in which it may be served stale while it is fetched anew
        self.error = 0  # … and when the upstream fails
        self.vary: bytes = b""
        self.age = 0  # of the response when it came, in seconds
        self.withheld: list[bytes] = []  # fields that are not stored


def judge(head: ResponseHead, now: int, ignore: int) -> Verdict:
    """Return the verdict on a response."""
    verdict = Verdict()
    first = head.first
    if b"set-cookie" in first and not ignore & IGNORE_SET_COOKIE:
        verdict.may_store = False
    if b"vary" in first and not ignore & IGNORE_VARY:
        read_vary(head, verdict)
    refused = False
    if b"cache-control" in first and not ignore & IGNORE_CACHE_CONTROL:
        refused = _cache_control(head.get_all(b"cache-control"), now, verdict)
    expires = first.get(b"expires")
    if expires is not None and verdict.valid == 0 and not ignore & IGNORE_EXPIRES:
        when = parse_date(expires)
        if when < 0 or when <= now:
            refused = True
        else:
            verdict.valid = int(when)
    accel = first.get(b"x-accel-expires")
    if accel is not None and not ignore & IGNORE_ACCEL_EXPIRES:
        when_accel = accel_expires(accel, now)
        if when_accel == 0:
            verdict.may_store = False
        elif when_accel > 0:
            verdict.valid = when_accel
            refused = False
    if refused:
        verdict.may_store = False
    return verdict


def read_vary(head: ResponseHead, verdict: Verdict) -> None:
    """Note the names in Vary; with `*` among them, or too many of them, the response is not stored."""
    names: list[bytes] = []
    values = head.get_all(b"vary")
    if len(b", ".join(values)) > _MOST_VARY:
        verdict.may_store = False
        return
    for value in values:
        names.extend(name for name in (part.strip(b" \t").lower() for part in value.split(b",")) if name)
    if b"*" in names:
        verdict.may_store = False
    verdict.vary = b",".join(names)


def _cache_control(lines: list[bytes], now: int, verdict: Verdict) -> bool:
    """Note what the lines of Cache-Control say, each for itself, the last above all; return True when they forbid storing.

    nginx looks for words rather than for directives: `private="x"` and `x-no-cache` forbid it too.
    """
    refused = False
    for line in lines:
        text = line.lower()
        if b"no-cache" in text or b"no-store" in text or b"private" in text:
            refused = True
            continue
        age = _seconds_behind(b"s-maxage=", text)
        if age == _NOT_SAID:
            age = _seconds_behind(b"max-age=", text)
        updating = _seconds_behind(b"stale-while-revalidate=", text)
        error = _seconds_behind(b"stale-if-error=", text)
        if age == 0 or _INVALID in (age, updating, error):
            refused = True
            continue
        if age > 0:
            verdict.valid = min(now + age, _FOREVER)
        if updating != _NOT_SAID:
            verdict.updating = verdict.error = updating
        if error != _NOT_SAID:
            verdict.error = error
    return refused


def _seconds_behind(name: bytes, text: bytes) -> int:
    """Return the number behind `name=`, up to a comma, a semicolon or a space (ngx_http_upstream_process_delta_seconds)."""
    at = text.find(name)
    if at < 0:
        return _NOT_SAID
    end = start = at + len(name)
    while end < len(text) and text[end] not in b",; ":
        if not 48 <= text[end] <= 57:
            return _INVALID
        end += 1
    return min(int(text[start:end][:18] or b"0"), _LONGEST)


def accel_expires(value: bytes, now: int) -> int:
    """Return the time that X-Accel-Expires gives: seconds from now, or `@` and seconds since the epoch.

    0: the response must not be stored; -1: the value is invalid.
    """
    absolute = value.startswith(b"@")
    digits = value[1:] if absolute else value
    if not digits.isdigit() or len(digits) > 18:
        return -1
    number = int(digits)
    if number == 0:
        return 0
    return number if absolute else now + number


def variant_of(vary: bytes, names: list[bytes], values: list[bytes]) -> bytes:
    """Return what a request says in the fields that `vary` names: the same for all requests that may have the same response.

    Values are compared without blanks around their commas (ngx_http_file_cache_vary_header).
    """
    parts: list[bytes] = []
    for wanted in vary.split(b","):
        said: list[bytes] = []
        for index in range(len(names)):
            if names[index] == wanted:
                said.extend(item for item in (item.strip(b" \t") for item in values[index].split(b",")) if item)
        parts.append(wanted + b":" + b",".join(said))
    return b"\n".join(parts)
