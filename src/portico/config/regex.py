"""The regular expressions of a configuration, which are PCRE's.

Two engines run them. Python's `re` is eight times as quick for a single match (0.1 µs against 0.9), but never gives up; PCRE2 (the
`pcre2` binding) says everything that PCRE can say, and gives up after `STEPS` steps, 2 ms. So `re` gets the patterns that can be
expressed in it (`pcre.py` translates) and of which it is plain that they cannot backtrack for long (`is_bounded`): `\\.php$`,
`^/api/(.*)$`. PCRE2 gets all others. Nobody outside this file knows which.
"""

import importlib
import re
from typing import Any, Final, final

from portico.config.pcre import Pcre
from portico.config.reader import Statement

STEPS: Final = 1_000_000  # PCRE2's own default is 10,000,000, as in nginx: 16 ms in which a worker does nothing else
_LIMIT: Final = b"(*LIMIT_MATCH=%d)" % STEPS
_SPELLINGS: Final = re.compile(
    rb"\\Q.*?(?:\\E|\Z)"
    rb"|\\x(?:\{(?P<braced>[^}]*)\}?|(?P<digits>[0-9A-Fa-f]{0,2}))"
    rb"|\\(?P<unknown>[uU]|N(?=\{(?!U\+|[0-9]+(?:,[0-9]*)?\})))"
    rb"|\\."
    rb"|\{(?![0-9]+(?:,[0-9]*)?\})(?=[ \t]*(?:[0-9]+[ \t]*(?:,[ \t]*[0-9]*)?|,[ \t]*[0-9]+)[ \t]*\})",
    re.DOTALL,
)
_MOST_CHOICES: Final = 64
_WIDE: Final = 64  # a repeat of more than this may go on as long as the subject


class RegexFailed(Exception):
    """A pattern was given up on a subject. The text is nginx's line for the log."""


@final
class Regex:
    """A compiled pattern."""

    def __init__(self, pattern: str, caseless: bool) -> None:
        self.pattern: str = pattern
        raw = pattern.encode("utf-8", "surrogateescape")
        found: tuple[Pcre, re.Pattern[bytes]] | None = None
        refused: ValueError | None = None
        try:
            found = _with_re(raw, caseless)
        except ValueError as error:
            refused = error
        self.is_limited: bool = found is None
        """Whether PCRE2 runs it."""
        if found is not None:
            translated, compiled = found
            self.groups: int = translated.groups
            """Number of capturing groups."""
            self._index: dict[str, int] = translated.names
            # A pattern that begins with "^" must not be tried at every position of a subject it does not match.
            self._find: Any = compiled.match if translated.anchored else compiled.search
        else:
            limited = _with_pcre2(raw, caseless, refused)
            self.groups = limited.groups
            self._index = dict(sorted(_names(limited), key=_number_of))
            self._find = limited.search
        self.names: list[str] = list(self._index)
        """The named groups, in order; in nginx each defines a variable."""

    def match(self, subject: bytes) -> list[bytes | None] | None:
        """Look for the pattern anywhere in the subject: the whole match and the groups (`$0`, `$1`, …). Raises RegexFailed."""
        if self.is_limited:
            return self._match_limited(subject)
        found = self._find(subject)
        return None if found is None else [found.group(), *found.groups()]

    def _match_limited(self, subject: bytes) -> list[bytes | None] | None:
        try:
            found = self._find(subject)
        except Exception as failure:  # pcre2.LibraryError, which is not to be imported for patterns that need none
            shown = subject.decode("utf-8", "backslashreplace")
            raise RegexFailed(f'pcre2_match() failed: {failure} on "{shown}" using "{self.pattern}"') from None
        return None if found is None else [found.group(), *found.groups()]

    def named_values(self, captures: list[bytes | None]) -> dict[str, bytes] | None:
        """Return what `match` captured by name (an unset group is empty, as in nginx); None: no named groups."""
        if not self._index:
            return None
        return {name: captures[number] or b"" for name, number in self._index.items()}


def _with_re(raw: bytes, caseless: bool) -> tuple[Pcre, re.Pattern[bytes]] | None:
    """Return the pattern for `re`; None when it might not come to an end with it. Raises ValueError when `re` cannot say it."""
    translated = Pcre(raw, caseless)
    try:
        compiled = re.compile(translated.text, re.IGNORECASE if caseless else re.NOFLAG)
    except re.error:  # of what the translation lets pass: a lookbehind without fixed length, for one
        return None
    return (translated, compiled) if is_bounded(translated.text, translated.anchored) else None


def _with_pcre2(raw: bytes, caseless: bool, refused: ValueError | None) -> Any:
    """Return the pattern for PCRE2. Raises ValueError(message, offset); if there is `refused`, which knows the place better, that."""
    pcre2: Any = importlib.import_module("pcre2")  # it has no types

    flags = pcre2.IGNORECASE if caseless else pcre2.NOFLAG
    try:
        raw = _SPELLINGS.sub(_respelt, raw)
        pcre2.compile(raw, flags)
        return pcre2.compile(_LIMIT + raw, flags)
    except pcre2.PatternError as error:
        if refused is not None:
            raise refused from None
        raise ValueError(str(error.msg).partition("; ")[2] or str(error.msg), int(error.pos)) from None


def _respelt(found: re.Match[bytes]) -> bytes:
    """Rewrite what nginx's PCRE and the binding would read differently, so that both agree. Raises ValueError(message, offset).

    The binding takes `\\x` and `\\u` for JavaScript's (PCRE2_ALT_BSUX): its `\\x{41}` is 41 times an x. And `{,3}` and `{ 3 }` are
    text before PCRE2 10.43, which nginx comes with in most places, and repeats in later ones.
    """
    text = found.group()
    digits = found.group("digits")
    if found.group("braced") is not None:
        digits = found.group("braced")
        if not text.endswith(b"}") or not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise ValueError("non-hex character in \\x{} (closing brace missing?)", found.end())
    if found.group("unknown") is not None:
        raise ValueError("PCRE2 does not support \\F, \\L, \\l, \\N{name}, \\U, or \\u", found.end())
    if digits is not None:
        return b"\\o{%o}" % int(digits or b"0", 16)
    return b"\\{" if text == b"{" else text


def _names(pattern: Any) -> list[tuple[str, int]]:
    return [(str(name), int(number)) for name, number in pattern.groupindex.items()]


def _number_of(entry: tuple[str, int]) -> int:
    return entry[1]


def is_bounded(text: bytes, anchored: bool) -> bool:
    """Return whether `re` tries few ways to match: a number of choices independent of the subject, and at most one loop over it.

    A search that may begin anywhere is such a loop, a repeat without end another; two make the square of the subject's length, and
    nested ones far more. In doubt, no.
    """
    try:
        from re import _parser as parser  # type: ignore[attr-defined]

        parsed = parser.parse(text, 0)
    except (ImportError, AttributeError, re.error):
        return False
    choices, loops = _ways(parsed)
    return choices <= _MOST_CHOICES and loops + (0 if anchored else 1) <= 1


def _ways(items: Any) -> tuple[int, int]:
    """Return (choices, loops) of a sequence: choices multiply, loops add up."""
    choices, loops = 1, 0
    for operation, argument in items:
        more, deeper = _ways_of(str(operation), argument)
        choices *= more
        loops += deeper
    return choices, loops


def _ways_of(operation: str, argument: Any) -> tuple[int, int]:
    if operation in ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"):
        return 1, 0
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _repeat(argument)
    if operation == "SUBPATTERN":
        return _ways(argument[3])
    if operation == "ATOMIC_GROUP":
        return _ways(argument)
    if operation in ("ASSERT", "ASSERT_NOT"):
        return _ways(argument[1])
    if operation == "BRANCH":
        branches = [_ways(branch) for branch in argument[1]]
        return sum(choices for choices, _ in branches), max(loops for _, loops in branches)
    return _MOST_CHOICES + 1, 2  # references to groups, conditions


def _repeat(argument: Any) -> tuple[int, int]:
    least, most, inner = int(argument[0]), int(argument[1]), argument[2]
    single = len(inner) == 1 and str(inner[0][0]) in ("LITERAL", "NOT_LITERAL", "ANY", "IN")
    if single:
        return (1, 1) if most > _WIDE else (most - least + 1, 0)
    if most <= 1:
        choices, loops = _ways(inner)
        return choices + (1 if least == 0 else 0), loops
    return _MOST_CHOICES + 1, 2  # a repeated group may match the same in many ways


def compile_regex(pattern: str, caseless: bool = False) -> Regex:
    """Compile a pattern as nginx would.

    Raises `ValueError(message, position)`: what is wrong, and where in `pattern`.
    """
    try:
        return Regex(pattern, caseless)
    except ValueError as error:
        message, offset = error.args
        before = pattern.encode("utf-8", "surrogateescape")[:offset]
        raise ValueError(message, len(before.decode("utf-8", "ignore"))) from None


def parse_regex(statement: Statement, index: int, pattern: str, caseless: bool) -> Regex:
    """Compile a regex that stands in an argument or (`index` -1) in the name. Raises ConfigError with the place of the mistake."""
    try:
        return compile_regex(pattern, caseless)
    except ValueError as error:
        message, position = str(error.args[0]), int(error.args[1])
        argument = None if index < 0 else statement.args[index]
        text = f'regex "{pattern}" cannot be used: {message} at position {position}'
        raise statement.fail_within(text, argument, pattern, position) from None
