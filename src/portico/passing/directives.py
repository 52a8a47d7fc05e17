"""The `proxy_*` directives."""

from __future__ import annotations

import os
from typing import Final, final

from portico.cache.policy.ignored import IGNORABLE
from portico.config import values
from portico.config.directive import HTTP, IF_LOCATION, LIMIT_EXCEPT, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.net.tls_context import DEFAULT_PROTOCOLS, PROTOCOLS
from portico.passing.settings import UpstreamDirectives
from portico.variables.template import Template, template, templates

_ALL: Final = HTTP | SERVER | LOCATION

SHARED: Final = UpstreamDirectives("proxy", "the proxied server")


@final
class SetHeader:
    """One `proxy_set_header`: a name as it is sent, and its value; an empty value leaves the field out."""

    def __init__(self, name: str, value: Template) -> None:
        self.name: bytes = name.encode("utf-8", "surrogateescape")
        self.lower: bytes = self.name.lower()
        self.value = value


def _set_header(statement: Statement) -> SetHeader:
    name = statement.args[0].text
    if not name or any(character in name for character in " \t\r\n:\0"):
        hint = 'the colon is left out: "proxy_set_header Host $host;"' if name.endswith(":") else ""
        raise statement.fail(f'invalid name of a header field "{name}"', statement.args[0], hint)
    if any(character in statement.args[1].text for character in "\r\n\0"):
        raise statement.fail("a line break in the value of a header field", statement.args[1])
    return SetHeader(name, template(statement, 1))


def _http_version(statement: Statement) -> int:
    return values.choice({"1.0": 10, "1.1": 11})(statement)


def _lower_name(statement: Statement) -> bytes:
    return statement.args[0].text.lower().encode("utf-8", "surrogateescape")


PROXY_FORCE_RANGES: Final = Directive[bool](
    "proxy_force_ranges", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="Ranges are cut out of any answer with a length, also when it does not say `Accept-Ranges`.",
    example="proxy_force_ranges on;",
)


def _certificate_path(statement: Statement) -> str:
    path = statement.load.full_path(statement.args[0].text, True)
    if not os.path.isfile(path):
        raise statement.fail(f'cannot load "{path}": no such file', statement.args[0])
    return path


PROXY_PASS: Final = Directive[Template | None](
    "proxy_pass", LOCATION | IF_LOCATION | LIMIT_EXCEPT, template, args="1", default=None, syntax="URL",
    doc="Where requests go: `http://` or `https://`, then a host, an upstream group or `unix:/path`, then perhaps a URI. "
    "With a URI, that part of the request's URI which the location matched is replaced by it (`location /api/ { proxy_pass "
    "http://app/; }` strips `/api`); without one, the request's URI is passed on as the client sent it. With variables, the "
    "whole URL is made for each request; a host that is no upstream group is looked up then, with the system's resolver.",
    example="location /api/ { proxy_pass http://127.0.0.1:4000/; }",
)
PROXY_SET_HEADER: Final = Directive[SetHeader | None](
    "proxy_set_header", _ALL, _set_header, args="2", default=None, many=True,
    default_text="Host $proxy_host; Connection \"\" (HTTP/1.1) or close (HTTP/1.0)", syntax="FIELD VALUE",
    doc="Sets or replaces a field of the request that the upstream gets; an empty value removes it. A level with any "
    "`proxy_set_header` of its own inherits none.",
    example="proxy_set_header Host $host;",
)
EARLY_HINTS: Final = Directive[list[Template]](
    "early_hints", _ALL, templates, args="1+", default=list[Template](), default_text="none", syntax="TEXT ...",
    doc="Passes 103 (Early Hints, RFC 8297) of the upstream on to the client when any of the texts is neither empty nor `0`; "
    "else, and for clients that speak HTTP/1.0, it is dropped. Some clients take a 103 for the answer, so choose by a field that "
    "browsers send.",
    example="map $http_sec_fetch_mode $hints { navigate 1; } server { early_hints $hints; }",
)
FORWARDED: Final = Directive[bool](
    "forwarded", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off", beyond=True,
    doc="Tells the upstream of the client in the field `Forwarded` (RFC 7239): `for`, `host` and `proto`. What the client's own "
    "`Forwarded` says is passed on, before it, only when `set_real_ip_from` trusts who sent it; else it is replaced. "
    "`proxy_set_header Forwarded` wins. To read the field: `real_ip_header Forwarded`.",
    example="forwarded on;",
)
PROXY_HTTP_VERSION: Final = Directive[int](
    "proxy_http_version", _ALL, _http_version, args="1", default=11, default_text="1.1",
    syntax="1.0 | 1.1",
    doc="The version of HTTP spoken to the upstream. With 1.1 connections are kept and used again (nginx's default since "
    "1.29.7).",
    example="proxy_http_version 1.1;",
)
PROXY_METHOD: Final = Directive[Template | None](
    "proxy_method", _ALL, template, args="1", default=None, default_text="the request's",
    syntax="METHOD",
    doc="The method to send instead of the client's.", example="proxy_method POST;",
)
PROXY_PASS_REQUEST_HEADERS: Final = Directive[bool](
    "proxy_pass_request_headers", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Whether the client's header fields are passed on.", example="proxy_pass_request_headers off;",
)
PROXY_PASS_REQUEST_BODY: Final = Directive[bool](
    "proxy_pass_request_body", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Whether the client's body is passed on.", example="proxy_pass_request_body off;",
)
PROXY_SET_BODY: Final = Directive[Template | None](
    "proxy_set_body", _ALL, template, args="1", default=None, default_text="the request's",
    syntax="VALUE",
    doc="The body to send instead of the client's.", example='proxy_set_body "$request_uri";',
)
PROXY_HIDE_HEADER: Final = Directive[bytes](
    "proxy_hide_header", _ALL, _lower_name, args="1", default=b"", many=True, syntax="FIELD",
    doc="A field of the upstream's answer that the client does not get. Date, Server, X-Pad and X-Accel-… are hidden anyway.",
    example="proxy_hide_header X-Powered-By;",
)
PROXY_PASS_HEADER: Final = Directive[bytes](
    "proxy_pass_header", _ALL, _lower_name, args="1", default=b"", many=True, syntax="FIELD",
    doc="Lets a field through that would be hidden.", example="proxy_pass_header Server;",
)
PROXY_IGNORE_HEADERS: Final = Directive[int](
    "proxy_ignore_headers", _ALL, values.bits(IGNORABLE), args="1+", default=0, default_text="none", syntax="FIELD ...",
    doc="Fields of the answer that Portico does not act upon: X-Accel-Redirect, X-Accel-Buffering, X-Accel-Limit-Rate, "
    "X-Accel-Charset, X-Accel-Expires, Expires, Cache-Control, Set-Cookie, Vary.",
    example="proxy_ignore_headers X-Accel-Redirect;",
)
PROXY_HEADERS_HASH_MAX_SIZE: Final = Directive[int](
    "proxy_headers_hash_max_size", _ALL, values.number, args="1", default=512, default_text="512",
    doc="Sizes nginx's table of hidden fields. Portico's tables grow by themselves: checked, then of no effect.",
    example="proxy_headers_hash_max_size 1024;",
)
PROXY_HEADERS_HASH_BUCKET_SIZE: Final = Directive[int](
    "proxy_headers_hash_bucket_size", _ALL, values.number, args="1", default=64, default_text="64",
    doc="See `proxy_headers_hash_max_size`.", example="proxy_headers_hash_bucket_size 128;",
)

PROXY_SSL_SERVER_NAME: Final = Directive[bool](
    "proxy_ssl_server_name", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether the name of the upstream is sent in the TLS handshake (SNI).", example="proxy_ssl_server_name on;",
)
PROXY_SSL_NAME: Final = Directive[Template | None](
    "proxy_ssl_name", _ALL, template, args="1", default=None, default_text="$proxy_host",
    syntax="NAME",
    doc="The name to verify the upstream's certificate against, and to send with `proxy_ssl_server_name`.",
    example="proxy_ssl_name backend.example.com;",
)
PROXY_SSL_VERIFY: Final = Directive[bool](
    "proxy_ssl_verify", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether the upstream's certificate is verified, against `proxy_ssl_trusted_certificate`.",
    example="proxy_ssl_verify off;",
)
PROXY_SSL_VERIFY_DEPTH: Final = Directive[int](
    "proxy_ssl_verify_depth", _ALL, values.number, args="1", default=1, default_text="1",
    doc="How long the chain to a trusted certificate may be.", example="proxy_ssl_verify_depth 2;",
)
PROXY_SSL_TRUSTED_CERTIFICATE: Final = Directive[str](
    "proxy_ssl_trusted_certificate", _ALL, _certificate_path, args="1", default="", syntax="FILE",
    doc="The certificates of authorities that upstreams are verified against, in PEM.",
    example="proxy_ssl_trusted_certificate ca.pem;",
)
PROXY_SSL_CRL: Final = Directive[str](
    "proxy_ssl_crl", _ALL, _certificate_path, args="1", default="", syntax="FILE",
    doc="Revoked certificates (CRL, in PEM) for verifying upstreams.", example="proxy_ssl_crl revoked.pem;",
)
PROXY_SSL_CERTIFICATE: Final = Directive[str](
    "proxy_ssl_certificate", _ALL, _certificate_path, args="1", default="", syntax="FILE",
    doc="The certificate shown to upstreams that ask for one, in PEM.", example="proxy_ssl_certificate client.pem;",
)
PROXY_SSL_CERTIFICATE_KEY: Final = Directive[str](
    "proxy_ssl_certificate_key", _ALL, _certificate_path, args="1", default="", syntax="FILE",
    doc="The key of `proxy_ssl_certificate`, in PEM.", example="proxy_ssl_certificate_key client.key;",
)
PROXY_SSL_PASSWORD_FILE: Final = Directive[str](
    "proxy_ssl_password_file", _ALL, _certificate_path, args="1", default="", syntax="FILE",
    doc="Passphrases for the key, one a line.", example="proxy_ssl_password_file passphrases;",
)
PROXY_SSL_PROTOCOLS: Final = Directive[int](
    "proxy_ssl_protocols", _ALL, values.bits(PROTOCOLS), args="1+", default=DEFAULT_PROTOCOLS, default_text="TLSv1.2 TLSv1.3",
    syntax="[SSLv2] [SSLv3] [TLSv1] [TLSv1.1] [TLSv1.2] [TLSv1.3]",
    doc="The versions of TLS spoken to upstreams.", example="proxy_ssl_protocols TLSv1.2 TLSv1.3;",
)
PROXY_SSL_CIPHERS: Final = Directive[str](
    "proxy_ssl_ciphers", _ALL, values.text, args="1", default="DEFAULT", default_text="DEFAULT",
    syntax="CIPHERS",
    doc="The ciphers offered to upstreams (TLS 1.2 and below), in OpenSSL's notation.",
    example="proxy_ssl_ciphers HIGH:!aNULL;",
)
PROXY_SSL_SESSION_REUSE: Final = Directive[bool](
    "proxy_ssl_session_reuse", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Whether TLS sessions with upstreams are resumed.", example="proxy_ssl_session_reuse off;",
)
