"""`auth_jwt` and its kin: directives and variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LIMIT_EXCEPT, LOCATION, SERVER, Directive, Scope
from portico.config.files import read_file
from portico.config.reader import Statement
from portico.features.auth_jwt.check import OFF, JwtAuth, JwtRealm, JwtState, Requirement
from portico.features.auth_jwt.key_request import KeyRequest
from portico.http.content.watched_file import FilePath, file_path
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.plan import LocationSlot
from portico.jose.claims import member
from portico.jose.keys import JOSE, KeyFileError, parse_keys
from portico.jose.token import InvalidToken, Token, unverified
from portico.variables.template import Template, template, template_of
from portico.variables.variable import PER_REQUEST, Getter, Variable, VariableFamily, Variables

if TYPE_CHECKING:
    from portico.http.request import Request

_SERVER: Final = HTTP | SERVER | LOCATION
_ALL: Final = _SERVER | LIMIT_EXCEPT
_TRUSTED: Final = "$oidc_id_token"  # the one token that `auth_jwt off` reads: `auth_oidc` has verified it


def _auth_jwt(statement: Statement) -> JwtRealm:
    token: Template | None = None
    for argument in statement.args[1:]:
        name, _, text = argument.text.partition("=")
        if name != "token" or not text.startswith("$"):
            raise statement.fail(f'invalid parameter "{argument.text}"', argument, "it may be: token=$variable")
        if statement.args[0].text == "off" and text != _TRUSTED:
            reason = f'"auth_jwt off" reads no token that nobody verifies: "{argument.text}"'
            raise statement.fail(reason, argument, f"it may be: token={_TRUSTED}, which auth_oidc has verified")
        token = template_of(text, statement)
    return JwtRealm(template_of(statement.args[0].text, statement), token)


def _key_file(statement: Statement) -> FilePath:
    path = file_path(statement, "it should hold a JSON Web Key Set")
    if path.path.constant is not None:
        try:
            parse_keys(read_file(statement.load.full_path(path.path.text, conf=True)))
        except KeyFileError as wrong:
            hint = "the file should hold a JSON Web Key Set (RFC 7517)"
            raise statement.fail(f'"{path.path.text}": {wrong}', statement.args[0], hint) from None
    return path


def _key_request(statement: Statement) -> Template:
    uri = template(statement)
    if uri.constant is not None and not uri.constant.startswith(b"/"):
        text = statement.args[0].text
        raise statement.fail(f'invalid URI "{text}"', statement.args[0], 'it must start with "/" or a variable')
    return uri


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
    doc="Lets requests pass that carry a JSON Web Token signed with a key from `auth_jwt_key_file` or `auth_jwt_key_request`. The "
    "token comes in the Authorization field, as Bearer, or in a variable. Signatures: HS, RS, PS and ES with 256, 384 and 512 bits, "
    "ES256K, EdDSA; only those that fit the kind of the key. `exp` and `nbf` are checked. As in nginx Plus. "
    "`off token=$oidc_id_token` checks nothing and lets the variables of this module read the token that `auth_oidc` has verified.",
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
AUTH_JWT_KEY_REQUEST: Final = Directive[Template | None](
    "auth_jwt_key_request", _ALL, _key_request, args="1", many=True, default=None,
    syntax="URI",
    doc="A JSON Web Key Set to verify signatures with, from a subrequest to URI, which usually proxies to whoever issues the tokens; "
    "may stand several times, also beside `auth_jwt_key_file`. Each request asks anew unless `auth_jwt_key_cache` or the "
    "`proxy_cache` of that location remembers the answer. When a key set cannot be had, requests are answered 500.",
    example="location / { auth_jwt api; auth_jwt_key_request /keys; auth_jwt_key_cache 1h; } "
    "location = /keys { internal; proxy_pass http://127.0.0.1:9000/jwks; }",
)
AUTH_JWT_KEY_CACHE: Final = Directive[float](
    "auth_jwt_key_cache", _SERVER, values.msec, args="1", default=0.0, default_text="0s",
    doc="How long keys from `auth_jwt_key_request` are remembered by a worker; requests that come while they are fetched wait for "
    "them. A token that none of them fits makes the worker fetch them again, once in five seconds at most, so that new keys count at "
    "once. Keys named by a URI with variables are not remembered. Files are read again when they change, whatever this says.",
    example="auth_jwt_key_cache 1h;",
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
class TrustedToken:
    """`auth_jwt off token=$oidc_id_token`: claims of a token that another check has verified."""

    def __init__(self, token: Template) -> None:
        self._token = token
        self._given: bytes = b""
        self._read: Token | None = None  # the last one

    def token(self, request: Request) -> Token | None:
        """Return the token; None when there is none."""
        given = self._token.render(request)
        if not given:
            return None
        if given != self._given or self._read is None:
            try:
                self._read = unverified(given)
            except InvalidToken:
                return None
            self._given = given
        return self._read


_CHECK: Final = LocationSlot[JwtAuth | TrustedToken]()


def token_of(request: Request) -> Token | None:
    """Return the request's token for a variable: None unless the location has `auth_jwt` and the token is valid."""
    check = _CHECK.of(request.location)
    return None if check is None else check.token(request)


def _claim_getter(path: list[str]) -> Getter[Request]:
    def get(request: Request) -> bytes | None:
        token = token_of(request)
        return None if token is None else member(token.claims, path)

    return get


def _header_getter(path: list[str]) -> Getter[Request]:
    def get(request: Request) -> bytes | None:
        token = token_of(request)
        return None if token is None else member(token.header, path)

    return get


def _claim_family(name: str) -> Getter[Request]:
    return _claim_getter([name])


def _header_family(name: str) -> Getter[Request]:
    return _header_getter([name])


def _payload(request: Request) -> bytes | None:
    token = token_of(request)
    return None if token is None else token.payload


def _new_state(build: HttpBuild) -> JwtState:
    return JwtState()


_STATE: Final = BuildSlot[JwtState](_new_state)


class AuthJwtFeature(Feature):
    """Adds the check where there are a realm and keys."""

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        for claim in scope.own_all(AUTH_JWT_CLAIM_SET):
            if claim is not None:
                _define(claim, _claim_getter(claim.path), variables)
        for header in scope.own_all(AUTH_JWT_HEADER_SET):
            if header is not None:
                _define(header, _header_getter(header.path), variables)

    def location(self, build: LocationBuild) -> None:
        scope = build.scope
        given = scope.setting(AUTH_JWT)
        if given is None or given.value is None:
            return
        realm = given.value
        if realm.realm.constant == OFF:
            if realm.token is not None:
                _CHECK.put(build.location, TrustedToken(realm.token))
            return
        files, uris = _keys(scope)
        if not files and not uris:
            raise ConfigError(
                'no "auth_jwt_key_file" is defined for "auth_jwt"', given.where, "or auth_jwt_key_request, which asks for the keys"
            )
        try:
            JOSE.find()
        except KeyFileError as missing:
            raise ConfigError(str(missing), given.where, "pip install joserfc") from None
        state = _STATE.of(build.http)
        requests: list[KeyRequest] = [state.key_request(id(build.server), uri) for uri in uris]
        requirements = [requirement for requirement in scope.all(AUTH_JWT_REQUIRE) if requirement is not None]
        check = JwtAuth(
            realm, files, requests, scope.get(AUTH_JWT_KEY_CACHE), requirements, scope.get(AUTH_JWT_LEEWAY), state
        )
        _CHECK.put(build.location, check)
        build.add_access(check)


def _keys(scope: Scope) -> tuple[list[FilePath], list[Template]]:
    """Return where the keys come from, as the nearest block says that names any: an inner one replaces what an outer one trusts."""
    nearest: Scope | None = scope
    while nearest is not None:
        files = [file for file in nearest.own_all(AUTH_JWT_KEY_FILE) if file is not None]
        uris = [uri for uri in nearest.own_all(AUTH_JWT_KEY_REQUEST) if uri is not None]
        if files or uris:
            return files, uris
        nearest = nearest.parent
    return [], []


def _define(claim: ClaimVariable, getter: Getter[Request], variables: Variables[Request]) -> None:
    if not variables.define(claim.name, getter):
        error = claim.statement.fail(f'the duplicate "{claim.name}" variable', claim.statement.args[0])
        claim.statement.load.diagnostics.error(error)


FEATURE: Final = AuthJwtFeature(
    "http_auth_jwt",
    (
        AUTH_JWT, AUTH_JWT_KEY_FILE, AUTH_JWT_KEY_REQUEST, AUTH_JWT_KEY_CACHE, AUTH_JWT_CLAIM_SET, AUTH_JWT_HEADER_SET,
        AUTH_JWT_REQUIRE, AUTH_JWT_LEEWAY, AUTH_JWT_TYPE,
    ),
    (Variable("jwt_payload", _payload, PER_REQUEST, "The payload of the request's token, as JSON, once it was verified."),),
    (
        VariableFamily("jwt_claim_", _claim_family, PER_REQUEST, "A claim of the request's token, once it was verified."),
        VariableFamily("jwt_header_", _header_family, PER_REQUEST, "A field of its header."),
    ),
)  # fmt: skip
