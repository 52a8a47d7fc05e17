"""Dictionaries of Structured Fields (RFC 9651, before it RFC 8941): `max-age=60, no-cache="a, b", must-revalidate`.

Strict, as section 4.2 demands: what is not one of them to the last byte is none at all. Parameters and the members of inner lists
are read and ignored, for nothing here needs them.

    member value    integer   decimal  "string"  token   :Ynl0ZXM=:  ?1    @date    %"display"   (inner list)
    Member.kind     INTEGER   OTHER    STRING    TOKEN   OTHER       BOOLEAN        OTHER        OTHER
"""

from __future__ import annotations

import re
from typing import Final, final

INTEGER: Final = 1
STRING: Final = 2
TOKEN: Final = 3
BOOLEAN: Final = 4
OTHER: Final = 5

_KEY: Final = re.compile(rb"[a-z*][a-z0-9_\-.*]*")
_NUMBER: Final = re.compile(rb"-?(?:\d{1,12}\.\d{1,3}|\d{1,15})(?![\d.])")
_STRING: Final = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN: Final = re.compile(rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BYTES: Final = re.compile(rb":[A-Za-z0-9+/=]*:")
_BOOLEAN: Final = re.compile(rb"\?([01])")
_DATE: Final = re.compile(rb"@-?\d{1,15}(?![\d.])")
_DISPLAY: Final = re.compile(rb'%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*"')
_ESCAPED: Final = re.compile(rb'\\(["\\])')
_BLANKS: Final = b" \t"


class NotStructured(Exception):
    """The text is no such field."""


@final
class Member:
    """A member's value: `number` of an INTEGER, or 0 and 1 of a BOOLEAN; `text` of a STRING or TOKEN."""

    def __init__(self, kind: int, number: int, text: bytes) -> None:
        self.kind = kind
        self.number = number
        self.text = text


def parse_dictionary(text: bytes) -> dict[bytes, Member]:
    """Return the members by their keys; of two with one key the last one (section 4.2.2). Raises NotStructured."""
    members: dict[bytes, Member] = {}
    at = _skip(text, 0, b" ")
    end = len(text.rstrip(b" "))
    while at < end:
        key = _KEY.match(text, at)
        if key is None:
            raise NotStructured
        at = key.end()
        if text[at : at + 1] == b"=":
            member, at = _value(text, at + 1)
        else:
            member = Member(BOOLEAN, 1, b"")
        at = _parameters(text, at)
        members[key.group()] = member
        at = _skip(text, at, _BLANKS)
        if at >= end:
            break
        if text[at : at + 1] != b",":
            raise NotStructured
        at = _skip(text, at + 1, _BLANKS)
        if at >= end:  # a comma at the end
            raise NotStructured
    return members


def _skip(text: bytes, at: int, blanks: bytes) -> int:
    while at < len(text) and text[at] in blanks:
        at += 1
    return at


def _value(text: bytes, at: int) -> tuple[Member, int]:
    if text[at : at + 1] != b"(":
        return _item(text, at)
    at = _skip(text, at + 1, b" ")
    while text[at : at + 1] != b")":
        _, at = _item(text, at)
        at = _parameters(text, at)
        if text[at : at + 1] not in (b" ", b")"):
            raise NotStructured
        at = _skip(text, at, b" ")
    return Member(OTHER, 0, b""), at + 1


def _item(text: bytes, at: int) -> tuple[Member, int]:
    found = _NUMBER.match(text, at)
    if found is not None:
        digits = found.group()
        if b"." in digits:
            return Member(OTHER, 0, digits), found.end()
        return Member(INTEGER, int(digits), b""), found.end()
    found = _STRING.match(text, at)
    if found is not None:
        return Member(STRING, 0, _ESCAPED.sub(rb"\1", found.group(1))), found.end()
    found = _BOOLEAN.match(text, at)
    if found is not None:
        return Member(BOOLEAN, int(found.group(1)), b""), found.end()
    found = _TOKEN.match(text, at)
    if found is not None:
        return Member(TOKEN, 0, found.group()), found.end()
    for pattern in (_BYTES, _DATE, _DISPLAY):
        found = pattern.match(text, at)
        if found is not None:
            return Member(OTHER, 0, found.group()), found.end()
    raise NotStructured


def _parameters(text: bytes, at: int) -> int:
    while text[at : at + 1] == b";":
        at = _skip(text, at + 1, b" ")
        key = _KEY.match(text, at)
        if key is None:
            raise NotStructured
        at = key.end()
        if text[at : at + 1] == b"=":
            _, at = _item(text, at + 1)
    return at
