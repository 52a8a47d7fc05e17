"""One `more_…` as written, and how a list of fields is changed by it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from portico.config.directive import Directive, Scope, Setting
from portico.config.reader import Argument, Statement
from portico.variables.template import Template, template_of

if TYPE_CHECKING:
    from portico.http.request import Request

Fields = list[tuple[bytes, bytes]]

_NAME: Final = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]+\*?")
_BREAKS: Final = bytes.maketrans(b"\0\r\n", b"   ")
_TYPE_ENDS: Final = re.compile(r"[\s;]+")


@final
class FieldChange:
    """A field to set, or to remove where its value is empty. With `*` behind its name it stands for all that begin like it."""

    def __init__(self, key: str, value: Template | None, protected: frozenset[bytes]) -> None:
        self.is_pattern = key.endswith("*")
        self.key: bytes = key.removesuffix("*").encode("ascii")
        self.name: bytes = self.key.lower()
        self.protected = protected  # names that no pattern stands for
        self._value = value
        constant = b"" if value is None else value.constant
        self._fixed: bytes | None = None if constant is None else _clean(constant)

    def value(self, request: Request) -> bytes:
        """Return its value now; b"" removes the field. Whatever it came from, it begins no other field."""
        fixed = self._fixed
        if fixed is not None:
            return fixed
        assert self._value is not None
        return _clean(self._value.render(request))

    def removes(self) -> bool:
        """Return whether its value is always empty."""
        return self._fixed == b""

    def means(self, key: bytes) -> bool:
        """Return whether it is about a field called `key`."""
        if not self.is_pattern:
            return len(key) == len(self.name) and key.lower() == self.name
        name = key.lower()
        return name.startswith(self.name) and name not in self.protected

    def is_in(self, fields: Fields) -> bool:
        """Return whether there is such a field."""
        return any(self.means(key) for key, _ in fields)

    def made_of(self, fields: Fields, value: bytes) -> Fields:
        """Return the fields with `value` in the first one's place, or at the end, and without the others."""
        made: Fields = []
        done = not value
        for field in fields:
            if not self.means(field[0]):
                made.append(field)
            elif not done:
                made.append((field[0], value))
                done = True
        if not done and not self.is_pattern:
            made.append((self.key, value))
        return made


def _clean(value: bytes) -> bytes:
    return value.translate(_BREAKS).strip(b" \t")


@final
class Command:
    """One directive: what to change, and when."""

    def __init__(self) -> None:
        self.changes: list[FieldChange] = []
        self.types: frozenset[bytes] = frozenset()  # `-t`; empty: any
        self.statuses: frozenset[int] = frozenset()  # `-s`; empty: any
        self.adds = False  # `-a`: fields of that name stay
        self.only_replaces = False  # `-r`: only where there is one


def parse(
    statement: Statement, options: str, clears: bool, framing: frozenset[bytes], protected: frozenset[bytes]
) -> Command:
    """Return what a statement says. `options`: the letters that it may have; `clears`: values are left out; `framing`: names that
    it must not have, `protected`: those that no pattern stands for. Raises ConfigError."""
    made = Command()
    types: list[str] = []
    statuses: list[int] = []
    words = statement.args
    at = 0
    while at < len(words):
        word = words[at]
        text = word.text
        at += 1
        if not text.startswith("-"):
            if text.strip():
                made.changes.append(_change(statement, word, clears, framing, protected))
            continue
        if len(text) != 2 or text[1] not in options:
            raise statement.fail(f'invalid option name: "{text}"', word, "it may be " + ", ".join(f"-{letter}" for letter in options))
        if text == "-a":
            made.adds = True
        elif text == "-r":
            made.only_replaces = True
        elif at == len(words):
            raise statement.fail(f"option {text} takes an argument", word)
        else:
            if text == "-t":
                types += [each for each in _TYPE_ENDS.split(words[at].text) if each]
            else:
                statuses += _statuses(statement, words[at])
            at += 1
    if not made.changes:
        raise statement.fail("no header field is named")
    made.types = frozenset(each.encode("utf-8", "surrogateescape") for each in types)
    made.statuses = frozenset(statuses)
    return made


def _statuses(statement: Statement, word: Argument) -> list[int]:
    for text in word.text.split():
        if not text.isdecimal() or not text.isascii() or len(text) > 3:
            raise statement.fail(f'invalid status "{text}" in the list "{word.text}"', word)
    return [int(text) for text in word.text.split()]


def _change(
    statement: Statement, word: Argument, clears: bool, framing: frozenset[bytes], protected: frozenset[bytes]
) -> FieldChange:
    text = word.text.lstrip()
    end = 0
    while end < len(text) and text[end] != ":" and not text[end].isspace():
        end += 1
    name = text[:end]
    value = "" if clears else text[end:].lstrip(": \t\r\n\v\f")
    if _NAME.fullmatch(name) is None:
        raise statement.fail(f'invalid name of a header field "{name}"', word)
    if name.lower().encode() in framing:
        raise statement.fail(
            f'"{name}" cannot be changed', word, "it says where a message ends or what becomes of the connection, and has to be true"
        )
    return FieldChange(name, template_of(value, statement) if value else None, protected)


def commands_of(scope: Scope, directives: tuple[Directive[Command | None], ...]) -> list[Command]:
    """Return all that are in force in a block, those of the blocks around it first, of each block in the order written."""
    outer = [] if scope.parent is None else commands_of(scope.parent, directives)
    given: list[Setting[Command | None]] = []
    for directive in directives:
        given += scope.own_settings(directive)
    given.sort(key=_order)
    return outer + [setting.value for setting in given if setting.value is not None]


def _order(setting: Setting[Command | None]) -> int:
    return setting.where.order
