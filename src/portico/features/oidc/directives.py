"""`oidc_provider` and what stands in it, `auth_oidc`."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, OIDC_PROVIDER, SERVER, Directive
from portico.config.files import read_file
from portico.config.reader import Statement
from portico.errorlog import failed_call
from portico.features.oidc.provider import BY_METADATA
from portico.features.oidc.provider_requests import provider_url
from portico.features.oidc.sealing import KEY_SIZE
from portico.variables.template import Template, template

_COOKIE_NAME: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # a token of RFC 9110 section 5.6.2
_URI: Final = r"/[!-~]*"
_LONGEST_KEY_FILE: Final = 65536
_WORD: Final = r"[!#-\[\]-~]+"  # RFC 6749 section 3.3


def _text(statement: Statement) -> str:
    text = statement.args[0].text
    if not text:
        raise values.invalid(statement, "must not be empty")
    if not text.isprintable():  # nor is a byte that is not UTF-8
        raise values.invalid(statement, "must be UTF-8, and without control characters")
    return text


def _url(statement: Statement) -> str:
    text = statement.args[0].text
    try:
        provider_url(text)
    except ValueError as wrong:
        raise statement.fail(f'invalid URL "{text}": {wrong}', statement.args[0]) from None
    return text


def _issuer(statement: Statement) -> str:
    text = _url(statement)
    if "?" in text:  # OpenID Connect Core section 1.2
        raise statement.fail(f'invalid URL "{text}": an issuer has no query', statement.args[0])
    return text


def _is_uri(text: str) -> bool:
    return re.fullmatch(_URI, text) is not None and not text.startswith("//") and not any(mark in text for mark in "?#\\\"<>")


def _path(statement: Statement) -> str:
    text = statement.args[0].text
    if not _is_uri(text):
        raise statement.fail(f'invalid URI "{text}"', statement.args[0], 'it must be a path that starts with "/", without arguments')
    return text


def _redirect_uri(statement: Statement) -> str:
    text = statement.args[0].text
    if not text.lower().startswith("https://"):
        return _path(statement)
    if not _is_uri(provider_url(_url(statement)).target):
        raise statement.fail(f'invalid URI "{text}"', statement.args[0], "it must have a path, and no arguments")
    return text


def _after_logout(statement: Statement) -> str:
    return _url(statement) if "://" in statement.args[0].text else _path(statement)


def _cookie_name(statement: Statement) -> str:
    text = statement.args[0].text
    if re.fullmatch(_COOKIE_NAME, text) is None or len(text) > 128:
        raise statement.fail(f'invalid cookie name "{text}"', statement.args[0])
    return text


def _arguments(statement: Statement) -> str:
    text = statement.args[0].text
    if re.fullmatch(r"[!-~]*", text) is None or "#" in text:
        raise statement.fail(f'invalid arguments "{text}"', statement.args[0], 'they are as in a URL: "display=page&prompt=login"')
    return text


def _scope(statement: Statement) -> str:
    words = [argument.text for argument in statement.args]
    for index, word in enumerate(words):
        if re.fullmatch(_WORD, word) is None:
            raise statement.fail(f'invalid scope "{word}"', statement.args[index], "scopes stand one by one: scope openid email;")
    if "openid" not in words:
        raise statement.fail('"scope" lacks "openid"', statement.args[0], f"scope openid {' '.join(words)};")
    return " ".join(words)


def _session_store(statement: Statement) -> str:
    text = statement.args[0].text
    if text != "cookie":
        hint = "Portico keeps sessions in sealed cookies, which need no store: leave the line out"
        raise statement.fail(f'there is no key-value database "{text}"', statement.args[0], hint)
    return text


def _session_key(statement: Statement) -> bytes:
    path = values.conf_path(statement)
    try:
        data = read_file(path)[:_LONGEST_KEY_FILE]
    except OSError as error:
        raise statement.fail(failed_call(f'open() "{path}"', error), statement.args[0]) from None
    if len(data) < KEY_SIZE:
        hint = f"openssl rand 48 > {path}"
        raise statement.fail(f'"{path}" must hold {KEY_SIZE} random bytes at least', statement.args[0], hint)
    return hashlib.blake2b(data, digest_size=KEY_SIZE).digest()


def _timeout(statement: Statement) -> int:
    seconds = values.seconds(statement)
    if seconds < 1:
        raise values.invalid(statement)
    return seconds


def _pkce(statement: Statement) -> int:
    return 1 if values.flag(statement) else 0


def _around(line: str) -> str:
    return f"oidc_provider idp {{ issuer https://id.example.com; client_id portico; {line} }}"


OIDC_PROVIDER_BLOCK: Final = Directive[str](
    "oidc_provider", HTTP, _text, args="1", default="", many=True, block=OIDC_PROVIDER, syntax="NAME { ... }",
    doc="An OpenID Provider that `auth_oidc` can name. Its endpoints and keys are taken from its metadata (OpenID Connect Discovery) "
    "when the first user signs in, and asked for again every hour. At the provider `https://HOST/oidc_callback` must be known as a "
    "redirect URI of the client. As in nginx Plus, but that sessions are in cookies: the tokens, compressed and encrypted. Their key "
    "is made at the start and lives as long as the process, also through reloads, unless `session_key` gives one.",
    example=_around("client_secret secret;"),
)
ISSUER: Final = Directive[str](
    "issuer", OIDC_PROVIDER, _issuer, args="1", default="", syntax="URL",
    doc="The provider's issuer identifier, exactly as its metadata has it. `https`, or `http` on this machine only, for trials.",
    example=_around("").replace("; ", ";\n    ", 1),
)
CLIENT_ID: Final = Directive[str](
    "client_id", OIDC_PROVIDER, _text, args="1", default="", syntax="STRING",
    doc="The name that the provider knows this client by.", example=_around(""),
)
CLIENT_SECRET: Final = Directive[str](
    "client_secret", OIDC_PROVIDER, _text, args="1", default="", syntax="STRING",
    doc="The client's secret, sent by `client_secret_basic`, or by `client_secret_post` where the metadata names that only. Without "
    "a secret the client is a public one, which PKCE protects.",
    example=_around("client_secret secret;"),
)
CONFIG_URL: Final = Directive[str](
    "config_url", OIDC_PROVIDER, _url, args="1", default="", default_text="ISSUER/.well-known/openid-configuration", syntax="URL",
    doc="Where the provider's metadata is.", example=_around("config_url https://id.example.com/metadata.json;"),
)
COOKIE_NAME: Final = Directive[str](
    "cookie_name", OIDC_PROVIDER, _cookie_name, args="1", default="NGX_OIDC_SESSION", syntax="NAME",
    doc="The name of the session's cookie; a long session has more, with `_1`, `_2` and so on behind it. While a user signs in there "
    "is one with `_LOGIN` behind it. Providers whose users sign in at the same host need different names.",
    example=_around("cookie_name SESSION;"),
)
EXTRA_AUTH_ARGS: Final = Directive[str](
    "extra_auth_args", OIDC_PROVIDER, _arguments, args="1", default="", syntax="STRING",
    doc="More arguments for the request that sends users to the provider.",
    example=_around('extra_auth_args "display=page&prompt=login";'),
)
FRONTCHANNEL_LOGOUT_URI: Final = Directive[str](
    "frontchannel_logout_uri", OIDC_PROVIDER, _path, args="1", default="", syntax="URI",
    doc="A path where the provider's page can end the session when the user signs out there, in a frame: by its `iss` and `sid` "
    "arguments, or by the session's cookie (which browsers do not send from another site's frame).",
    example=_around("frontchannel_logout_uri /signed_out_elsewhere;"),
)
PKCE: Final = Directive[int](
    "pkce", OIDC_PROVIDER, _pkce, args="1", default=BY_METADATA, default_text="by the provider's metadata", syntax="on | off",
    doc="Whether logins use PKCE (S256). By default they do unless the metadata lists other methods only.",
    example=_around("pkce on;"),
)
REDIRECT_URI: Final = Directive[str](
    "redirect_uri", OIDC_PROVIDER, _redirect_uri, args="1", default="/oidc_callback", syntax="URI",
    doc="Where the provider sends users back to: a path on the server that they asked, or an `https` URL, which is needed where TLS "
    "ends before Portico. The path is answered by Portico on every server where `auth_oidc` stands.",
    example=_around("redirect_uri /signed_in;"),
)
LOGOUT_URI: Final = Directive[str](
    "logout_uri", OIDC_PROVIDER, _path, args="1", default="", syntax="URI",
    doc="A path that ends the session, and leads on to the provider's logout, else to `post_logout_uri`, else to a short page.",
    example=_around("logout_uri /logout;"),
)
POST_LOGOUT_URI: Final = Directive[str](
    "post_logout_uri", OIDC_PROVIDER, _after_logout, args="1", default="", syntax="URI",
    doc="Where users go after they have signed out: a path, or a URL. The provider must know it. `auth_oidc off` there.",
    example=_around("logout_uri /logout; post_logout_uri /bye.html;"),
)
LOGOUT_TOKEN_HINT: Final = Directive[bool](
    "logout_token_hint", OIDC_PROVIDER, values.flag, args="1", default=False, syntax="on | off",
    doc="Whether the provider gets the ID token with a logout, as `id_token_hint`; some ask for it.",
    example=_around("logout_uri /logout; logout_token_hint on;"),
)
SCOPE: Final = Directive[str](
    "scope", OIDC_PROVIDER, _scope, args="1+", default="openid", syntax="SCOPE ...",
    doc="What to ask the provider for; `openid` is always needed. With `offline_access` many give a refresh token.",
    example=_around("scope openid email profile;"),
)
SESSION_KEY: Final = Directive[bytes](
    "session_key", OIDC_PROVIDER, _session_key, args="1", default=b"", syntax="FILE", beyond=True,
    doc="A file with 32 random bytes or more, such as `openssl rand 48` makes, from which the key of the cookies is made: so "
    "sessions outlive a restart, and several machines with the same file know each other's. A session that was ended by a logout "
    "is refused by the machine that ended it, until it restarts.",
    example=_around("session_key /etc/ssl/ticket.key;"),
)
SESSION_STORE: Final = Directive[str](
    "session_store", OIDC_PROVIDER, _session_store, args="1", default="cookie", syntax="cookie",
    doc="Sessions are in sealed cookies. nginx Plus's key-value databases, which it keeps them in, are not there.",
    example=_around("session_store cookie;"),
)
SESSION_TIMEOUT: Final = Directive[int](
    "session_timeout", OIDC_PROVIDER, _timeout, args="1", default=28800, default_text="8h", syntax="TIME",
    doc="How long a session lasts, from the login or the last refresh of its tokens. With a refresh token, tokens are refreshed "
    "shortly before they expire.",
    example=_around("session_timeout 1h;"),
)
SSL_CRL: Final = Directive[str](
    "ssl_crl", OIDC_PROVIDER, values.conf_path, args="1", default="", syntax="FILE",
    doc="Revocation lists, PEM, by which the provider's certificates are judged too.",
    example=_around("ssl_trusted_certificate /etc/ssl/ca.pem; ssl_crl /etc/ssl/crl.pem;"),
)
SSL_TRUSTED_CERTIFICATE: Final = Directive[str](
    "ssl_trusted_certificate", OIDC_PROVIDER, values.conf_path, args="1", default="", default_text="those of the system",
    syntax="FILE",
    doc="Certificates of authorities, PEM, by which the provider's are judged.",
    example=_around("ssl_trusted_certificate /etc/ssl/ca.pem;"),
)
USERINFO: Final = Directive[bool](
    "userinfo", OIDC_PROVIDER, values.flag, args="1", default=False, syntax="on | off",
    doc="Whether the UserInfo endpoint is asked too, for `$oidc_userinfo` and more claims.",
    example=_around("userinfo on;"),
)
AUTH_OIDC: Final = Directive[Template | None](
    "auth_oidc", HTTP | SERVER | LOCATION, template, args="1", default=None, default_text="off", syntax="NAME | off",
    doc="Lets users pass that have signed in at this `oidc_provider`; GET and HEAD of others are sent there (302), anything else is "
    "answered 401. NAME may hold variables, and a value of `off` counts as such. `$oidc_claim_…` say who it is.",
    example="oidc_provider idp { issuer https://id.example.com; client_id portico; client_secret secret; } "
    "server { listen 127.0.0.1:8080; location / { auth_oidc idp; } }",
)

DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    OIDC_PROVIDER_BLOCK, AUTH_OIDC, ISSUER, CLIENT_ID, CLIENT_SECRET, CONFIG_URL, COOKIE_NAME, EXTRA_AUTH_ARGS,
    FRONTCHANNEL_LOGOUT_URI, LOGOUT_URI, LOGOUT_TOKEN_HINT, PKCE, POST_LOGOUT_URI, REDIRECT_URI, SCOPE, SESSION_KEY,
    SESSION_STORE, SESSION_TIMEOUT, SSL_CRL, SSL_TRUSTED_CERTIFICATE, USERINFO,
)  # fmt: skip
