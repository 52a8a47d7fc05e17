"""RFC 9111 to the letter: what `proxy_cache_rfc` puts in the place of nginx's habits. Pure functions over heads and times.

    may it be kept, how old is it, how long is it fresh       judge           sections 3, 4.2
    does what is kept please a request                        pleases         sections 4, 5.2.1
    may it be served although it is good no longer            Control         section 4.2.4
    what a 304 (or an answer to HEAD) makes of it             merged          sections 3.2, 4.3.4, 4.3.5

`X-Accel-Expires` stays what it is to nginx, word of the upstream to this proxy alone: it comes before `s-maxage`, but lifts no
prohibition. So does `proxy_cache_valid`, for answers that say nothing and that may be kept without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.cache.policy.control import ANY_AGE, MOST_SECONDS, Control, Wishes, control_of
from portico.cache.policy.nginx import (
    IGNORE_ACCEL_EXPIRES,
    IGNORE_CACHE_CONTROL,
    IGNORE_EXPIRES,
    IGNORE_SET_COOKIE,
    IGNORE_VARY,
    Verdict,
    accel_expires,
    read_vary,
)
from portico.codec.dates import parse_date
from portico.codec.http1_response import parse_response_head

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead

# RFC 9110 section 15.1: may be kept without being told so. 206 is not among them here: a part is not the whole.
HEURISTIC: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
_UNDERSTOOD: Final = HEURISTIC | frozenset((302, 303, 307, 206))
_MOST_GUESSED: Final = 86400  # seconds that are ever guessed
_FRACTION: Final = 10  # section 4.2.2: a tenth of the time since it was changed
_NEVER_KEPT: Final = (b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization")  # section 3.1
# Section 3.2: what the stored head keeps of its own: its framing, and what Portico relies on.
_NOT_UPDATED: Final = frozenset(
    (b"content-length", b"content-encoding", b"content-type", b"content-range", b"transfer-encoding", b"connection", b"upgrade")
)


def control_for(head: ResponseHead, ignore: int) -> Control:
    """The directives that count, with `proxy_ignore_headers` in mind."""
    return Control() if ignore & IGNORE_CACHE_CONTROL else control_of(head)


def judge(
    head: ResponseHead, asked: int, now: int, ignore: int, configured: int, authorized: bool, partial: bool
) -> Verdict:
    """The verdict on an answer that was asked for at `asked` and came at `now`.

    `configured`: seconds that proxy_cache_valid has for its status. `authorized`: the request had Authorization. `partial`: it is
    a slice of something that is kept in slices.
    """
    verdict = Verdict()
    control = control_for(head, ignore)
    status = head.status
    if not _may_be_kept(head, control, ignore, authorized, partial):
        verdict.keep = False
        return verdict
    if b"vary" in head.first and not ignore & IGNORE_VARY:
        read_vary(head, verdict)
    verdict.age = initial_age(head, asked, now)
    lifetime = -1
    accel = None if ignore & IGNORE_ACCEL_EXPIRES else head.get(b"x-accel-expires")
    if accel is not None:
        until = accel_expires(accel, now)
        if until == 0:
            verdict.keep = False
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
        verdict.keep = False  # nothing could ever be done with it
    return verdict


def _may_be_kept(head: ResponseHead, control: Control, ignore: int, authorized: bool, partial: bool) -> bool:
    """Section 3, and section 3.5 for requests with Authorization."""
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


def _lifetime(head: ResponseHead, control: Control, now: int, ignore: int) -> int:
    """Section 4.2.1, seconds; -1: it does not say."""
    if control.s_maxage >= 0:
        return control.s_maxage
    if control.max_age >= 0:
        return control.max_age
    expires = head.get(b"expires")
    if expires is None or control.targeted or ignore & IGNORE_EXPIRES:
        return -1
    when = parse_date(expires)
    if when < 0:
        return 0  # section 5.3: an invalid one, "0" above all, is in the past
    return max(0, min(int(when) - _date(head, now), MOST_SECONDS))


def _guessed(head: ResponseHead, now: int) -> int:
    """Section 4.2.2."""
    text = head.get(b"last-modified")
    if text is None:
        return -1
    when = parse_date(text)
    if when < 0:
        return -1
    return max(0, min((_date(head, now) - int(when)) // _FRACTION, _MOST_GUESSED))


def _date(head: ResponseHead, now: int) -> int:
    """When the answer was made; when it came, if it does not say so (RFC 9110 section 6.6.1)."""
    text = head.get(b"date")
    when = -1.0 if text is None else parse_date(text)
    return now if when < 0 else int(when)


def initial_age(head: ResponseHead, asked: int, now: int) -> int:
    """Section 4.2.3: corrected_initial_age, seconds."""
    text = head.get(b"age")
    value = 0
    if text is not None:
        text = text.partition(b",")[0].strip(b" \t")  # section 5.1: of several the first; no number counts as none
        value = min(int(text[:18]), MOST_SECONDS) if text.isdigit() else 0
    return max(0, now - _date(head, now), value + max(0, now - asked))


def _withheld(head: ResponseHead, control: Control) -> list[bytes]:
    names = list(control.withheld)  # sections 5.2.2.4 and 5.2.2.7: not kept, so never sent without having been asked for
    names.extend(head.connection_tokens)  # section 3.1
    names.extend(name for name in _NEVER_KEPT if name in head.first)
    return names


def has_validator(head: ResponseHead) -> bool:
    """Whether it can be asked if the answer is still good."""
    return b"etag" in head.first or parse_date(head.first.get(b"last-modified", b"")) >= 0


def pleases(wishes: Wishes, valid: int, now: int, age: int) -> bool:
    """Whether a kept answer does, without the upstream being asked (sections 4.2 and 5.2.1). `valid`: its last fresh second."""
    if wishes.no_cache or (0 <= wishes.max_age < age):
        return False
    left = valid + 1 - now
    if left > 0:
        return left >= wishes.min_fresh
    return wishes.min_fresh == 0 and wishes.max_stale >= -left


def is_refreshed_by(stored: ResponseHead, answer: ResponseHead) -> bool:
    """Whether a 304 speaks of the very answer that is kept (section 4.3.4): a strong validator must be the same."""
    tag = answer.get(b"etag")
    return tag is None or tag.startswith(b"W/") or tag == stored.get(b"etag")


def is_same_as_head(stored: ResponseHead, answer: ResponseHead) -> bool:
    """Section 4.3.5: whether an answer to HEAD speaks of what is kept."""
    for name in (b"etag", b"last-modified", b"content-length"):
        said = answer.get(name)
        if said is not None and said != stored.get(name):
            return False
    return True


def merged(stored: ResponseHead, answer: ResponseHead) -> bytes:
    """The stored head with the fields that a 304 brings in the place of its own (section 3.2)."""
    updated = {
        name for name in answer.names if name not in _NOT_UPDATED and name not in answer.connection_tokens and name not in _NEVER_KEPT
    }
    lines = _lines(stored, updated | {b"age", b"date"})  # how old it is, this answer says, or nobody
    for index in range(len(answer.names)):
        if answer.names[index] in updated:
            lines.append(answer.keys[index] + b": " + answer.values[index])
    return _head(stored, lines)


def without(head: ResponseHead, names: list[bytes]) -> bytes:
    """The head without some fields."""
    return _head(head, _lines(head, set(names)))


def _lines(head: ResponseHead, left_out: set[bytes]) -> list[bytes]:
    return [
        head.keys[index] + b": " + head.values[index] for index in range(len(head.names)) if head.names[index] not in left_out
    ]


def _head(head: ResponseHead, lines: list[bytes]) -> bytes:
    first = b"HTTP/1.%d %d %b" % (head.version - 10, head.status, head.reason)
    return b"\r\n".join([first, *lines, b"", b""])


def differs(stored: ResponseHead, made: bytes, apart: tuple[bytes, ...]) -> bool:
    """Whether a merged head says anything else than the stored one did, some fields apart."""
    other = parse_response_head(made)
    return _sayings(stored, apart) != _sayings(other, apart)


def _sayings(head: ResponseHead, apart: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    return sorted((head.names[i], head.values[i]) for i in range(len(head.names)) if head.names[i] not in apart)


def cache_status(
    hit: bool, fwd: bytes, fwd_status: int, stored: bool, collapsed: bool, ttl: int, detail: bytes
) -> bytes:
    """Portico's member of `Cache-Status` (RFC 9211 section 2). `ttl` beyond any age: not known."""
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
