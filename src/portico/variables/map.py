"""A variable whose value depends on another text: what `map` makes. (nginx: ngx_http_map_module.c.)

A value is looked up in nginx's order: the exact string (regardless of case), with `hostnames` the longest `*.name` and then the
longest `name.*`, the regexes in the order written, the default. Strings live in a dict: ten thousand cost what ten do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from portico.config.load import Load
from portico.config.reader import Statement
from portico.config.regex import Regex, RegexFailed, parse_regex
from portico.config.server_names import ServerNames
from portico.errorlog import ALERT
from portico.variables.template import Template, template, template_of, variable_name
from portico.variables.variable import NESTING, S, Variables

if TYPE_CHECKING:
    from portico.variables.session import Session


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

    def get(self, session: Session) -> bytes | None:
        """Return the variable's value; but for `volatile` found once for a session."""
        known = session.values
        if known is not None and self.name in known:
            return known[self.name]
        if not NESTING.enter(session, self.name):
            return None
        try:
            found = self._find(session, self.source.render(session))
            value = b"" if found is None else found.render(session)
        finally:
            NESTING.leave()
        if not self.volatile:
            if session.values is None:
                session.values = {}
            session.values[self.name] = value
        return value

    def _find(self, session: Session, text: bytes) -> Template | None:
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
                session.log_error(ALERT, str(failed))
                break
            if captures is not None:
                session.captures = captures
                named = regex.named_values(captures)
                if named is not None:
                    session.keep_names(named)
                return value
        return self.default

    def add(self, line: Statement) -> None:
        """Add one line of the block. Raises ConfigError."""
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
        """Let strings be masks from here on; those before are what they are, `*` and all."""
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


def parse_map(statement: Statement) -> Map:
    """Return a block as a `Map`; the directive's parser. Raises ConfigError."""
    made = Map(statement)
    for line in statement.block or []:
        made.add(line)
    return made


def declare_maps(maps: Sequence[Map | None], variables: Variables[S], load: Load) -> None:
    """Make the variables of all maps known, and those that their regexes capture; mistakes go to the load's diagnostics."""
    for made in maps:
        if made is None:
            continue
        if not variables.define(made.name, made.get):
            error = made.statement.fail(f'the duplicate "{made.name}" variable', made.statement.args[1])
            load.diagnostics.error(error)
        for (regex, _), line in zip(made.regexes, made.lines, strict=True):
            variables.add_captures(regex, line.where, load)
