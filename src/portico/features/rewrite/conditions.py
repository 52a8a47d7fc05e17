"""The conditions of `if`. (nginx: ngx_http_rewrite_if_condition, ngx_http_script_file_code.)"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, final

from portico.config.diagnostics import ConfigError
from portico.config.reader import Argument, Statement
from portico.config.regex import Regex, parse_regex
from portico.errorlog import CRIT
from portico.features.rewrite.matching import match
from portico.http.content.links import LINKS, look_along
from portico.variables.template import Template, template_of

if TYPE_CHECKING:
    from portico.http.request import Request

_TRUTH: Final = 0  # if ($variable)
_EQUAL: Final = 1
_MATCH: Final = 2
_FILE: Final = 3
_FILE_TESTS: Final = "fdex"


@final
class Condition:
    """One condition. `kind` says which of the other attributes count; `negative` turns the result around."""

    def __init__(self, kind: int, left: Template, negative: bool) -> None:
        self.kind = kind
        self.left = left
        self.negative = negative
        self.right: Template | None = None
        self.regex: Regex | None = None
        self.test = ""  # f, d, e or x

    def holds(self, request: Request, log: bool) -> bool:
        """Whether it is true; a regex leaves its captures with the request. `log`: rewrite_log."""
        value = self.left.render(request)
        if self.kind == _TRUTH:
            return value != b"" and value != b"0"
        if self.kind == _EQUAL:
            right = self.right
            return (right is not None and value == right.render(request)) != self.negative
        if self.kind == _MATCH:
            regex = self.regex
            return (regex is not None and match(request, regex, value, log)) != self.negative
        return _test_file(request, value, self.test) != self.negative


def _test_file(request: Request, path: bytes, test: str) -> bool:
    try:
        info = look_along(LINKS.of(request.location), request, path)
    except ValueError:  # a NUL in the name
        return False
    if info.error not in (0, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):  # plainly not there
        request.log_error(CRIT, f'{info.failed} "{os.fsdecode(path)}" failed ({info.error}: {os.strerror(info.error)})')
    if info.error or info.status is None:
        return False
    if test == "e":
        return True
    if test == "f":
        return info.is_file
    if test == "d":
        return info.is_directory
    return info.status.st_mode & 0o100 != 0  # nginx's ngx_is_exec: by its owner, even where the worker is another user


def condition(statement: Statement) -> Condition:
    """The condition of an `if`. Raises ConfigError."""
    words = _without_parentheses(statement)
    first = words[0]
    if first.text.startswith("$"):
        if len(words) == 1:
            return Condition(_TRUTH, _variable(statement, first.text), False)
        if len(words) != 3:
            raise _invalid(statement, words[1].text if len(words) > 1 else first.text, first)
        return _comparison(statement, words)
    name = first.text.removeprefix("!")
    if len(words) == 2 and len(name) == 2 and name[0] == "-" and name[1] in _FILE_TESTS:
        made = Condition(_FILE, template_of(words[1].text, statement), first.text.startswith("!"))
        made.test = name[1]
        return made
    raise _invalid(statement, first.text, first)


def _comparison(statement: Statement, words: list[_Word]) -> Condition:
    operator = words[1].text
    right = words[2]
    left = _variable(statement, words[0].text)
    if operator in ("=", "!="):
        made = Condition(_EQUAL, left, operator == "!=")
        made.right = template_of(right.text, statement)
        return made
    if operator in ("~", "~*", "!~", "!~*"):
        made = Condition(_MATCH, left, operator.startswith("!"))
        made.regex = parse_regex(statement, right.index, right.text, operator.endswith("*"))
        return made
    raise statement.fail(f'unexpected "{operator}" in condition', words[1].argument)


@final
class _Word:
    """A word of the condition, without the parentheses."""

    def __init__(self, text: str, argument: Argument, index: int) -> None:
        self.text = text
        self.argument = argument
        self.index = index


def _without_parentheses(statement: Statement) -> list[_Word]:
    arguments = statement.args
    words = [_Word(argument.text, argument, index) for index, argument in enumerate(arguments)]
    if not words[0].text.startswith("(") or not words[-1].text.endswith(")"):
        bad = words[0] if not words[0].text.startswith("(") else words[-1]
        raise _invalid(statement, bad.text, bad)
    first, last = words[0], words[-1]
    first.text = first.text[1:]
    last.text = last.text[:-1]
    kept = [word for word in words if word.text or (word is not first and word is not last)]
    if not kept:
        raise statement.fail(f'invalid condition "{" ".join(a.text for a in arguments)}"', arguments[0])
    return kept


def _variable(statement: Statement, text: str) -> Template:
    made = template_of(text, statement)
    if len(made.parts) != 1 or not made.parts[0][1]:
        raise statement.fail(f'invalid variable name "{text}"')
    return made


def _invalid(statement: Statement, text: str, word: _Word) -> ConfigError:
    return statement.fail(f'invalid condition "{text}"', word.argument)
