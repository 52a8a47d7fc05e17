"""`$variables` and the texts that hold them.

A text such as `"$scheme://$host$request_uri"` is compiled when the configuration is loaded, to constant bytes or to a list of
constants and getters. Each variable says how long its value holds (`stability`), so that a text made only of what a connection
and its header block determine can be remembered with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from portico.config.build import nearest
from portico.config.diagnostics import ConfigError
from portico.config.load import Late, Load
from portico.config.reader import Statement, Where
from portico.config.regex import Regex
from portico.errorlog import ERR

if TYPE_CHECKING:
    from portico.http.request import Request

# How long the value of a variable holds.
STABLE_LOAD: Final = 0  # for the life of the configuration
STABLE_FIELDS: Final = 1  # for one connection, as long as virtual server and header block stay the same
PER_REQUEST: Final = 2

Getter = Callable[["Request"], "bytes | None"]

_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DEEPEST: Final = 100  # nginx: ngx_http_variable_depth


@final
class Nesting:
    """How deep we are in variables that are made of others (`map`, `geo`, `split_clients`), which may form a cycle."""

    def __init__(self) -> None:
        self.depth = 0

    def enter(self, request: Request, name: str) -> bool:
        """One deeper, till `leave`; False, and said in the log, when it is too deep: then the variable has no value."""
        if self.depth >= _DEEPEST:
            request.log_error(ERR, f'cycle while evaluating variable "{name}"')
            return False
        self.depth += 1
        return True

    def leave(self) -> None:
        """Back again."""
        self.depth -= 1


NESTING: Final = Nesting()  # values are found without waiting, so one is enough


@final
class Variable:
    """A name, how to get its value (None: "not found", which a log shows as "-"), and how long that value holds."""

    def __init__(self, name: str, get: Getter, stability: int = PER_REQUEST, doc: str = "") -> None:
        self.name = name
        self.get = get
        self.stability = stability
        self.doc = doc
        self.settable = False  # the configuration itself gives it its value: `set`, a named group


@final
class VariableFamily:
    """All variables with a prefix: `$http_*`, `$arg_*`. `make` gets the rest of the name."""

    def __init__(
        self, prefix: str, make: Callable[[str], Getter], stability: int = PER_REQUEST, doc: str = ""
    ) -> None:
        self.prefix = prefix
        self.make = make
        self.stability = stability
        self.doc = doc


@final
class Variables:
    """Every variable that one configuration can name."""

    def __init__(self) -> None:
        self._known: dict[str, Variable] = {}
        self._families: list[VariableFamily] = []

    def add(self, variable: Variable) -> None:
        """Make `variable` known; the last one of a name wins."""
        self._known[variable.name] = variable

    def add_family(self, family: VariableFamily) -> None:
        """Make every variable with the family's prefix known."""
        self._families.append(family)
        self._families.sort(key=_prefix_length)

    def add_captures(self, regex: Regex, where: Where, load: Load) -> None:
        """The named groups of a regex somewhere in the configuration; they may share a name, but not with a variable of Portico's."""
        for name in regex.names:
            known = self._known.get(name)
            if known is None:
                self._known[name] = Variable(name, _named_capture(name))
                self._known[name].settable = True
            elif not known.settable:
                hint = "a named group of a regex defines a variable: give it another name"
                load.diagnostics.error(ConfigError(f'the duplicate "{name}" variable', where, hint))

    def define(self, name: str, get: Getter, replace: bool = True) -> bool:
        """Make known a variable that the configuration gives its value; False: Portico has one of that name.

        Such getters look at what `set` left in `request.values` first, so `set` (`replace` false) can share a name with any of them.
        """
        known = self._known.get(name)
        if known is not None and not known.settable:
            return False
        if known is None or replace:
            self._known[name] = Variable(name, get)
            self._known[name].settable = True
        return True

    def find(self, name: str) -> Variable | None:
        """The variable called `name` (without "$"), None when nothing defines it."""
        variable = self._known.get(name)
        if variable is not None:
            return variable
        if name.isdecimal():
            variable = Variable(name, _numbered_capture(int(name)))
        else:
            lower = name.lower()
            if lower != name:
                return self.find(lower)
            for family in self._families:
                if name.startswith(family.prefix) and len(name) > len(family.prefix):
                    variable = Variable(name, family.make(name[len(family.prefix) :]), family.stability)
                    break
        if variable is not None:
            self._known[name] = variable
        return variable

    def unknown(self, name: str, where: Where | None) -> ConfigError:
        """The error about a variable that nothing defines."""
        meant = nearest(name, self._known)
        return ConfigError(f'unknown "{name}" variable', where, f'did you mean "${meant}"?' if meant else "")


def _prefix_length(family: VariableFamily) -> int:
    return -len(family.prefix)


def _named_capture(name: str) -> Getter:
    def get(request: Request) -> bytes | None:
        values = request.values
        if values is not None and name in values:  # `set` came later
            return values[name]
        named = request.named
        return None if named is None else named.get(name)

    return get


def _numbered_capture(number: int) -> Getter:
    def get(request: Request) -> bytes | None:
        captures = request.captures
        if captures is None or number >= len(captures):
            return None
        return captures[number]

    return get


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
        self._getters: list[Getter | None] = []
        self._single: Getter | None = None
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

    def render(self, request: Request) -> bytes:
        """The text with every variable's value; one that is not found counts as empty."""
        constant = self.constant
        if constant is not None:
            return constant
        single = self._single
        if single is not None:
            value = single(request)
            return b"" if value is None else value
        pieces: list[bytes] = []
        getters = self._getters
        constants = self._constants
        for i in range(len(getters)):
            getter = getters[i]
            if getter is None:
                pieces.append(constants[i])
            else:
                value = getter(request)
                if value is not None:
                    pieces.append(value)
        return b"".join(pieces)

    def has_variables(self) -> bool:
        """Whether the value can differ from request to request."""
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
    """A template for each argument; a directive's parser."""
    return [template(statement, index) for index in range(len(statement.args))]


def any_set(texts: list[Template], request: Request) -> bool:
    """Whether any of the texts is neither empty nor "0" (ngx_http_test_predicates)."""
    for text in texts:
        value = text.render(request)
        if value and value != b"0":
            return True
    return False


def variable_name(statement: Statement, index: int) -> str:
    """The variable that an argument names, to be defined: without its "$", lower-case. Raises ConfigError."""
    text = statement.args[index].text
    if not text.startswith("$") or len(text) == 1:
        raise statement.fail(f'invalid variable name "{text}"', statement.args[index])
    return text[1:].lower()


def template_of(text: str, statement: Statement) -> Template:
    """A template for `text`, resolved at the end of loading."""
    made = Template(text, statement.where)
    statement.load.pending.append(made)
    return made


def template(statement: Statement, index: int = 0) -> Template:
    """A template for the statement's argument `index`; usable as a directive's parser."""
    made = Template(statement.args[index].text, statement.args[index].where)
    statement.load.pending.append(made)
    return made
