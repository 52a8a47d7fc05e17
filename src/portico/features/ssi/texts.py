"""The values of parameters: variables in them, and the expressions of `if`."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final, final

from portico.config.regex import Regex, RegexFailed, compile_regex
from portico.features.ssi.shared import MOST_IN_VARIABLES, Shared, SsiMistake

if TYPE_CHECKING:
    from portico.http.request import Request

_DOLLAR: Final = 0x24
_BRACE: Final = 0x7B
_NAME: Final = re.compile(rb"[A-Za-z0-9_]*")
_LITERAL: Final = re.compile(rb"(?:[^$\\]|\\.|\\\Z)*", re.DOTALL)
_ESCAPE: Final = re.compile(rb"""\\([\\'"$])|\\\Z""")
_LEFT: Final = re.compile(rb"""[A-Za-z0-9${}_"']*""")


@final
class Texts:
    """Evaluates the texts of one page."""

    def __init__(self, request: Request, shared: Shared) -> None:
        self.request = request
        self.shared = shared

    def evaluate(self, text: bytes) -> bytes:
        """Return a text with the values of its variables. A value is never looked into again. Raises SsiMistake."""
        pieces: list[bytes] = []
        size = 0
        at = 0
        while at < len(text):
            if text[at] == _DOLLAR:
                name, at = self._name(text, at + 1)
                value = self.shared.value(self.request, name)
                if value is not None:
                    pieces.append(value)
                    size += len(value)
                    if size > MOST_IN_VARIABLES:
                        raise SsiMistake(f"the values in one text are longer than {MOST_IN_VARIABLES} bytes")
                continue
            literal = _LITERAL.match(text, at)
            assert literal is not None
            at = literal.end()
            pieces.append(_ESCAPE.sub(rb"\1", literal.group()))
        return b"".join(pieces)

    def _name(self, text: bytes, start: int) -> tuple[bytes, int]:
        """Return the name of the variable that begins at `start`, and where it ends. Raises SsiMistake."""
        braced = start < len(text) and text[start] == _BRACE
        found = _NAME.match(text, start + 1 if braced else start)
        assert found is not None
        name = found.group()
        end = found.end()
        if braced and end < len(text) and text[end : end + 1] != b"}":
            raise SsiMistake(f'the closing bracket in "{shown(name)}" variable is missing')
        if not name:
            raise SsiMistake(f'invalid variable name in "{shown(text)}"')
        if braced:
            if end == len(text):
                raise SsiMistake(f'the closing bracket in "{shown(name)}" variable is missing')
            end += 1
        return name, end

    def is_true(self, expression: bytes) -> bool:
        """Return what the expression of an `if` says: TEXT, TEXT = TEXT, TEXT != TEXT, or with /REGEX/. Raises SsiMistake."""
        found = _LEFT.match(expression)
        assert found is not None
        left = self.evaluate(found.group().lower())
        rest = expression[found.end() :].lstrip(b" ")
        if not rest:
            return left != b""
        if rest.startswith(b"="):
            negative = False
            rest = rest[1:].lstrip(b" ")
        elif rest.startswith(b"!="):
            negative = True
            rest = rest[2:].lstrip(b" ")
        else:
            raise _invalid(expression)
        if len(rest) > 1 and rest.startswith(b"/"):
            if not rest.endswith(b"/"):
                raise _invalid(expression)
            pattern = rest[1 : len(rest) - 1]
            return self._matches(self.evaluate(pattern), left) != negative
        if len(rest) > 1 and rest.startswith(b"\\/"):
            rest = rest[1:]
        return (self.evaluate(rest) == left) != negative

    def _matches(self, pattern: bytes, subject: bytes) -> bool:
        """Return whether the pattern is found; then its groups are the captures. Raises SsiMistake."""
        try:
            regex = _regex(pattern)
            captures = regex.match(subject)
        except ValueError as error:
            raise SsiMistake(f'regex "{shown(pattern)}" cannot be used: {error.args[0]} at position {error.args[1]}') from None
        except RegexFailed as failed:
            raise SsiMistake(str(failed)) from None
        if captures is None:
            return False
        named = regex.named_values(captures)
        while captures[len(captures) - 1] is None:  # groups behind the last one that took part are none, in nginx
            captures.pop()
        self.shared.captures = captures
        if named is not None:
            for name, value in named.items():
                self.shared.set(name.encode("utf-8", "surrogateescape"), value)
        return True


@functools.lru_cache(maxsize=64)
def _regex(pattern: bytes) -> Regex:
    """Return the compiled pattern. Raises ValueError."""
    return compile_regex(pattern.decode("utf-8", "surrogateescape"))


def _invalid(expression: bytes) -> SsiMistake:
    return SsiMistake(f'invalid expression in "{shown(expression)}"')


def shown(data: bytes) -> str:
    """Return bytes of a page as text for the error log."""
    return data.decode("utf-8", "backslashreplace")
