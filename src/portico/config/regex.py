"""The regular expressions of a configuration: written for PCRE, run by Python's `re`.

This is the only place that knows the engine. `Regex` is what the rest sees: bytes in, captures out. Another
engine (a binding of PCRE itself, say) would be put in here, and `pcre.py`, which translates, would go.

One difference is left: PCRE gives up after ten million steps of backtracking, `re` never does.
"""

import re
from typing import final

from portico.config.pcre import Pcre


@final
class Regex:
    """A compiled pattern."""

    def __init__(self, pattern: str, caseless: bool) -> None:
        translated = Pcre(pattern.encode("utf-8", "surrogateescape"), caseless)
        compiled = re.compile(translated.text, re.IGNORECASE if caseless else re.NOFLAG)
        self.pattern: str = pattern
        self.caseless: bool = caseless
        self.groups: int = translated.groups
        """Number of capturing groups."""
        self._index: dict[str, int] = translated.names
        self.names: list[str] = list(translated.names)
        """The named groups, in order; in nginx each defines a variable."""
        # A pattern that begins with "^" must not be tried at every position of a subject it does not match.
        self._find = compiled.match if translated.anchored else compiled.search

    def match(self, subject: bytes) -> list[bytes | None] | None:
        """Look for the pattern anywhere in the subject: the whole match and the groups (`$0`, `$1`, …)."""
        found = self._find(subject)
        return None if found is None else [found.group(), *found.groups()]

    def named(self) -> dict[str, int]:
        """Number of each named group."""
        return self._index

    def named_values(self, captures: list[bytes | None]) -> dict[str, bytes] | None:
        """What `match` captured by name (an unset group is empty, as in nginx); None: no named groups."""
        if not self._index:
            return None
        return {name: captures[number] or b"" for name, number in self._index.items()}


def compile_regex(pattern: str, caseless: bool = False) -> Regex:
    """Compile a pattern as nginx would.

    Raises `ValueError(message, position)`: what is wrong, and where in `pattern`.
    """
    try:
        return Regex(pattern, caseless)
    except re.error as failure:  # of what the translation lets pass: a lookbehind without fixed length, for one
        raise ValueError(failure.msg, len(pattern)) from None
    except ValueError as error:
        message, offset = error.args
        before = pattern.encode("utf-8", "surrogateescape")[:offset]
        raise ValueError(message, len(before.decode("utf-8", "ignore"))) from None
