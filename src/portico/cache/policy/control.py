"""Directives for caches: `Cache-Control` in responses and requests (RFC 9111 section 5.2), `CDN-Cache-Control` (RFC 9213).

Of two directives with one name the first counts, but of `no-cache` and `private` all do, and the one that names no fields above all.
An invalid number means 0 seconds (section 4.2.1: such a response is better considered stale). RFC 9213 is stricter: a targeted
field that is no Structured Field, or empty, counts as not there, and a directive whose value is of another kind than it should be is
ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.structured import BOOLEAN, INTEGER, STRING, TOKEN, NotStructured, parse_dictionary

if TYPE_CHECKING:
    from portico.codec.fields import RequestFields
    from portico.codec.http1_response import ResponseHead

TARGETED: Final = b"cdn-cache-control"  # the one field on Portico's target list (RFC 9213 section 2.2)
MOST_SECONDS: Final = 1 << 31  # section 1.2.2: larger ones count as this
ANY_AGE: Final = 1 << 40  # max-stale without a number
_IN_SECONDS: Final = (b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error")
_WITH_NAMES: Final = (b"no-cache", b"private")


@final
class ResponseControl:
    """The directives of a response to a shared cache. Seconds, -1: not given."""

    def __init__(self) -> None:
        self.targeted = False  # by CDN-Cache-Control: Cache-Control and Expires do not count
        self.no_store = False
        self.no_cache = False
        self.private = False
        self.public = False
        self.must_revalidate = False
        self.proxy_revalidate = False
        self.must_understand = False
        self.max_age = -1
        self.s_maxage = -1
        self.updating = 0  # stale-while-revalidate (RFC 5861)
        self.error = 0  # stale-if-error
        self.withheld: list[bytes] = []  # fields, lower case, that no-cache="…" and private="…" name

    def forbids_stale(self) -> bool:
        """Return whether it must not be served stale, whatever happens (section 4.2.4)."""
        return self.no_cache or self.must_revalidate or self.proxy_revalidate or self.s_maxage >= 0


@final
class RequestControl:
    """The directives of a request to caches (section 5.2.1). Seconds, -1: not given."""

    def __init__(self) -> None:
        self.no_cache = False
        self.no_store = False
        self.only_if_cached = False
        self.max_age = -1
        self.max_stale = -1
        self.min_fresh = 0


def response_control(head: ResponseHead) -> ResponseControl:
    """Return the directives of a response: those of CDN-Cache-Control, else of Cache-Control."""
    control = ResponseControl()
    if TARGETED in head.first:
        try:
            members = parse_dictionary(b", ".join(head.get_all(TARGETED)))
        except NotStructured:
            members = {}
        if members:
            control.targeted = True
            for name, member in members.items():
                if name in _IN_SECONDS:
                    if member.kind == INTEGER and member.number >= 0:
                        _note(control, name, True, b"%d" % member.number)
                elif member.kind == BOOLEAN:
                    if member.number:
                        _note(control, name, False, b"")
                elif member.kind in (STRING, TOKEN) and name in _WITH_NAMES:  # a token is one name
                    _note(control, name, True, member.text)
            return control
    for name, (has_value, value) in directives_in(head.get_all(b"cache-control")).items():
        _note(control, name, has_value, value)
    return control


def _note(control: ResponseControl, name: bytes, has_value: bool, value: bytes) -> None:
    if name == b"max-age":
        control.max_age = seconds_of(value)
    elif name == b"s-maxage":
        control.s_maxage = seconds_of(value)
    elif name == b"stale-while-revalidate":
        control.updating = seconds_of(value)
    elif name == b"stale-if-error":
        control.error = seconds_of(value)
    elif name == b"no-store":
        control.no_store = True
    elif name == b"public":
        control.public = True
    elif name == b"must-revalidate":
        control.must_revalidate = True
    elif name == b"proxy-revalidate":
        control.proxy_revalidate = True
    elif name == b"must-understand":
        control.must_understand = True
    elif name in _WITH_NAMES:
        names = [part for part in (part.strip(b" \t").lower() for part in value.split(b",")) if part] if has_value else []
        if names and value.find(b'"') < 0:
            control.withheld.extend(names)
        elif name == b"no-cache":
            control.no_cache = True
        else:
            control.private = True


def request_control(fields: RequestFields) -> RequestControl | None:
    """Return the directives of a request; None: it has none."""
    first = fields.first
    if b"cache-control" not in first:
        pragma = first.get(b"pragma")
        if pragma is None or pragma.lower().find(b"no-cache") < 0:
            return None
        control = RequestControl()
        control.no_cache = True  # section 5.4: from HTTP/1.0, when Cache-Control is not there
        return control
    control = RequestControl()
    for name, (has_value, value) in directives_in(fields.get_all(b"cache-control")).items():
        if name == b"no-cache":
            control.no_cache = True
        elif name == b"no-store":
            control.no_store = True
        elif name == b"only-if-cached":
            control.only_if_cached = True
        elif name == b"max-age":
            control.max_age = seconds_of(value)
        elif name == b"max-stale":
            control.max_stale = seconds_of(value) if has_value else ANY_AGE
        elif name == b"min-fresh":
            control.min_fresh = seconds_of(value)
    return control


def directives_in(lines: list[bytes]) -> dict[bytes, tuple[bool, bytes]]:
    """Return names in lower case, each with whether it has a value, and the value without its quotes."""
    found: dict[bytes, tuple[bool, bytes]] = {}
    for line in lines:
        for part in _split(line):
            name, equals, value = part.partition(b"=")
            name = name.strip(b" \t").lower()
            has_value = bool(equals)
            value = _unquoted(value.strip(b" \t"))
            if name in found:
                if name not in _WITH_NAMES:
                    continue
                had_value, before = found[name]
                has_value = has_value and had_value
                value = before + b"," + value if has_value else b""
            if name:
                found[name] = (has_value, value)
    return found


def _split(line: bytes) -> list[bytes]:
    """Return the parts between commas that are not inside quotes."""
    if line.find(b'"') < 0:
        return line.split(b",")
    parts: list[bytes] = []
    start = 0
    quoted = False
    at = 0
    while at < len(line):
        byte = line[at]
        if quoted and byte == 92:  # a backslash: the next one is literal
            at += 1
        elif byte == 34:
            quoted = not quoted
        elif byte == 44 and not quoted:
            parts.append(line[start:at])
            start = at + 1
        at += 1
    parts.append(line[start:])
    return parts


def _unquoted(value: bytes) -> bytes:
    if len(value) >= 2 and value.startswith(b'"') and value.endswith(b'"'):
        return value[1:-1].replace(b"\\", b"")
    return value


def seconds_of(value: bytes) -> int:
    """Return delta-seconds (section 1.2.2); 0 when it is invalid."""
    if not value.isdigit():
        return 0
    return min(int(value[:20]), MOST_SECONDS) if len(value) < 20 else MOST_SECONDS
