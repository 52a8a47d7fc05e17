"""`auth_require`: values that other checks of access have found out must be there. (nginx Plus: ngx_http_auth_require_module.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.directive import HTTP, LIMIT_EXCEPT, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.errorlog import ERR
from portico.http.access import ALLOWED, AccessStep
from portico.http.errors import HTTPError
from portico.http.feature import Feature, LocationBuild
from portico.variables.template import Template, template_of

if TYPE_CHECKING:
    from portico.http.request import Request


@final
class Requirement:
    """One `auth_require`: values that must be neither empty nor 0, and the status when one of them is. No values: `off`."""

    def __init__(self, values: list[Template], status: int) -> None:
        self.values = values
        self.status = status


def _requirement(statement: Statement) -> Requirement:
    if len(statement.args) == 1 and statement.args[0].text == "off":
        return Requirement([], 0)
    status = 403
    values: list[Template] = []
    for argument in statement.args:
        name, mark, text = argument.text.partition("=")
        if argument.text.startswith("$"):
            values.append(template_of(argument.text, statement))
        elif mark and name == "error" and len(text) == 3 and text.isdecimal() and text[0] in "45":
            status = int(text)
        else:
            hint = "a value must start with a variable; error=403 gives the status, 4xx or 5xx"
            raise statement.fail(f'invalid parameter "{argument.text}"', argument, hint)
    if not values:
        raise statement.fail('"auth_require" has no value to check')
    return Requirement(values, status)


AUTH_REQUIRE: Final = Directive[Requirement | None](
    "auth_require", HTTP | SERVER | LOCATION | LIMIT_EXCEPT, _requirement, args="1+", many=True, default=None, default_text="off",
    syntax="$VALUE ... [error=4xx | 5xx]\noff",
    doc="Lets requests pass for which every value is neither empty nor `0`; others are answered 403, or what `error` says. It is "
    "checked after `auth_oidc`, `auth_jwt` and `auth_request`, so values may be made of what these have found out. All lines of "
    "a block must hold; a block with none has those from around it, unless it says `off`.",
    example="auth_require $remote_user;",
)


@final
class RequireStep(AccessStep):
    """The check of one location."""

    def __init__(self, requirements: list[Requirement]) -> None:
        self.requirements = requirements

    def check(self, request: Request) -> int:
        for requirement in self.requirements:
            for value in requirement.values:
                if value.render(request) in (b"", b"0"):
                    raise HTTPError(requirement.status, f'access forbidden: auth_require "{value.text}"', ERR)
        return ALLOWED

    def describe(self) -> str:
        return "auth_require " + " ".join([value.text for requirement in self.requirements for value in requirement.values])


class AuthRequireFeature(Feature):
    """Adds the check where something is required."""

    def location(self, build: LocationBuild) -> None:
        requirements = [required for required in build.scope.all(AUTH_REQUIRE) if required is not None and required.values]
        if requirements:
            build.add_access(RequireStep(requirements))


FEATURE: Final = AuthRequireFeature("http_auth_require", (AUTH_REQUIRE,))
