"""`auth_request`: a subrequest decides who may pass. (nginx: ngx_http_auth_request_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.errorlog import ERR, INFO
from portico.http.access import ALLOWED, PENDING, AccessStep
from portico.http.errors import HTTPError
from portico.http.feature import Feature, LocationBuild
from portico.http.subrequest import answer_of, finish, subrequest_of
from portico.http.variables.assigned import assign, define_assigned
from portico.variables.template import Template, template, variable_name
from portico.variables.variable import Getter, Variables

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

_ALL: Final = HTTP | SERVER | LOCATION


def _auth_request(statement: Statement) -> bytes:
    text = statement.args[0].text
    return b"" if text == "off" else text.encode("utf-8", "surrogateescape")


@final
class AuthVariable:
    """One `auth_request_set`."""

    def __init__(self, name: str, value: Template, statement: Statement) -> None:
        self.name = name
        self.value = value
        self.statement = statement


def _auth_request_set(statement: Statement) -> AuthVariable:
    return AuthVariable(variable_name(statement, 0), template(statement, 1), statement)


AUTH_REQUEST: Final = Directive[bytes](
    "auth_request", _ALL, _auth_request, args="1", default=b"", default_text="off",
    syntax="URI | off",
    doc="Asks URI, as a subrequest with the fields of the request and without its body, whether the request may pass: 2xx "
    "allows it, 401 (with its WWW-Authenticate) and 403 refuse it, any other is an error, 500.",
    example="auth_request /auth;",
)
AUTH_REQUEST_SET: Final = Directive[AuthVariable | None](
    "auth_request_set", _ALL, _auth_request_set, args="2", many=True, default=None,
    syntax="$VARIABLE VALUE",
    doc="Gives a variable a value once the subrequest has been answered; VALUE may hold variables of it, such as "
    "`$upstream_http_x_user`.",
    example="auth_request_set $user $upstream_http_x_user;",
)


@final
class AuthRequestStep(AccessStep):
    """The check of one location."""

    def __init__(self, uri: bytes, variables: list[AuthVariable]) -> None:
        self.uri = uri
        self.variables = variables

    def waits(self) -> bool:
        return True

    def check(self, request: Request) -> int:
        return PENDING

    async def check_async(self, request: Request) -> int:
        asked = subrequest_of(request, self.uri, b"")
        response = await answer_of(asked)
        try:
            self._set(request, asked)
            return self._verdict(response)
        finally:
            finish(asked, response)

    def _set(self, request: Request, asked: Request) -> None:
        for variable in self.variables:
            assign(request, variable.name, variable.value.render(asked))

    def _verdict(self, response: Response) -> int:
        status = response.status
        if 200 <= status < 300:
            return ALLOWED
        if status in (401, 403):
            refusal = HTTPError(status, f"access forbidden by {self.describe()}: it was answered {status}", INFO)
            if status == 401:
                refusal.fields = tuple(field for field in response.fields if field[0].lower() == b"www-authenticate")
            raise refusal
        raise HTTPError(500, f"auth request unexpected status: {status}", ERR)

    def describe(self) -> str:
        return "auth_request " + self.uri.decode("utf-8", "backslashreplace")


class AuthRequestFeature(Feature):
    """Adds the check where there is a URI to ask."""

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        for variable in scope.own_all(AUTH_REQUEST_SET):
            if variable is not None:
                define_assigned(variables, variable.name, _getter(variable.name), variable.statement)
        for child in scope.children:
            self.declare(child, variables)

    def location(self, build: LocationBuild) -> None:
        uri = build.scope.get(AUTH_REQUEST)
        if uri:
            variables = [variable for variable in build.scope.all(AUTH_REQUEST_SET) if variable is not None]
            build.add_access(AuthRequestStep(uri, variables))


def _getter(name: str) -> Getter[Request]:
    def get(request: Request) -> bytes | None:
        values = request.values
        return None if values is None else values.get(name)

    return get


FEATURE: Final = AuthRequestFeature(
    "http_auth_request", (AUTH_REQUEST, AUTH_REQUEST_SET), configure="--with-http_auth_request_module"
)
