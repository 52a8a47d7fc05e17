"""`auth_jwt` and its kin: directives, variables, and the check of one location."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LIMIT_EXCEPT, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.errorlog import failed_call
from portico.features.auth_jwt.claims import member
from portico.features.auth_jwt.keys import JOSE, KeyFileError, KeySet, parse_keys
from portico.features.auth_jwt.token import InvalidToken, Token, Tokens
from portico.http.access import ALLOWED, NO_OPINION, AccessStep, challenge
from portico.http.errors import CRIT, ERR, INFO, HTTPError
from portico.http.feature import Feature, HttpBuild, LocationBuild
from portico.http.variables import PER_REQUEST, Getter, Template, Variable, VariableFamily, Variables, template_of
from portico.http.watched_file import FilePath, WatchedFiles, file_path

if TYPE_CHECKING:
    from portico.http.request import Request

_SERVER: Final = HTTP | SERVER | LOCATION
_ALL: Final = _SERVER | LIMIT_EXCEPT
_OFF: Final = b"off"


@final
class JwtRealm:
    """An `auth_jwt` as written. `token` None: the Authorization field."""

    def __init__(self, realm: Template, token: Template | None) -> None:
        self.realm = realm
        self.token = token


def _auth_jwt(statement: Statement) -> JwtRealm:
    token: Template | None = None
    for argument in statement.args[1:]:
        name, _, text = argument.text.partition("=")
        if name != "token" or not text.startswith("$"):
            raise statement.fail(f'invalid parameter "{argument.text}"', argument, "it may be: token=$variable")
        token = template_of(text, statement)
    return JwtRealm(template_of(statement.args[0].text, statement), token)


def _key_file(statement: Statement) -> FilePath:
    path = file_path(statement, "it should hold a JSON Web Key Set")
    if path.path.constant is not None:
        with open(statement.load.full_path(path.path.text, conf=True), "rb") as file:
            try:
                parse_keys(file.read())
            except KeyFileError as wrong:
                hint = "the file should hold a JSON Web Key Set (RFC 7517)"
                raise statement.fail(f'"{path.path.text}": {wrong}', statement.args[0], hint) from None
    return path


@final
class ClaimVariable:
    """One `auth_jwt_claim_set` or `auth_jwt_header_set`."""

    def __init__(self, statement: Statement) -> None:
        name = statement.args[0].text
        if not name.startswith("$") or len(name) == 1:
            raise statement.fail(f'invalid variable name "{name}"', statement.args[0])
        self.statement = statement
        self.name = name[1:].lower()
        self.path = [argument.text for argument in statement.args[1:]]


@final
class Requirement:
    """One `auth_jwt_require`: values that must be neither empty nor 0, and the status when one of them is."""

    def __init__(self, conditions: list[Template], status: int) -> None:
        self.conditions = conditions
        self.status = status

    def met(self, request: Request) -> bool:
        """Whether all values are there."""
        return all(condition.render(request) not in (b"", b"0") for condition in self.conditions)


def _requirement(statement: Statement) -> Requirement:
    status = 401
    conditions: list[Template] = []
    for argument in statement.args:
        if argument.text.startswith("error="):
            if argument.text not in ("error=401", "error=403"):
                raise statement.fail(f'invalid parameter "{argument.text}"', argument, "it may be: error=401, error=403")
            status = int(argument.text[6:])
        elif argument.text.startswith("$"):
            conditions.append(template_of(argument.text, statement))
        else:
            raise statement.fail(f'invalid parameter "{argument.text}"', argument, "a value must start with a variable")
    if not conditions:
        raise statement.fail('"auth_jwt_require" has no value to check')
    return Requirement(conditions, status)


def _type(statement: Statement) -> str:
    kind = statement.args[0].text
    if kind not in ("signed", "encrypted", "nested"):
        raise statement.fail(f'invalid value "{kind}"', statement.args[0])
    if kind != "signed":
        raise statement.fail(f'"auth_jwt_type {kind}" is not supported', statement.args[0], "Portico reads signed tokens only")
    return kind


AUTH_JWT: Final = Directive[JwtRealm | None](
    "auth_jwt", _ALL, _auth_jwt, args="1-2", default=None, default_text="off",
    syntax="REALM [token=$VARIABLE] | off",
    doc="Lets requests pass that carry a JSON Web Token signed with a key from `auth_jwt_key_file`. The token comes in the "
    "Authorization field, as Bearer, or in a variable. Signatures: HS, RS, PS and ES with 256, 384 and 512 bits, ES256K, EdDSA; only "
    "those that fit the kind of the key. `exp` and `nbf` are checked. As in nginx Plus.",
    example="location /api/ { auth_jwt api; auth_jwt_key_file $document_root/../keys.json; }",
)
AUTH_JWT_KEY_FILE: Final = Directive[FilePath | None](
    "auth_jwt_key_file", _ALL, _key_file, args="1", many=True, default=None,
    syntax="FILE",
    doc="A JSON Web Key Set to verify signatures with; may stand several times. A token that names its key (`kid`) is tried with "
    "keys of that name and keys without one. The file is read again when it changes. A path without variables must be a key set when "
    "the configuration is loaded.",
    example="auth_jwt_key_file $document_root/../keys.json;",
)
AUTH_JWT_CLAIM_SET: Final = Directive[ClaimVariable | None](
    "auth_jwt_claim_set", HTTP, ClaimVariable, args="2+", many=True, default=None,
    syntax="$VARIABLE NAME ...",
    doc="Sets a variable to a claim of the token, found by one name for each level of the JSON object. An array's elements are "
    "joined by commas.",
    example="auth_jwt_claim_set $email info e-mail;",
)
AUTH_JWT_HEADER_SET: Final = Directive[ClaimVariable | None](
    "auth_jwt_header_set", HTTP, ClaimVariable, args="2+", many=True, default=None,
    syntax="$VARIABLE NAME ...",
    doc="As `auth_jwt_claim_set`, for the header of the token.",
    example="auth_jwt_header_set $key_id kid;",
)
AUTH_JWT_REQUIRE: Final = Directive[Requirement | None](
    "auth_jwt_require", _ALL, _requirement, args="1+", many=True, default=None,
    syntax="$VALUE ... [error=401 | 403]",
    doc="More that must hold for a token that is valid: every value must be neither empty nor `0`. `error` is the status else. All "
    "lines of a block must hold; a block with none has those from around it.",
    example="auth_jwt_require $jwt_claim_sub error=403;",
)
AUTH_JWT_LEEWAY: Final = Directive[int](
    "auth_jwt_leeway", _SERVER, values.seconds, args="1", default=0, default_text="0s",
    doc="How far clocks may differ when `exp` and `nbf` are checked.", example="auth_jwt_leeway 60s;",
)
AUTH_JWT_TYPE: Final = Directive[str](
    "auth_jwt_type", _ALL, _type, args="1", default="signed",
    syntax="signed",
    doc="The kind of token. Only signed ones (JWS) are supported; `encrypted` and `nested`, which nginx Plus has too, are errors.",
    example="auth_jwt_type signed;",
)


@final
class JwtState:
    """What all locations share: the key files, the tokens verified."""

    def __init__(self) -> None:
        self.files: WatchedFiles[KeySet] = WatchedFiles(parse_keys)
        self.tokens = Tokens()


@final
class JwtAuth(AccessStep):
    """The check of one location."""

    def __init__(
        self, settings: JwtRealm, files: list[FilePath], requirements: list[Requirement], leeway: int, state: JwtState
    ) -> None:
        self.settings = settings
        self.files = files
        self.requirements = requirements
        self.leeway = leeway
        self.state = state

    def check(self, request: Request) -> int:
        realm = self.settings.realm.render(request)
        if realm == _OFF:
            return NO_OPINION
        try:
            if self.token(request) is None:
                raise challenge(401, b'Bearer realm="' + realm + b'"', "no token was provided for JWT authentication", INFO)
        except InvalidToken as wrong:
            raise _refusal(realm, f"JWT authentication: {wrong}") from None
        for requirement in self.requirements:
            if not requirement.met(request):
                reason = "JWT authentication: a value that auth_jwt_require asks for is missing"
                raise _refusal(realm, reason) if requirement.status == 401 else HTTPError(403, reason, ERR)
        return ALLOWED

    def token(self, request: Request) -> Token | None:
        """The request's token, verified; None when it has none. Raises InvalidToken, and HTTPError 500 without keys."""
        given = self._given(request)
        if not given:
            return None
        token = self.state.tokens.verified(given, self._keys(request))
        token.check_times(request.client.transport.reactor.wall(), self.leeway)
        return token

    def _given(self, request: Request) -> bytes:
        if self.settings.token is not None:
            return self.settings.token.render(request)
        field = request.fields.get(b"authorization")
        if field is None or field[:7].lower() != b"bearer ":
            return b""
        return field[7:].strip(b" ")

    def _keys(self, request: Request) -> list[KeySet]:
        sets: list[KeySet] = []
        for file in self.files:
            path = file.of(request)
            try:
                sets.append(self.state.files.get(path))
            except OSError as failed:
                raise HTTPError(500, failed_call(f'open() "{os.fsdecode(path)}"', failed), CRIT) from None
            except KeyFileError as wrong:
                raise HTTPError(500, f'"{os.fsdecode(path)}": {wrong}', CRIT) from None
        return sets

    def describe(self) -> str:
        return f'auth_jwt "{self.settings.realm.text}"'


def _refusal(realm: bytes, reason: str) -> HTTPError:
    """RFC 6750 section 3.1."""
    return challenge(401, b'Bearer realm="' + realm + b'", error="invalid_token"', reason, ERR)


def token_of(request: Request) -> Token | None:
    """The request's token for a variable: None unless the location has `auth_jwt` and the token is valid."""
    check = request.location.settings.get("auth_jwt")
    if not isinstance(check, JwtAuth):
        return None
    try:
        return check.token(request)
    except (InvalidToken, HTTPError):
        return None


def _claim_getter(path: list[str]) -> Getter:
    def get(request: Request) -> bytes | None:
        token = token_of(request)
        return None if token is None else member(token.claims, path)

    return get


def _header_getter(path: list[str]) -> Getter:
    def get(request: Request) -> bytes | None:
        token = token_of(request)
        return None if token is None else member(token.header, path)

    return get


def _claim_family(name: str) -> Getter:
    return _claim_getter([name])


def _header_family(name: str) -> Getter:
    return _header_getter([name])


def _payload(request: Request) -> bytes | None:
    token = token_of(request)
    return None if token is None else token.payload


class AuthJwtFeature(Feature):
    """Adds the check where there are a realm and keys."""

    def declare(self, scope: Scope, variables: Variables) -> None:
        for claim in scope.own_all(AUTH_JWT_CLAIM_SET):
            if claim is not None:
                _define(claim, _claim_getter(claim.path), variables)
        for header in scope.own_all(AUTH_JWT_HEADER_SET):
            if header is not None:
                _define(header, _header_getter(header.path), variables)

    def http(self, build: HttpBuild) -> None:
        build.state["auth_jwt"] = JwtState()

    def location(self, build: LocationBuild) -> None:
        scope = build.scope
        given = scope.setting(AUTH_JWT)
        if given is None or given.value is None or given.value.realm.constant == _OFF:
            return
        files = [file for file in scope.all(AUTH_JWT_KEY_FILE) if file is not None]
        if not files:
            raise ConfigError('no "auth_jwt_key_file" is defined for "auth_jwt"', given.where)
        try:
            JOSE.find()
        except KeyFileError as missing:
            raise ConfigError(str(missing), given.where, "pip install joserfc") from None
        state = build.http.state["auth_jwt"]
        assert isinstance(state, JwtState)
        requirements = [requirement for requirement in scope.all(AUTH_JWT_REQUIRE) if requirement is not None]
        check = JwtAuth(given.value, files, requirements, scope.get(AUTH_JWT_LEEWAY), state)
        build.location.settings["auth_jwt"] = check
        build.add_access(check)


def _define(claim: ClaimVariable, getter: Getter, variables: Variables) -> None:
    if not variables.define(claim.name, getter):
        error = claim.statement.fail(f'the duplicate "{claim.name}" variable', claim.statement.args[0])
        claim.statement.load.diagnostics.error(error)


FEATURE: Final = AuthJwtFeature(
    "http_auth_jwt",
    (
        AUTH_JWT, AUTH_JWT_KEY_FILE, AUTH_JWT_CLAIM_SET, AUTH_JWT_HEADER_SET, AUTH_JWT_REQUIRE, AUTH_JWT_LEEWAY, AUTH_JWT_TYPE,
    ),
    (Variable("jwt_payload", _payload, PER_REQUEST, "The payload of the request's token, as JSON, once it was verified."),),
    (
        VariableFamily("jwt_claim_", _claim_family, PER_REQUEST, "A claim of the request's token, once it was verified."),
        VariableFamily("jwt_header_", _header_family, PER_REQUEST, "A field of its header."),
    ),
)  # fmt: skip
