"""`rewrite`, `if`, `set`, `return`, `break`: declared, and made into one script for each block.

Source: nginx's ngx_http_rewrite_module.c and ngx_http_script.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, IF_LOCATION, IF_SERVER, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.config.regex import Regex, parse_regex
from portico.errorlog import WARN
from portico.features.rewrite.conditions import Condition, condition
from portico.features.rewrite.replacement import Replacement
from portico.features.rewrite.returns import RETURN
from portico.features.rewrite.script import BreakStep, IfStep, ReturnStep, RewriteStep, Script, SetStep, Step
from portico.features.rewrite.set_misc import DIRECTIVES as SET_CALLS
from portico.features.rewrite.set_misc import step_of
from portico.http.feature import Feature, HttpBuild, LocationBuild
from portico.http.handler import REWRITE, Handler
from portico.http.variables.assigned import define_assigned
from portico.variables.template import Template, template, variable_name
from portico.variables.variable import Getter, Variables

if TYPE_CHECKING:
    from portico.http.plan import VirtualServer
    from portico.http.request import Request

_BLOCKS: Final = SERVER | LOCATION | IF_SERVER | IF_LOCATION
_ALL: Final = HTTP | _BLOCKS
_URL_STARTS: Final = ("http://", "https://", "$scheme")


@final
class Rewrite:
    """A `rewrite` as written."""

    def __init__(self, regex: Regex, step: RewriteStep) -> None:
        self.regex = regex
        self.step = step


def _rewrite(statement: Statement) -> Rewrite:
    pattern, text = statement.args[0].text, statement.args[1].text
    regex = parse_regex(statement, 0, pattern, False)
    if not text:
        raise statement.fail("empty replacement", statement.args[1])
    status = 302 if text.startswith(_URL_STARTS) else 0
    flag = statement.args[2].text if len(statement.args) == 3 else ""
    if flag == "redirect":
        status = 302
    elif flag == "permanent":
        status = 301
    elif flag not in ("", "last", "break"):
        raise statement.fail(f'invalid parameter "{flag}"', statement.args[2])
    keeps_args = not text.endswith("?")
    replacement = Replacement(text if keeps_args else text[:-1], statement.args[1].where, status != 0)
    statement.load.resolve_later(replacement)
    return Rewrite(regex, RewriteStep(regex, replacement, status, keeps_args, flag != "", flag == "break"))


@final
class Assignment:
    """A `set` as written."""

    def __init__(self, name: str, value: Template, statement: Statement) -> None:
        self.name = name
        self.value = value
        self.statement = statement


def _set(statement: Statement) -> Assignment:
    return Assignment(variable_name(statement, 0), template(statement, 1), statement)


REWRITE_URI: Final = Directive[Rewrite | None](
    "rewrite", _BLOCKS, _rewrite, args="2-3", many=True, default=None,
    syntax="REGEX REPLACEMENT [last | break | redirect | permanent]",
    doc="Where the URI matches REGEX it becomes REPLACEMENT, in which `$1`, `$2` … stand for the groups. `last` ends it and "
    "looks for the location of the new URI, `break` ends it and stays; without a flag it goes on, and a location is looked for "
    "afterwards. `redirect` (302) and `permanent` (301), and a replacement that begins with http://, https:// or $scheme, send the "
    "client there. The request's arguments are added, unless the replacement ends with `?`. After ten rounds it ends with 500.",
    example="rewrite ^/users/(.*)$ /show?user=$1 last;",
)
SET: Final = Directive[Assignment | None](
    "set", _BLOCKS, _set, args="2", many=True, default=None,
    syntax="$VARIABLE VALUE",
    doc="Gives a variable a value: text, variables, or both. It is known everywhere, and empty until a `set` has run.",
    example="set $limit_rate 10k;",
)
BREAK: Final = Directive[bool](
    "break", _BLOCKS, values.present, args="0", many=True, default=False,
    doc="Ends the rewriting of this block: what follows of `if`, `set`, `rewrite` and `return` does not run.",
    example="if ($arg_slow) { set $limit_rate 10k; break; }",
)
_IF_DOC: Final = (
    "Runs the block where the condition holds: `$variable` (neither empty nor 0), `$variable = text`, `!=`, `$variable ~ regex`, "
    "`~*` regardless of case, `!~`, `!~*`, and `-f`, `-d`, `-e`, `-x` with `!` for files. A block in a location is a location of its "
    "own: its settings are those of the request from then on, and what it does not set it has from the location around it."
)
IF_IN_SERVER: Final = Directive[Condition | None](
    "if", SERVER, condition, args="1+", many=True, default=None, block=IF_SERVER,
    syntax="(CONDITION) { ... }", doc=_IF_DOC, example="if ($request_method = POST) { return 405; }",
)
IF_IN_LOCATION: Final = Directive[Condition | None](
    "if", LOCATION, condition, args="1+", many=True, default=None, block=IF_LOCATION,
    syntax="(CONDITION) { ... }", doc=_IF_DOC, example="if ($request_method = POST) { return 405; }",
)
REWRITE_LOG: Final = Directive[bool](
    "rewrite_log", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Writes what rewriting does to the error log, at level notice.", example="rewrite_log on;",
)
UNINITIALIZED_VARIABLE_WARN: Final = Directive[bool](
    "uninitialized_variable_warn", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Whether the use of a variable that no `set` has given a value yet is worth a warning in the error log.",
    example="uninitialized_variable_warn off;",
)


class RewriteFeature(Feature):
    """One script for each server, in the server-rewrite phase, and one for each location; no block inherits another's."""

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        for given in scope.own_settings(REWRITE_URI):
            if given.value is not None:
                variables.add_captures(given.value.regex, given.where, scope.load)
        for child in scope.children:
            opened = child.value
            if isinstance(opened, Condition) and opened.regex is not None and child.statement is not None:
                variables.add_captures(opened.regex, child.statement.where, scope.load)
        for assignment in scope.own_all(SET):
            if assignment is not None:
                define_assigned(variables, assignment.name, _getter(assignment.name), assignment.statement)
        for directive in SET_CALLS:
            for call in scope.own_all(directive):
                if call is not None:
                    define_assigned(variables, call.name, _getter(call.name), call.statement)
        for child in scope.children:
            self.declare(child, variables)

    def server_rewrite(self, build: HttpBuild, server: VirtualServer, scope: Scope) -> list[Handler]:
        steps = _steps(scope, None)
        return [Script(steps, scope.get(REWRITE_LOG))] if steps else []

    def location(self, build: LocationBuild) -> None:
        build.location.warns_of_unset = build.scope.get(UNINITIALIZED_VARIABLE_WARN)
        if build.scope.context != LOCATION:
            return
        steps = _steps(build.scope, build)
        if steps:
            build.add_handler(REWRITE, Script(steps, build.scope.get(REWRITE_LOG)))


def _getter(name: str) -> Getter[Request]:
    def get(request: Request) -> bytes | None:
        given = request.values
        value = None if given is None else given.get(name)
        if value is None and request.named is not None:
            value = request.named.get(name)  # a regex may have a group of that name
        if value is None and request.location.warns_of_unset:
            request.log_error(WARN, f'using uninitialized "{name}" variable')
        return value

    return get


def _steps(scope: Scope, build: LocationBuild | None) -> list[Step]:
    """The steps of a block, in the order written. `build` None: on server level."""
    found: list[tuple[int, Step]] = []
    for rewrite in scope.own_settings(REWRITE_URI):
        if rewrite.value is not None:
            found.append((rewrite.where.order, rewrite.value.step))
    for assignment in scope.own_settings(SET):
        if assignment.value is not None:
            found.append((assignment.where.order, SetStep(assignment.value.name, assignment.value.value)))
    for directive in SET_CALLS:
        for call in scope.own_settings(directive):
            if call.value is not None:
                found.append((call.where.order, step_of(call.value)))
    for given in scope.own_settings(RETURN):
        if given.value is not None:
            found.append((given.where.order, ReturnStep(given.value)))
    for ended in scope.own_settings(BREAK):
        found.append((ended.where.order, BreakStep()))
    for child in scope.children:
        opened = child.value
        if isinstance(opened, Condition) and child.statement is not None:
            inner = None if build is None else build.inner(child).location
            found.append((child.statement.where.order, IfStep(opened, inner, _steps(child, build))))
    return [step for _, step in sorted(found, key=_by_order)]


def _by_order(entry: tuple[int, Step]) -> int:
    return entry[0]


FEATURE: Final = RewriteFeature(
    "http_rewrite",
    (REWRITE_URI, SET, RETURN, BREAK, IF_IN_SERVER, IF_IN_LOCATION, REWRITE_LOG, UNINITIALIZED_VARIABLE_WARN),
)
