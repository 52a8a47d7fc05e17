"""Variables to which a configuration gives values while it serves: `set`, `auth_request_set`.

Most are the configuration's own, in `Request.values`. Of the others two may be set (nginx: those with a set_handler): `$args` changes
the request's arguments, and `$limit_rate` is looked for by what sends the response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.config.reader import Statement
from portico.config.values import size_of
from portico.errorlog import ERR
from portico.variables.variable import Getter, Variables

if TYPE_CHECKING:
    from portico.http.request import Request

_SETTABLE: Final = frozenset(("args", "limit_rate"))


def define_assigned(variables: Variables[Request], name: str, get: Getter[Request], statement: Statement) -> None:
    """Make known a variable that `statement` sets; it is a mistake when Portico has one of that name that cannot be set."""
    if name not in _SETTABLE and not variables.define(name, get, replace=False):
        statement.load.diagnostics.error(statement.fail(f'the duplicate "{name}" variable', statement.args[0]))


def assign(request: Request, name: str, value: bytes) -> None:
    """Give a variable a value."""
    if name == "args":
        request.target = request.target.with_args(value)
        return
    if name == "limit_rate":
        rate = size_of(value.decode("latin-1"))
        if rate is None:
            shown = value.decode(errors="backslashreplace")
            request.log_error(ERR, f'invalid $limit_rate "{shown}"')
            return
        value = b"%d" % rate
    if request.values is None:
        request.values = {}
    request.values[name] = value
