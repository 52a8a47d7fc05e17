"""Texts that hold `$variables`.

A text such as `"$scheme://$host$request_uri"` is compiled when the configuration is loaded, to constant bytes or to a list of
constants and getters. Each variable says how long its value holds (`stability`), so that a text made only of what a connection
and its header section determine can be remembered with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.load import Late
from portico.config.reader import Statement, Where
from portico.variables.variable import STABLE_LOAD, Getter, Variables

if TYPE_CHECKING:
    from portico.variables.session import Session

_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


@final
class Template(Late):
    """A text with variables, as written at `where`. Usable once `resolve` has run (at the end of loading)."""

    def __init__(self, text: str, where: Where) -> None:
        self.text = text
        self.where = where
        self.parts: list[tuple[str, bool]] = split_text(text, where)  # (text, is it a variable's name)
        self.stability = STABLE_LOAD
        self.constant: bytes | None = None  # the value when it holds no variable
        self._constants: list[bytes] = []
        self._getters: list[Getter[Session] | None] = []
        self._single: Getter[Session] | None = None
        if not any(is_variable for _, is_variable in self.parts):
            self.constant = "".join(part for part, _ in self.parts).encode("utf-8", "surrogateescape")

    def resolve(self, environment: object) -> None:
        """Bind the names to their getters. Raises ConfigError for an unknown variable."""
        assert isinstance(environment, Variables)
        if self.constant is not None:
            return
        self._constants = []
        self._getters = []
        self.stability = STABLE_LOAD
        for part, is_variable in self.parts:
            if not is_variable:
                self._constants.append(part.encode("utf-8", "surrogateescape"))
                self._getters.append(None)
                continue
            variable = environment.find(part)
            if variable is None:
                raise environment.unknown(part, self.where)
            self.stability = max(self.stability, variable.stability)
            self._constants.append(b"")
            self._getters.append(variable.get)
        if len(self._getters) == 1:
            self._single = self._getters[0]

    def render(self, session: Session) -> bytes:
        """Return the text with every variable's value; one that is not found counts as empty."""
        constant = self.constant
        if constant is not None:
            return constant
        single = self._single
        if single is not None:
            value = single(session)
            return b"" if value is None else value
        pieces: list[bytes] = []
        getters = self._getters
        constants = self._constants
        for i in range(len(getters)):
            getter = getters[i]
            if getter is None:
                pieces.append(constants[i])
            else:
                value = getter(session)
                if value is not None:
                    pieces.append(value)
        return b"".join(pieces)

    def has_variables(self) -> bool:
        """Return whether the value can differ from session to session."""
        return self.constant is None


def split_text(text: str, where: Where) -> list[tuple[str, bool]]:
    """Split at variables: [("http://", False), ("host", True)]. Raises ConfigError for "$" without a name, as nginx does."""
    parts: list[tuple[str, bool]] = []
    position = 0
    while position < len(text):
        dollar = text.find("$", position)
        if dollar < 0:
            parts.append((text[position:], False))
            break
        if dollar > position:
            parts.append((text[position:dollar], False))
        start = dollar + 1
        braced = text[start : start + 1] == "{"
        if braced:
            start += 1
        end = start
        if text[start : start + 1].isdecimal() and not braced:
            end = start + 1  # nginx: $1 is one digit, so "$10" is "$1" and "0"
        else:
            while end < len(text) and text[end] in _NAME_CHARACTERS:
                end += 1
        if end == start:
            raise ConfigError(f'invalid variable name in "{text}"', where)
        if braced:
            if text[end : end + 1] != "}":
                raise ConfigError(f'the closing bracket in "{text[start:end]}" variable is missing', where)
            position = end + 1
        else:
            position = end
        parts.append((text[start:end], True))
    return parts


def templates(statement: Statement) -> list[Template]:
    """Return a template for each argument; a directive's parser."""
    return [template(statement, index) for index in range(len(statement.args))]


def any_set(texts: list[Template], session: Session) -> bool:
    """Return whether any of the texts is neither empty nor "0" (ngx_http_test_predicates)."""
    for text in texts:
        value = text.render(session)
        if value and value != b"0":
            return True
    return False


def variable_name(statement: Statement, index: int) -> str:
    """Return the variable that an argument names, to be defined: without its "$", lower-case. Raises ConfigError."""
    text = statement.args[index].text
    if not text.startswith("$") or len(text) == 1:
        raise statement.fail(f'invalid variable name "{text}"', statement.args[index])
    return text[1:].lower()


def template_of(text: str, statement: Statement) -> Template:
    """Return a template for `text`, resolved at the end of loading."""
    made = Template(text, statement.where)
    statement.load.resolve_later(made)
    return made


def template(statement: Statement, index: int = 0) -> Template:
    """Return a template for the statement's argument `index`; usable as a directive's parser."""
    made = Template(statement.args[index].text, statement.args[index].where)
    statement.load.resolve_later(made)
    return made


def size_template(statement: Statement) -> Template:
    """Return a template for a size that may hold variables; a directive's parser. Raises ConfigError where a constant is none."""
    made = template(statement)
    if made.constant is not None and values.size_of(made.text) is None:
        raise statement.fail(f'"{statement.name}" directive invalid value', statement.args[0])
    return made
