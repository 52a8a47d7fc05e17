"""Variables of the request: request line, header fields, body, `$request_time`, `$request_length`.

Source of names and meanings: https://nginx.org/en/docs/http/ngx_http_core_module.html#variables
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Final

from portico.codec.errors import ProtocolError
from portico.codec.http1_request import split_target, valid_host
from portico.codec.versions import NAMES
from portico.config.values import octets
from portico.http.routing.uri import arg
from portico.variables.clock import seconds_text
from portico.variables.variable import PER_REQUEST, STABLE_FIELDS, Getter, Variable, VariableFamily

if TYPE_CHECKING:
    from portico.http.request import Request

# Fields that nginx looks up by their one spelling, never with "_" for "-" (ngx_http_variable_header): a field
# `X_Forwarded_For`, let in by `underscores_in_headers`, must not pass for the real one.
_ONE_SPELLING: Final = frozenset((b"user-agent", b"x-forwarded-for"))
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

# -- the request line


def _request(request: Request) -> bytes | None:
    return request.line or None


def _request_method(request: Request) -> bytes | None:
    return request.method or None


def _request_uri(request: Request) -> bytes | None:
    return request.target.raw or None if request.method else None  # no method: the request line made no sense


def _server_protocol(request: Request) -> bytes | None:
    if not request.method:
        return None
    return NAMES.get(request.version)


def _uri(request: Request) -> bytes | None:
    return request.uri if request.method else None


def _args(request: Request) -> bytes | None:
    # nginx knows "no query" from an empty one by a null pointer; an empty one is a rarity not worth a flag.
    return request.args or None


def _is_args(request: Request) -> bytes | None:
    return b"?" if request.args else b""


def _arg_family(name: str) -> Getter[Request]:
    wanted = name.encode()

    def get(request: Request) -> bytes | None:
        args = request.args
        return arg(args, wanted) if args else None

    return get


# -- whom it asked


def _host(request: Request) -> bytes | None:
    return request.host


def _request_port(request: Request) -> bytes | None:
    return _port_asked(request)


def _is_request_port(request: Request) -> bytes | None:
    return b":" if _port_asked(request) else b""


def _port_asked(request: Request) -> bytes:
    """Return the port in an absolute-form target, else (without such a target) in Host; b"" without one."""
    words = request.line.split(b" ")
    host = b""
    try:
        if len(words) == 3 and not words[1].startswith(b"/"):
            host = split_target(words[1])[0]
        host = host or request.fields.host or b""
        return valid_host(host)[1] if host else b""
    except ProtocolError:
        return b""


def _remote_user(request: Request) -> bytes | None:
    value = request.fields.get(b"authorization")
    if value is None:
        return None
    return basic_user(value)


def basic_user(authorization: bytes) -> bytes | None:
    """Return the name in a Basic Authorization field (RFC 7617), None when there is none."""
    credentials = basic_credentials(authorization)
    return None if credentials is None else credentials[0]


def basic_credentials(authorization: bytes) -> tuple[bytes, bytes] | None:
    """Return name and password in a Basic Authorization field (RFC 7617), None when there are none.

    Read as ngx_http_auth_basic_user does: padding may be missing, a name may not.
    """
    if authorization[:6].lower() != b"basic ":
        return None
    encoded = authorization[6:].lstrip(b" ").partition(b"=")[0]
    if encoded.translate(None, _BASE64) or len(encoded) % 4 == 1:
        return None
    user, colon, password = binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4)).partition(b":")
    return (user, password) if colon and user else None


# -- header fields


def _http_user_agent(request: Request) -> bytes | None:
    return request.fields.joined(b"user-agent")


def _http_referer(request: Request) -> bytes | None:
    return request.fields.joined(b"referer")


def _http_host(request: Request) -> bytes | None:
    return request.fields.host


def _http_family(name: str) -> Getter[Request]:
    wanted = name.encode().replace(b"_", b"-")
    variants = b"-" in wanted and wanted not in _ONE_SPELLING

    def get(request: Request) -> bytes | None:
        fields = request.fields
        if not variants or b"_" not in fields.raw:
            return fields.joined(wanted)
        values: list[bytes] = []
        for index, key in enumerate(fields.names):
            if len(key) == len(wanted) and key.replace(b"_", b"-") == wanted:
                values.append(fields.values[index])
        return b", ".join(values) if values else None

    return get


def _cookie_family(name: str) -> Getter[Request]:
    wanted = name.encode().lower()

    def get(request: Request) -> bytes | None:
        fields = request.fields
        if fields.get(b"cookie") is None:
            return None
        for line in fields.get_all(b"cookie"):
            value = cookie_in(line, wanted)
            if value is not None:
                return value
        return None

    return get


def cookie_in(line: bytes, name: bytes) -> bytes | None:
    """Return the value of the cookie `name` (lower-case) in one Cookie field, None when it is not there.

    As ngx_http_parse_multi_header_lines: names compare without case, pairs end with ";" (before nginx 1.29.6 with "," too), and the
    value has the spaces before that.
    """
    lowered = line.lower()
    if name not in lowered:
        return None
    start = 0
    while start < len(line):
        if lowered.startswith(name, start):
            at = _skip_spaces(line, start + len(name))
            if line[at : at + 1] == b"=":
                at = _skip_spaces(line, at + 1)
                end = line.find(b";", at)
                return line[at:] if end < 0 else line[at:end]
        end = line.find(b";", start)
        if end < 0:
            return None
        start = _skip_spaces(line, end + 1)
    return None


def _skip_spaces(line: bytes, at: int) -> int:
    while at < len(line) and line[at] == 32:
        at += 1
    return at


def _content_type(request: Request) -> bytes | None:
    return request.fields.joined(b"content-type")


def _proxy_add_x_forwarded_for(request: Request) -> bytes | None:
    before = request.fields.joined(b"x-forwarded-for")
    address = request.remote_addr
    return before + b", " + address if before else address


# -- the body


def _content_length(request: Request) -> bytes | None:
    value = request.fields.get(b"content-length")
    if value is not None:
        return value
    body = request.body
    if body is None or not body.chunked or body.length < 0:
        return None
    return b"%d" % body.length


def _request_body(request: Request) -> bytes | None:
    body = request.body
    return None if body is None else body.data


def _request_body_file(request: Request) -> bytes | None:
    body = request.body
    return None if body is None or not body.is_named else octets(body.file_path)


# -- about the request


def _request_id(request: Request) -> bytes | None:
    return request.id()


def _request_length(request: Request) -> bytes | None:
    return b"%d" % request.received


def _request_time(request: Request) -> bytes | None:
    return seconds_text(request.reactor.now - request.started)


def _pipe(request: Request) -> bytes | None:
    return b"p" if request.stream is not None and request.stream.pipelined else b"."


REQUEST_VARIABLES: Final[tuple[Variable[Request], ...]] = (
    Variable("args", _args, PER_REQUEST, "The query of the request: what stands behind `?`."),
    Variable(
        "content_length",
        _content_length,
        PER_REQUEST,
        "The length of the request body: the Content-Length field, or what a chunked body came to once read.",
    ),
    Variable("content_type", _content_type, STABLE_FIELDS, "The Content-Type field of the request."),
    Variable("document_uri", _uri, PER_REQUEST, "Same as `$uri`."),
    # For requests of equal header blocks the host is equal too, but for a target in absolute form, which
    # overrides the Host field: whoever keeps a value by header block must keep request.host with it.
    Variable(
        "host",
        _host,
        STABLE_FIELDS,
        "The host of the request line, else of the Host field (lower case, no port), else `server_name`.",
    ),
    Variable("http_host", _http_host, STABLE_FIELDS, "The Host field as sent, with its port."),
    Variable("http_referer", _http_referer, STABLE_FIELDS, "The Referer field."),
    Variable("http_user_agent", _http_user_agent, STABLE_FIELDS, "The User-Agent field."),
    Variable("is_args", _is_args, PER_REQUEST, "`?` when there is a query, else empty."),
    Variable(
        "is_request_port", _is_request_port, PER_REQUEST, "`:` when `$request_port` is not empty, else empty."
    ),
    Variable("pipe", _pipe, PER_REQUEST, "`p` when the request was pipelined, else `.`."),
    Variable(
        "proxy_add_x_forwarded_for",
        _proxy_add_x_forwarded_for,
        STABLE_FIELDS,
        "The X-Forwarded-For field of the request with `$remote_addr` added behind a comma.",
    ),
    Variable("query_string", _args, PER_REQUEST, "Same as `$args`."),
    Variable("remote_user", _remote_user, STABLE_FIELDS, "The user name of Basic authentication."),
    Variable("request", _request, PER_REQUEST, "The whole request line as sent."),
    Variable("request_body", _request_body, PER_REQUEST, "The request body, when it was read into memory."),
    Variable(
        "request_body_file",
        _request_body_file,
        PER_REQUEST,
        "The temporary file with the request body, when it has a name.",
    ),
    Variable(
        "request_id", _request_id, PER_REQUEST, "16 random bytes in hexadecimal, made for this request."
    ),
    Variable(
        "request_length", _request_length, PER_REQUEST, "Bytes received: request line, header block and body."
    ),
    Variable("request_method", _request_method, PER_REQUEST, "The method: `GET`, `POST` and so on."),
    Variable(
        "request_port",
        _request_port,
        PER_REQUEST,
        "The port of the request line's host, else of the Host field.",
    ),
    Variable(
        "request_time",
        _request_time,
        PER_REQUEST,
        "Seconds with milliseconds since the first bytes of the request came.",
    ),
    Variable("request_uri", _request_uri, PER_REQUEST, "Path and query as the client sent them."),
    Variable("server_protocol", _server_protocol, PER_REQUEST, "`HTTP/1.0` or `HTTP/1.1`."),
    Variable("uri", _uri, PER_REQUEST, "The path, decoded and normalised; changes with internal redirects."),
)

REQUEST_FAMILIES: Final[tuple[VariableFamily[Request], ...]] = (
    VariableFamily("arg_", _arg_family, PER_REQUEST, "An argument of the query, undecoded."),
    VariableFamily("cookie_", _cookie_family, STABLE_FIELDS, "A cookie of the request."),
    VariableFamily(
        "http_",
        _http_family,
        STABLE_FIELDS,
        "A header field of the request: name in lower case, `_` for `-`; several are joined by `, `.",
    ),
)
