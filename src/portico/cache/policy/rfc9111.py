"""RFC 9111 to the letter: what `proxy_cache_rfc` puts in the place of nginx's rules. Pure functions over header sections and times.

    may it be stored, how old is it, how long is it fresh     judge             sections 3, 4.2
    does a stored response satisfy a request                  satisfies         sections 4, 5.2.1
    may it be served stale                                    ResponseControl   section 4.2.4
    what a 304 (or a response to HEAD) makes of it            merged            sections 3.2, 4.3.4, 4.3.5

`X-Accel-Expires` stays what it is to nginx, a directive of the upstream to this proxy alone: it comes before `s-maxage`, but lifts no
prohibition. Neither does `proxy_cache_valid`, for responses that say nothing and that may be stored without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.cache.policy.control import ANY_AGE, MOST_SECONDS, RequestControl, ResponseControl, response_control
from portico.cache.policy.ignored import (
    IGNORE_ACCEL_EXPIRES,
    IGNORE_CACHE_CONTROL,
    IGNORE_EXPIRES,
    IGNORE_SET_COOKIE,
    IGNORE_VARY,
)
from portico.cache.policy.nginx import Verdict, accel_expires, read_vary
from portico.codec.dates import is_in_another_zone, parse_date
from portico.codec.http1_response import parse_response_head

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead

# RFC 9110 section 15.1: may be stored without explicit freshness. 206 is not among them here: a part is not the whole.
HEURISTIC: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
_UNDERSTOOD: Final = HEURISTIC | frozenset((302, 303, 307, 206))
_MOST_GUESSED: Final = 86400  # seconds that are ever guessed
_FRACTION: Final = 10  # section 4.2.2: a tenth of the time since it was changed
_NEVER_STORED: Final = (b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization")  # section 3.1
# Section 3.2: fields that a 304 does not replace: the framing, and what Portico relies on.
_NOT_UPDATED: Final = frozenset(
    (b"content-length", b"content-encoding", b"content-type", b"content-range", b"transfer-encoding", b"connection", b"upgrade")
)


def control_for(head: ResponseHead, ignore: int) -> ResponseControl:
    """Return the directives of a response; none of them where `proxy_ignore_headers` names Cache-Control."""
    return ResponseControl() if ignore & IGNORE_CACHE_CONTROL else response_control(head)


def judge(
    head: ResponseHead, asked: int, now: int, ignore: int, configured: int, authorized: bool, partial: bool
) -> Verdict:
    """Return the verdict on a response that was requested at `asked` and came at `now`.

    `configured`: seconds that proxy_cache_valid has for its status. `authorized`: the request had Authorization. `partial`: it is
    a slice of something that is stored in slices.
    """
    verdict = Verdict()
    control = control_for(head, ignore)
    status = head.status
    if not _may_be_stored(head, control, ignore, authorized, partial):
        verdict.may_store = False
        return verdict
    if b"vary" in head.first and not ignore & IGNORE_VARY:
        read_vary(head, verdict)
    verdict.age = initial_age(head, asked, now)
    lifetime = -1
    accel = None if ignore & IGNORE_ACCEL_EXPIRES else head.get(b"x-accel-expires")
    if accel is not None:
        until = accel_expires(accel, now)
        if until == 0:
            verdict.may_store = False
        elif until > 0:
            lifetime = until - now + verdict.age  # from now on, however old it is
    if lifetime < 0:
        lifetime = _lifetime(head, control, now, ignore)
    if lifetime < 0 and (status in HEURISTIC or control.public or partial):
        lifetime = configured + verdict.age if configured else _guessed(head, now)
    if control.no_cache or lifetime < 0:
        lifetime = 0
    verdict.valid = now + lifetime - verdict.age - 1  # the last second in which it is fresh
    if not control.forbids_stale():
        verdict.updating = control.updating
        verdict.error = control.error
    verdict.withheld = _withheld(head, control)
    if verdict.valid < now and not (verdict.updating or verdict.error or has_validator(head)):
        verdict.may_store = False  # it could never be used
    return verdict


def _may_be_stored(head: ResponseHead, control: ResponseControl, ignore: int, authorized: bool, partial: bool) -> bool:
    """Return whether a response may be stored at all: section 3, and section 3.5 for requests with Authorization."""
    status = head.status
    if status < 200 or status == 304 or (status == 206 and not partial):
        return False
    if control.must_understand:
        if status not in _UNDERSTOOD:
            return False
    elif control.no_store:
        return False
    if control.private:
        return False
    if b"set-cookie" in head.first and not ignore & IGNORE_SET_COOKIE and b"set-cookie" not in control.withheld:
        return False  # section 7.3 leaves it to the upstream; nginx is careful, and so is this
    if authorized and not (control.must_revalidate or control.public or control.s_maxage >= 0):
        return False
    explicit = control.public or control.max_age >= 0 or control.s_maxage >= 0
    if b"expires" in head.first and not control.targeted and not ignore & IGNORE_EXPIRES:
        explicit = True
    if b"x-accel-expires" in head.first and not ignore & IGNORE_ACCEL_EXPIRES:
        explicit = True
    return explicit or partial or status in HEURISTIC


def _lifetime(head: ResponseHead, control: ResponseControl, now: int, ignore: int) -> int:
    """Return the explicit freshness lifetime in seconds (section 4.2.1); -1: there is none."""
    if control.s_maxage >= 0:
        return control.s_maxage
    if control.max_age >= 0:
        return control.max_age
    expires = head.get(b"expires")
    if expires is None or control.targeted or ignore & IGNORE_EXPIRES:
        return -1
    when = parse_date(expires)
    if when < 0 or is_in_another_zone(expires):
        return 0  # section 5.3: an invalid one, in particular "0", is in the past
    return max(0, min(int(when) - _date(head, now), MOST_SECONDS))


def _guessed(head: ResponseHead, now: int) -> int:
    """Return the heuristic freshness lifetime in seconds (section 4.2.2); -1: there is nothing to guess by."""
    text = head.get(b"last-modified")
    if text is None:
        return -1
    when = parse_date(text)
    if when < 0:
        return -1
    return max(0, min((_date(head, now) - int(when)) // _FRACTION, _MOST_GUESSED))


def _date(head: ResponseHead, now: int) -> int:
    """Return when the response was made; when it came, if it does not say so (RFC 9110 section 6.6.1)."""
    text = head.get(b"date")
    when = -1.0 if text is None else parse_date(text)
    return now if when < 0 else int(when)


def initial_age(head: ResponseHead, asked: int, now: int) -> int:
    """Return corrected_initial_age in seconds (section 4.2.3)."""
    text = head.get(b"age")
    value = 0
    if text is not None:
        text = text.partition(b",")[0].strip(b" \t")  # section 5.1: of several the first; an invalid one counts as none
        value = min(int(text[:18]), MOST_SECONDS) if text.isdigit() else 0
    return max(0, now - _date(head, now), value + max(0, now - asked))


def _withheld(head: ResponseHead, control: ResponseControl) -> list[bytes]:
    """Return the fields that are not stored, in lower case."""
    names = list(control.withheld)  # sections 5.2.2.4 and 5.2.2.7: not stored, so never sent without revalidation
    names.extend(head.connection_tokens)  # section 3.1
    names.extend(name for name in _NEVER_STORED if name in head.first)
    return names


def has_validator(head: ResponseHead) -> bool:
    """Return whether the upstream can be asked if the response is still valid."""
    return b"etag" in head.first or parse_date(head.first.get(b"last-modified", b"")) >= 0


def satisfies(control: RequestControl, valid: int, now: int, age: int) -> bool:
    """Return whether a stored response satisfies a request (sections 4 and 5.2.1). `valid`: the last second in which it is fresh."""
    if control.no_cache or (0 <= control.max_age < age):
        return False
    left = valid + 1 - now
    if left > 0:
        return left >= control.min_fresh
    return control.min_fresh == 0 and control.max_stale >= -left


def is_refreshed_by(stored: ResponseHead, head: ResponseHead) -> bool:
    """Return whether a 304 is about the stored response (section 4.3.4): a strong validator must be the same."""
    tag = head.get(b"etag")
    return tag is None or tag.startswith(b"W/") or tag == stored.get(b"etag")


def is_same_as_head(stored: ResponseHead, head: ResponseHead) -> bool:
    """Return whether a response to HEAD is about the stored response (section 4.3.5)."""
    for name in (b"etag", b"last-modified", b"content-length"):
        said = head.get(name)
        if said is not None and said != stored.get(name):
            return False
    return True


def merged(stored: ResponseHead, head: ResponseHead) -> bytes:
    """Return the stored header section with the fields of a 304 in the place of its own (section 3.2)."""
    updated = {
        name for name in head.names if name not in _NOT_UPDATED and name not in head.connection_tokens and name not in _NEVER_STORED
    }
    lines = _lines(stored, updated | {b"age", b"date"})  # how old it is, only the 304 can say
    for index in range(len(head.names)):
        if head.names[index] in updated:
            lines.append(head.keys[index] + b": " + head.values[index])
    return _section(stored, lines)


def without_fields(head: ResponseHead, names: list[bytes]) -> bytes:
    """Return the header section without some fields."""
    return _section(head, _lines(head, set(names)))


def _lines(head: ResponseHead, left_out: set[bytes]) -> list[bytes]:
    return [
        head.keys[index] + b": " + head.values[index] for index in range(len(head.names)) if head.names[index] not in left_out
    ]


def _section(head: ResponseHead, lines: list[bytes]) -> bytes:
    first = b"HTTP/1.%d %d %b" % (head.version - 10, head.status, head.reason)
    return b"\r\n".join([first, *lines, b"", b""])


def differs(stored: ResponseHead, made: bytes, apart: tuple[bytes, ...]) -> bool:
    """Return whether a merged header section has other fields than the stored one, some apart."""
    other = parse_response_head(made)
    return _sorted_fields(stored, apart) != _sorted_fields(other, apart)


def _sorted_fields(head: ResponseHead, apart: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    return sorted((head.names[i], head.values[i]) for i in range(len(head.names)) if head.names[i] not in apart)


def cache_status(
    hit: bool, fwd: bytes, fwd_status: int, stored: bool, collapsed: bool, ttl: int, detail: bytes
) -> bytes:
    """Return Portico's member of `Cache-Status` (RFC 9211 section 2). `ttl` beyond any age: not known."""
    text = b"Portico"
    if hit:
        text += b"; hit"
    else:
        text += b"; fwd=" + fwd
        if fwd_status:
            text += b"; fwd-status=%d" % fwd_status
    if ttl < ANY_AGE:
        text += b"; ttl=%d" % ttl
    if stored:
        text += b"; stored"
    if collapsed:
        text += b"; collapsed"
    return text + b"; detail=" + detail if detail else text
