"""The declaration of a directive, and the tree of blocks in which its values are looked up.

A feature declares each of its directives once:

    GZIP = Directive("gzip", HTTP | SERVER | LOCATION | IF_LOCATION, flag, args="1", default=False,
                     doc="Compresses responses.", example="gzip on;")

and asks a block for the value: `scope.get(GZIP)` is the block's own, else the nearest outer block's, else the
default.  This happens at load only.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast, final

from portico.config.load import Load
from portico.config.reader import Statement, Where

MAIN: Final = 1
EVENTS: Final = 2
HTTP: Final = 4
SERVER: Final = 8
LOCATION: Final = 16
UPSTREAM: Final = 32
IF_SERVER: Final = 64
IF_LOCATION: Final = 128
LIMIT_EXCEPT: Final = 256
STREAM: Final = 512
STREAM_SERVER: Final = 1024
STREAM_UPSTREAM: Final = 2048
OIDC_PROVIDER: Final = 4096

CONTEXT_NAMES: Final[dict[int, str]] = {
    MAIN: "main",
    EVENTS: "events",
    HTTP: "http",
    SERVER: "server",
    LOCATION: "location",
    UPSTREAM: "upstream",
    IF_SERVER: "if in server",
    IF_LOCATION: "if in location",
    LIMIT_EXCEPT: "limit_except",
    STREAM: "stream",
    STREAM_SERVER: "server in stream",
    STREAM_UPSTREAM: "upstream in stream",
    OIDC_PROVIDER: "oidc_provider",
}

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_ANY_NUMBER: Final = 1 << 30


def context_names(contexts: int) -> list[str]:
    """Return the names of the contexts in a bit set, in the order of nginx's documentation."""
    return [name for bit, name in CONTEXT_NAMES.items() if contexts & bit]


class Directive(Generic[T_co]):
    """One directive: where it may stand, what it takes, what it means.

    args: how many arguments: "1", "0", "1-2", "1+" (at least one), "1,3" (one or three).
    default: the value where nobody gave one, shared by all; an empty one tells its type: `list[str]()`.
    many: may stand several times in one block.  joins: it may, and what the later ones say adds to the first.
    block: the context bit of its braces (0: it has none).
    raw_block: it has braces whose content `parse` reads itself from `statement.block`.
    beyond: Portico's own, not nginx's.  doc: prose in Markdown.  example: a snippet that loads.
    """

    def __init__(
        self,
        name: str,
        contexts: int,
        parse: Callable[[Statement], T_co],
        *,
        args: str,
        default: T_co,
        doc: str,
        example: str,
        default_text: str = "",
        many: bool = False,
        joins: bool = False,
        block: int = 0,
        raw_block: bool = False,
        beyond: bool = False,
        syntax: str = "",
    ) -> None:
        self.name = name
        self.contexts = contexts
        self.parse = parse
        self.args = args
        self.default = default
        self.doc = doc
        self.example = example
        self.default_text = default_text
        self.many = many
        self.joins = joins
        self.block = block
        self.raw_block = raw_block
        self.beyond = beyond
        self.syntax = syntax
        self._arity: list[tuple[int, int]] = [_interval(part) for part in args.split(",")]

    def __repr__(self) -> str:
        return f"<directive {self.name}>"

    def takes(self, count: int) -> bool:
        """Return whether it may have `count` arguments."""
        return any(low <= count <= high for low, high in self._arity)

    def has_block(self) -> bool:
        """Return whether it must be followed by braces."""
        return self.block != 0 or self.raw_block


def _interval(part: str) -> tuple[int, int]:
    if part.endswith("+"):
        return int(part[:-1]), _ANY_NUMBER
    low, _, high = part.partition("-")
    return int(low), int(high or low)


@final
class Setting(Generic[T_co]):
    """A value and the place that gave it."""

    def __init__(self, value: T_co, where: Where) -> None:
        self.value = value
        self.where = where


@final
class Scope:
    """One block as read and checked.

    `statement` and `directive` opened it (None: the root), `value` is what that directive's parser made of
    its arguments, `children` are the blocks directly inside, in order.
    """

    def __init__(
        self,
        context: int,
        load: Load,
        parent: "Scope | None" = None,
        statement: Statement | None = None,
        directive: Directive[object] | None = None,
        value: object = None,
    ) -> None:
        self.context = context
        self.load = load
        self.parent = parent
        self.statement = statement
        self.directive = directive
        self.value = value
        self.children: list[Scope] = []
        self._settings: dict[Directive[object], list[Setting[object]]] = {}
        self._joined: dict[Directive[object], Statement] = {}

    def __repr__(self) -> str:
        return f"<{CONTEXT_NAMES.get(self.context, '?')} {self.statement!r}>"

    def add(self, d: Directive[T], value: T, where: Where) -> None:
        """Give a value in this block."""
        self._settings.setdefault(d, []).append(Setting(value, where))

    def join(self, d: Directive[object], statement: Statement) -> Statement:
        """Return a statement of a directive that `joins`, behind what those before it in this block have."""
        before = self._joined.get(d)
        whole = statement if before is None else statement.behind(before)
        self._joined[d] = whole
        return whole

    def get(self, d: Directive[T]) -> T:
        """Return the block's own value, else the nearest outer block's, else the default."""
        found = self.setting(d)
        return d.default if found is None else found.value

    def own(self, d: Directive[T]) -> T | None:
        """Return the value given in this very block; None: there is none."""
        found = self._settings.get(d)
        return cast(T, found[-1].value) if found else None

    def setting(self, d: Directive[T]) -> Setting[T] | None:
        """Return the value that is in force with the place that gave it; None: no block gives one."""
        found = self._nearest(d)
        return cast("Setting[T]", found[-1]) if found else None

    def all(self, d: Directive[T]) -> list[T]:
        """Return the values of the nearest block that has any: nginx inherits such lists whole or not at all."""
        return [cast(T, setting.value) for setting in self._nearest(d)]

    def own_all(self, d: Directive[T]) -> list[T]:
        """Return all values given in this very block."""
        return [cast(T, setting.value) for setting in self._settings.get(d, [])]

    def own_settings(self, d: Directive[T]) -> list[Setting[T]]:
        """Return what own_all() returns, each value with its place."""
        return [cast("Setting[T]", setting) for setting in self._settings.get(d, [])]

    def settings(self, d: Directive[T]) -> list[Setting[T]]:
        """Return what all() returns, each value with its place."""
        return [cast("Setting[T]", setting) for setting in self._nearest(d)]

    def blocks(self, d: Directive[object]) -> list["Scope"]:
        """Return the blocks inside that the directive opened, in order."""
        return [child for child in self.children if child.directive is d]

    def opened_as(self, d: Directive[T]) -> T:
        """Return `value`, typed: `d` must be the directive that opened this block."""
        assert self.directive is d
        return cast(T, self.value)

    def _nearest(self, d: Directive[object]) -> list[Setting[object]]:
        scope: Scope | None = self
        while scope is not None:
            found = scope._settings.get(d)
            if found:
                return found
            scope = scope.parent
        return []
