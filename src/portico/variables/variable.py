"""Variables by their names: what one kind of session can name in its configuration.

A getter says whom it asks: `Getter[Session]` works for whatever is served, `Getter[Request]` for a request of HTTP only. A registry
is that of one kind of session (`Variables[Request]` of the `http` block) and takes getters of that kind and of what it derives from;
texts are resolved by the registry of the block that they stand in. None of this is there at run time: a text calls its getters with
the session that it was given, and a compiled getter compares the type of its argument in any case, as every compiled function does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

from portico.config.build import nearest
from portico.config.diagnostics import ConfigError
from portico.config.load import Load
from portico.config.reader import Where
from portico.config.regex import Regex
from portico.errorlog import ERR

if TYPE_CHECKING:
    from portico.variables.session import Session

# How long the value of a variable holds.
STABLE_LOAD: Final = 0  # for the life of the configuration
STABLE_FIELDS: Final = 1  # for one connection, as long as virtual server and header section stay the same
PER_REQUEST: Final = 2

S = TypeVar("S", bound="Session", contravariant=True)

Getter = Callable[[S], "bytes | None"]

_DEEPEST: Final = 100  # nginx: ngx_http_variable_depth


@final
class Nesting:
    """How deep we are in variables that are made of others (`map`, `geo`, `split_clients`), which may form a cycle."""

    def __init__(self) -> None:
        self.depth = 0

    def enter(self, session: Session, name: str) -> bool:
        """Go one deeper, until `leave`. Returns False, and logs it, when that is too deep: then the variable has no value."""
        if self.depth >= _DEEPEST:
            session.log_error(ERR, f'cycle while evaluating variable "{name}"')
            return False
        self.depth += 1
        return True

    def leave(self) -> None:
        """Come back."""
        self.depth -= 1


NESTING: Final = Nesting()  # values are found without waiting, so one is enough


@final
class Variable(Generic[S]):
    """A name, how to get its value (None: "not found", which a log shows as "-"), and how long that value holds."""

    def __init__(self, name: str, get: Getter[S], stability: int = PER_REQUEST, doc: str = "") -> None:
        self.name = name
        self.get = get
        self.stability = stability
        self.doc = doc
        self.settable = False  # the configuration itself gives it its value: `set`, a named group


@final
class VariableFamily(Generic[S]):
    """All variables with a prefix: `$http_*`, `$arg_*`. `make` gets the rest of the name."""

    def __init__(
        self, prefix: str, make: Callable[[str], Getter[S]], stability: int = PER_REQUEST, doc: str = ""
    ) -> None:
        self.prefix = prefix
        self.make = make
        self.stability = stability
        self.doc = doc


@final
class Variables(Generic[S]):
    """Every variable that one configuration can name."""

    def __init__(self) -> None:
        self._known: dict[str, Variable[S]] = {}
        self._families: list[VariableFamily[S]] = []

    def add(self, variable: Variable[S]) -> None:
        """Make `variable` known; the last one of a name wins."""
        self._known[variable.name] = variable

    def add_family(self, family: VariableFamily[S]) -> None:
        """Make every variable with the family's prefix known."""
        self._families.append(family)
        self._families.sort(key=_prefix_length)

    def add_captures(self, regex: Regex, where: Where, load: Load) -> None:
        """Make the named groups of a regex known; they may share a name with each other, but not with a variable of Portico's."""
        for name in regex.names:
            known = self._known.get(name)
            if known is None:
                self._known[name] = Variable(name, _named_capture(name))
                self._known[name].settable = True
            elif not known.settable:
                hint = "a named group of a regex defines a variable: give it another name"
                load.diagnostics.error(ConfigError(f'the duplicate "{name}" variable', where, hint))

    def define(self, name: str, get: Getter[S], replace: bool = True) -> bool:
        """Make known a variable that the configuration gives its value. Returns False when Portico has one of that name.

        Such getters look at what `set` left in `Session.values` first, so `set` (`replace` false) can share a name with any of them.
        With a name of a family, such as `http_x`, the variable is the family's until it is set.
        """
        known = self._known.get(name)
        if known is not None and not known.settable:
            return False
        if known is None and not replace:
            of_family = self._of_family(name)
            if of_family is not None:
                get = _set_or_else(name, of_family)
        if known is None or replace:
            self._known[name] = Variable(name, get)
            self._known[name].settable = True
        return True

    def find(self, name: str) -> Variable[S] | None:
        """Return the variable called `name` (without "$"), None when nothing defines it."""
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
                if name.startswith(family.prefix):  # with nothing behind it, too: then it has no value
                    variable = Variable(name, family.make(name[len(family.prefix) :]), family.stability)
                    break
        if variable is not None:
            self._known[name] = variable
        return variable

    def look_up(self, name: str) -> Getter[S] | None:
        """Return how to get a variable that is asked for by name, in lower case, while the configuration serves; None: there is none.

        Nothing is made known by that, however many names are asked for. Numbers are no names here (ngx_http_get_variable).
        """
        variable = self._known.get(name)
        if variable is not None:
            return None if name.isdecimal() else variable.get
        return self._of_family(name)

    def _of_family(self, name: str) -> Getter[S] | None:
        """Return how a family gets the variable; None when it belongs to none."""
        for family in self._families:
            if name.startswith(family.prefix):
                return family.make(name[len(family.prefix) :])
        return None

    def unknown(self, name: str, where: Where | None) -> ConfigError:
        """Return the error about a variable that nothing defines."""
        meant = nearest(name, self._known)
        return ConfigError(f'unknown "{name}" variable', where, f'did you mean "${meant}"?' if meant else "")

    def names(self) -> list[str]:
        """Return every name known now, sorted."""
        return sorted(self._known)


def _prefix_length(family: VariableFamily[S]) -> int:
    return -len(family.prefix)


def _set_or_else(name: str, otherwise: Getter[S]) -> Getter[S]:
    def get(session: S) -> bytes | None:
        values = session.values
        if values is not None and name in values:
            return values[name]
        return otherwise(session)

    return get


def _named_capture(name: str) -> Getter[Session]:
    def get(session: Session) -> bytes | None:
        values = session.values
        if values is not None and name in values:  # `set` came later
            return values[name]
        named = session.named
        return None if named is None else named.get(name)

    return get


def _numbered_capture(number: int) -> Getter[Session]:
    def get(session: Session) -> bytes | None:
        captures = session.captures
        if captures is None or number >= len(captures):
            return None
        return captures[number]

    return get
