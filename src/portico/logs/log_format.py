"""`log_format`: from a session to one line of a log.

A format is compiled when the configuration is loaded to texts and getters in turn. Values are escaped as
nginx does it:

* `default`: `"`, `\\`, bytes below 32 and above 126 become `\\xXX`; a variable that is not found is `-`;
* `json`: `"` and `\\` get a backslash, bytes below 32 become `\\n`, `\\t`, …, `\\u00XX`; not found is empty;
* `none`: values as they are; not found is empty.

Nearly no value needs it, so all values of a line are looked at together, at C speed, before any is escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from portico.config.diagnostics import ConfigError
from portico.config.load import Late
from portico.config.reader import Argument, Statement
from portico.variables.variable import Getter, Variables

if TYPE_CHECKING:
    from portico.variables.session import Session

ESCAPE_DEFAULT: Final = 0
ESCAPE_JSON: Final = 1
ESCAPE_NONE: Final = 2
ESCAPES: Final[dict[str, int]] = {"default": ESCAPE_DEFAULT, "json": ESCAPE_JSON, "none": ESCAPE_NONE}

_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z0-9_]*)(\}?)|([A-Za-z0-9_]*))")
_SHORT: Final[dict[int, bytes]] = {8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r"}


def _default_escape(code: int) -> bytes:
    return b"\\x%02X" % code if code < 32 or code > 126 or code in b'"\\' else bytes((code,))


def _json_escape(code: int) -> bytes:
    if code in b'"\\':
        return b"\\" + bytes((code,))
    return bytes((code,)) if code >= 32 else _SHORT.get(code, b"\\u%04X" % code)


_TABLES: Final[tuple[list[bytes], ...]] = (
    [_default_escape(code) for code in range(256)],
    [_json_escape(code) for code in range(256)],
    [bytes((code,)) for code in range(256)],
)
_PLAIN: Final[tuple[bytes, ...]] = tuple(b"".join([e for e in table if len(e) == 1]) for table in _TABLES)


def escape(value: bytes, kind: int) -> bytes:
    """Return `value` as a log of that kind (`ESCAPE_…`) shows it."""
    if not value.translate(None, _PLAIN[kind]):
        return value
    table = _TABLES[kind]
    return b"".join([table[code] for code in value])


@final
class LogFormat(Late):
    """One format: the last words of `statement`, or without one `texts`. Usable once `resolve` has run."""

    def __init__(self, name: str, texts: list[str], escaping: int, statement: Statement | None) -> None:
        self.name = name
        self.statement = statement
        self.escaping = escaping
        self._names: list[str] = []
        self._places: list[tuple[Argument | None, int, int]] = []  # of each: its word, where in there, how long
        self._getters: list[Getter[Session]] = []
        self._pieces: list[bytes] = []  # constant, room for a value, constant, …, constant and newline
        self._absent: bytes = b"-" if escaping == ESCAPE_DEFAULT else b""
        self._plain: bytes = _PLAIN[escaping]
        self._compile(texts)

    def _compile(self, texts: list[str]) -> None:
        constant = ""
        words: list[Argument | None] = [None] * len(texts)
        if self.statement is not None:
            words = list(self.statement.args[-len(texts) :])
        for text, word in zip(texts, words, strict=True):
            position = 0
            for found in _VARIABLE.finditer(text):
                name = found.group(1) or found.group(3)
                if found.group(1) is not None and not found.group(2) and found.end() > found.start() + 2:
                    message = f'the closing bracket in "{name}" variable is missing'
                    raise self._mistake(message, word, found.start(), found.end() - found.start())
                if not name:
                    raise self._mistake(f'invalid parameter "{text[found.start() :]}"', word, found.start(), 1)
                constant += text[position : found.start()]
                self._pieces.append(constant.encode("utf-8", "surrogateescape"))
                self._pieces.append(b"")
                self._names.append(name)
                self._places.append((word, found.start(), found.end() - found.start()))
                constant = ""
                position = found.end()
            constant += text[position:]
        self._pieces.append(constant.encode("utf-8", "surrogateescape") + b"\n")

    def resolve(self, environment: object) -> None:
        """Bind the names to their getters. Raises ConfigError for an unknown variable, when all others have been reported."""
        assert isinstance(environment, Variables)
        getters: list[Getter[Session]] = []
        unknown: dict[str, ConfigError] = {}
        for name, (word, position, span) in zip(self._names, self._places, strict=True):
            variable = environment.find(name)
            if variable is not None:
                getters.append(variable.get)
            elif name not in unknown:
                error = environment.unknown(name, None)
                unknown[name] = self._mistake(error.message, word, position, span, error.hint)
        if unknown:
            *others, last = unknown.values()
            if self.statement is not None:
                for other in others:
                    self.statement.load.diagnostics.error(other)
            raise last
        self._getters = getters

    def _mistake(self, message: str, word: Argument | None, position: int, span: int, hint: str = "") -> ConfigError:
        if self.statement is None or word is None:
            return ConfigError(message, None, hint)
        error = self.statement.fail_within(message, word, word.text, position, span)
        error.hint = hint
        return error

    def render(self, session: Session) -> bytes:
        """Return the line for `session`, with its newline."""
        pieces = self._pieces.copy()
        values: list[bytes] = []
        absent = self._absent
        at = 1
        for getter in self._getters:
            value = getter(session)
            if value is None:
                value = absent
            values.append(value)
            pieces[at] = value
            at += 2
        if b"".join(values).translate(None, self._plain):
            table = _TABLES[self.escaping]
            for index in range(1, len(pieces), 2):
                pieces[index] = b"".join([table[code] for code in pieces[index]])
        return b"".join(pieces)
