"""`map`: a variable whose value depends on another's. (nginx: ngx_http_map_module.c.)

A value is looked up in nginx's order: the exact string (regardless of case), with `hostnames` the longest `*.name` and then the
longest `name.*`, the regexes in the order written, the default. Strings live in a dict: ten thousand cost what ten do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, Directive, Scope
from portico.config.reader import Statement
from portico.config.regex import Regex, RegexFailed
from portico.errorlog import ALERT
from portico.http.feature import Feature
from portico.http.listen import parse_regex
from portico.http.routing.server_names import ServerNames
from portico.variables.template import NESTING, Template, Variables, template, template_of, variable_name

if TYPE_CHECKING:
    from portico.http.request import Request


@final
class Map:
    """One `map`."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.source = template(statement)
        self.name: str = variable_name(statement, 1)
        self.volatile = False
        self.hostnames = False
        self.default: Template | None = None
        self.strings: dict[bytes, Template] = {}
        self.masks: ServerNames[Template | None] = ServerNames(None)  # with `hostnames`
        self.regexes: list[tuple[Regex, Template]] = []
        self.lines: list[Statement] = []  # of the regexes

    def get(self, request: Request) -> bytes | None:
        """The variable's value; but for `volatile` found once for a request."""
        known = request.values
        if known is not None and self.name in known:
            return known[self.name]
        if not NESTING.enter(request, self.name):
            return None
        try:
            found = self._find(request, self.source.render(request))
            value = b"" if found is None else found.render(request)
        finally:
            NESTING.leave()
        if not self.volatile:
            if request.values is None:
                request.values = {}
            request.values[self.name] = value
        return value

    def _find(self, request: Request, text: bytes) -> Template | None:
        subject = text.lower()
        if self.hostnames:
            found = self.masks.find(subject.removesuffix(b".")).value
        else:
            found = self.strings.get(subject)
        if found is not None:
            return found
        for regex, value in self.regexes:
            try:
                captures = regex.match(text)
            except RegexFailed as failed:
                request.log_error(ALERT, str(failed))
                break
            if captures is not None:
                request.captures = captures
                named = regex.named_values(captures)
                if named is not None:
                    request.keep_names(named)
                return value
        return self.default

    def add(self, line: Statement) -> None:
        """One line of the block. Raises ConfigError."""
        if not line.args and line.name == "volatile":
            self.volatile = True
            return
        if not line.args and line.name == "hostnames":
            self._begin_hostnames()
            return
        if len(line.args) != 1 or line.block is not None:
            raise line.fail("invalid number of the map parameters")
        value = template_of(line.args[0].text, line)
        if line.name == "default":
            if self.default is not None:
                raise line.fail("duplicate default map parameter")
            self.default = value
        elif line.name.startswith("~"):
            caseless = line.name.startswith("~*")
            self.regexes.append((parse_regex(line, -1, line.name[2 if caseless else 1 :], caseless), value))
            self.lines.append(line)
        else:
            self._add_string(line, value)

    def _begin_hostnames(self) -> None:
        """From here on a string may be a mask; those before are what they are, `*` and all."""
        self.hostnames = True
        for key, value in self.strings.items():
            self.masks.add_exact(key, value)
        self.strings.clear()

    def _add_string(self, line: Statement, value: Template) -> None:
        text = line.name.removeprefix("\\")  # "\default" is the string "default"
        if self.hostnames:
            try:
                added = self.masks.add(text, value)
            except ValueError:
                raise line.fail(f'invalid hostname or wildcard "{text}"') from None
        else:
            key = text.lower().encode("utf-8", "surrogateescape")
            added = key not in self.strings
            self.strings[key] = value
        if not added:
            raise line.fail(f'conflicting parameter "{text.lower()}"')


def _map(statement: Statement) -> Map:
    made = Map(statement)
    for line in statement.block or []:
        made.add(line)
    return made


MAP: Final = Directive[Map | None](
    "map", HTTP, _map, args="2", many=True, default=None, raw_block=True,
    syntax="TEXT $VARIABLE { ... }",
    doc="Defines a variable: its value is that of the line whose first word fits TEXT, regardless of case; `~` and `~*` begin a "
    "regex, whose groups the value may use. `default` is for everything else; `hostnames` allows masks (`*.example.com`, `www.*`, "
    "`.example.com`) in the lines after it; `volatile` finds the value anew at each use; `include` reads lines from a file. A "
    "backslash keeps a word from being special.",
    example="map $http_user_agent $mobile { default 0; ~*android 1; }",
)
MAP_HASH_MAX_SIZE: Final = Directive[int](
    "map_hash_max_size", HTTP, values.number, args="1", default=2048, default_text="2048",
    doc="Sizes nginx's tables. Portico's tables grow by themselves: checked, then of no effect.", example="map_hash_max_size 4096;",
)
MAP_HASH_BUCKET_SIZE: Final = Directive[int](
    "map_hash_bucket_size", HTTP, values.number, args="1", default=64, default_text="64",
    doc="See `map_hash_max_size`.", example="map_hash_bucket_size 128;",
)


class MapFeature(Feature):
    """Makes the variables known; nothing is attached to locations."""

    def declare(self, scope: Scope, variables: Variables) -> None:
        for made in scope.own_all(MAP):
            if made is None:
                continue
            if not variables.define(made.name, made.get):
                error = made.statement.fail(f'the duplicate "{made.name}" variable', made.statement.args[1])
                made.statement.load.diagnostics.error(error)
            for (regex, _), line in zip(made.regexes, made.lines, strict=True):
                variables.add_captures(regex, line.where, scope.load)


FEATURE: Final = MapFeature("http_map", (MAP, MAP_HASH_MAX_SIZE, MAP_HASH_BUCKET_SIZE))
