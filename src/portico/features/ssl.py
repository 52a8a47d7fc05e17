"""TLS for servers: `ssl_*`, and what a request knows of its connection: `$ssl_*`.

Source: https://nginx.org/en/docs/http/ngx_http_ssl_module.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, final
from urllib.parse import quote

from portico.codec.errors import ProtocolError
from portico.codec.http1_request import valid_host
from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.config.regex import RegexFailed
from portico.errorlog import INFO
from portico.http.errors import HTTPError
from portico.http.feature import BuildSlot, Feature, HttpBuild
from portico.http.handler import Handler
from portico.http.listen import HTTP2
from portico.http.plan import VirtualServer
from portico.http.request import Request
from portico.http.response import Response
from portico.net import openssl
from portico.net.certificates import DATA, Certificate, ContextError, label, prepare, read_passphrases
from portico.net.handshake_certificates import PemCache, Unloadable, pair_loader
from portico.net.openssl import NO_CA_ERRORS, VERIFY_OK
from portico.net.tls import (
    RECORD_SIZE,
    VERIFY_OFF,
    VERIFY_ON,
    VERIFY_OPTIONAL,
    VERIFY_OPTIONAL_NO_CA,
    CertificateSource,
    ServerTLS,
    TLSTransport,
)
from portico.net.tls_context import (
    CACHE_KEPT,
    CACHE_NONE,
    CACHE_OFF,
    DEFAULT_CIPHERS,
    DEFAULT_PROTOCOLS,
    PROTOCOLS,
    SESSIONS_PER_MEGABYTE,
    TICKET_KEY_SIZES,
    ServerSettings,
    server_tls,
)
from portico.passing.revoked import OCSP_DIRECTIVES, check_clients, clients_key
from portico.passing.stapling import STAPLING, STAPLING_DIRECTIVES, staple_server, stapling_key
from portico.variables.session import shown
from portico.variables.template import template
from portico.variables.variable import STABLE_FIELDS, Getter, Variable

_SERVERS: Final = HTTP | SERVER
_LEAST_CACHE: Final = 8 * 4096  # nginx: 8 pages

CERTIFICATE_ERROR: Final = 495
NO_CERTIFICATE: Final = 496
MISDIRECTED: Final = 421


def file_path(s: Statement) -> str:
    """Return a file, relative to the directory of the configuration file; "" for none."""
    name = s.args[0].text
    return s.load.readable(s.load.full_path(name, conf=True)) if name else ""


@final
class PemName:
    """What `ssl_certificate` and `ssl_certificate_key` name: a file, or `data:` and PEM. With variables handshakes choose it."""

    def __init__(self, s: Statement) -> None:
        self.text = s.args[0].text
        self.template = template(s)
        self._load = s.load
        self.has_variables = self.template.has_variables()
        # As it is without variables; with them, only what errors call it and sessions are distinguished by.
        self.name: str = self.text if self.has_variables or not self.text else s.load.readable(self._full(self.text))

    def _full(self, text: str) -> str:
        return text if text.startswith(DATA) else self._load.full_path(text, conf=True)

    def of(self, request: Request) -> str:
        """Return the name for a handshake, an absolute path or `data:`."""
        return self._full(self.template.render(request).decode("utf-8", "surrogateescape"))

    def __str__(self) -> str:
        return label(self.name)


def _pem_name(s: Statement) -> PemName:
    text = s.args[0].text
    for scheme in ("engine:", "store:"):
        if text.startswith(scheme):
            raise s.fail(f'"{scheme}" is not supported in "{s.name}"', s.args[0], "name a file in PEM form")
    return PemName(s)


def _certificate_cache(s: Statement) -> PemCache | None:
    """Return the cache that is asked for; None for `off`."""
    most, valid, inactive = 0, 60, 10
    is_off = False
    for argument in s.args:
        name, _, text = argument.text.partition("=")
        number = values.number_of(text) if name == "max" else values.seconds_of(text) if name in ("valid", "inactive") else None
        if argument.text == "off":
            is_off = True
        elif number is None or (name == "max" and not number):
            raise s.fail(f'invalid parameter "{argument.text}"', argument, "it may be: off, max=N, inactive=TIME, valid=TIME")
        elif name == "max":
            most = number
        elif name == "valid":
            valid = number
        else:
            inactive = number
    if is_off:
        return None
    if not most:
        raise s.fail(f'"{s.name}" must have the "max" parameter')
    return PemCache(most, float(valid), float(inactive))


def passphrases(s: Statement) -> list[str]:
    """Return the lines of the file that is named."""
    path = file_path(s)
    try:
        return read_passphrases(path)
    except OSError as error:
        raise _open_failed(s, path, error) from None


def _open_failed(s: Statement, path: str, error: OSError) -> ConfigError:
    number = error.errno or 0
    return s.fail(f'open() "{path}" failed ({number}: {os.strerror(number)})', s.args[0])


def _ticket_key(s: Statement) -> str:
    path = file_path(s)
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise _open_failed(s, path, error) from None
    if size not in TICKET_KEY_SIZES:
        raise s.fail(
            f'"{path}" must be 48 or 80 bytes', s.args[0], "make one with: openssl rand 80 > ticket.key"
        )
    return path


def _session_cache(s: Statement) -> tuple[int, int, str]:
    """Return how sessions are stored, how many, and the zone's name: nginx's off, none, builtin[:entries], shared:name:size."""
    how, entries, zone = CACHE_NONE, 0, ""
    for argument in s.args:
        kind, _, rest = argument.text.partition(":")
        if argument.text == "off":
            how = CACHE_OFF
        elif argument.text == "none":
            how = CACHE_NONE
        elif kind == "builtin":
            how = CACHE_KEPT
            count = values.number_of(rest) if rest else 20480
            if not count:
                raise s.fail(f'invalid session cache "{argument.text}"', argument)
            entries = max(entries, count)
        elif kind == "shared":
            how = CACHE_KEPT
            name, _, text = rest.partition(":")
            size = values.size_of(text)
            if not name or size is None:
                raise s.fail(f'invalid session cache "{argument.text}"', argument)
            if size < _LEAST_CACHE:
                raise s.fail(
                    f'session cache "{argument.text}" is too small', argument, "it takes 32k at least"
                )
            entries = max(entries, size * SESSIONS_PER_MEGABYTE // 1048576)
            zone = name
        else:
            raise s.fail(
                f'invalid session cache "{argument.text}"',
                argument,
                "it may be: off, none, builtin:number, shared:name:size",
            )
    return how, entries, zone


def _unavailable_flag(s: Statement) -> bool:
    """Return whether something is wanted that this version cannot do; then it warns as nginx does where OpenSSL cannot."""
    wanted = values.flag(s)
    if wanted:
        _warn_once(s)
    return wanted


def _ech_file(s: Statement) -> str:
    _warn_once(s)
    return s.args[0].text


def _warn_once(s: Statement) -> None:
    if s.name not in s.load.said:
        s.load.said.add(s.name)
        s.warn(f'"{s.name}" is not supported on this platform, ignored')


def _protocols(s: Statement) -> int:
    return values.bits(PROTOCOLS)(s)


CERTIFICATE: Final = Directive[PemName | None](
    "ssl_certificate", _SERVERS, _pem_name, args="1", default=None, many=True,
    syntax="FILE",
    doc="The server's certificate, followed in the same file by the intermediate ones, in PEM form; or `data:` and the PEM itself. "
    "May stand several times, with keys of different types (RSA and ECDSA). Read anew on reload. A name with variables is "
    "evaluated, and the file read by the worker, in each handshake (`ssl_certificate_cache` spares that): "
    "`ssl_certificate $ssl_server_name.pem` needs no list of names. The handshake of a client whose server name (SNI) no host can "
    "have, such as `../x`, fails then.",
    example="ssl_certificate /etc/ssl/site.pem;\nssl_certificate_key /etc/ssl/site.key;",
)  # fmt: skip
CERTIFICATE_KEY: Final = Directive[PemName | None](
    "ssl_certificate_key", _SERVERS, _pem_name, args="1", default=None, many=True,
    syntax="FILE",
    doc="The key of the certificate, in PEM form; or `data:` and the PEM itself. The first belongs to the first `ssl_certificate`, "
    "and so on. With variables the workers read it: their `user` must be allowed to.",
    example="ssl_certificate_key /etc/ssl/site.key;",
)  # fmt: skip
CERTIFICATE_CACHE: Final = Directive[PemCache | None](
    "ssl_certificate_cache", _SERVERS, _certificate_cache, args="1-3", default=None, default_text="off",
    syntax="off | max=N [inactive=TIME] [valid=TIME]",
    doc="How many certificates and keys a worker holds of those that `ssl_certificate` and `ssl_certificate_key` name with "
    "variables. One that was not used for `inactive` (10s) goes when others come; after `valid` (60s) the file is looked at again. "
    "Keys that were encrypted are not held.",
    example="ssl_certificate_cache max=1000 inactive=20s valid=1m;",
)  # fmt: skip
PASSWORD_FILE: Final = Directive[list[str]](
    "ssl_password_file", _SERVERS, passphrases, args="1", default=list[str](),
    syntax="FILE",
    doc="A file of passphrases, one a line, tried in turn on keys that are encrypted.",
    example="ssl_password_file /etc/ssl/pass;",
)  # fmt: skip
PROTOCOLS_ALLOWED: Final = Directive[int](
    "ssl_protocols", _SERVERS, _protocols, args="1+", joins=True, default=DEFAULT_PROTOCOLS,
    default_text="TLSv1.2 TLSv1.3",
    doc="The protocol versions that clients may use, of the server whose name the client asks for.",
    example="ssl_protocols TLSv1.2 TLSv1.3;", syntax="[SSLv2] [SSLv3] [TLSv1] [TLSv1.1] [TLSv1.2] [TLSv1.3]",
)  # fmt: skip
CIPHERS: Final = Directive[str](
    "ssl_ciphers", _SERVERS, values.text, args="1", default=DEFAULT_CIPHERS, default_text=DEFAULT_CIPHERS,
    syntax="CIPHERS",
    doc="The ciphers of TLS 1.2 and earlier, in OpenSSL's notation.", example="ssl_ciphers ECDHE+AESGCM;",
)  # fmt: skip
PREFER_SERVER_CIPHERS: Final = Directive[bool](
    "ssl_prefer_server_ciphers", _SERVERS, values.flag, args="1", default=False, default_text="off",
    doc="Choose the cipher by the server's order instead of the client's.",
    example="ssl_prefer_server_ciphers on;",
)  # fmt: skip
ECDH_CURVE: Final = Directive[str](
    "ssl_ecdh_curve", _SERVERS, values.text, args="1", default="auto", default_text="auto",
    syntax="CURVE[:CURVE...]",
    doc="The curves for the key exchange, separated by colons; `auto` is OpenSSL's own list.",
    example="ssl_ecdh_curve X25519:prime256v1;",
)  # fmt: skip
DHPARAM: Final = Directive[str](
    "ssl_dhparam", _SERVERS, file_path, args="1", default="",
    syntax="FILE",
    doc="Parameters for DHE ciphers; without them none is used.", example="ssl_dhparam /etc/ssl/dhparam.pem;",
)  # fmt: skip
SESSION_CACHE: Final = Directive[tuple[int, int, str]](
    "ssl_session_cache", _SERVERS, _session_cache, args="1-2", many=True, default=(CACHE_NONE, 0, ""), default_text="none",
    doc="Whether sessions are kept so that clients without tickets can resume them. `shared:name:size` keeps "
    "about 4000 a "
    "megabyte; each worker keeps its own. Tickets (`ssl_session_tickets`, on by default) work across all "
    "workers.",
    example="ssl_session_cache shared:SSL:10m;", syntax="off | none | [builtin[:SIZE]] [shared:NAME:SIZE]",
)  # fmt: skip
SESSION_TIMEOUT: Final = Directive[int](
    "ssl_session_timeout", _SERVERS, values.seconds, args="1", default=300, default_text="5m",
    doc="How long a session may be resumed.", example="ssl_session_timeout 1d;",
)  # fmt: skip
SESSION_TICKETS: Final = Directive[bool](
    "ssl_session_tickets", _SERVERS, values.flag, args="1", default=True, default_text="on",
    doc="Let clients resume sessions by tickets. Their keys are those of `ssl_session_ticket_key`. Without them, and with "
    "`ssl_session_cache shared:`, all workers seal with one key for about as long as a session may be resumed, then with another; "
    "otherwise keys are made at load, and a reload keeps them until they are a day old. They are made anew when the process starts "
    "(also by an upgrade in place), and tickets end where `ssl_certificate` names other files, and where the contents of what client "
    "certificates are verified by have changed.",
    example="ssl_session_tickets off;",
)  # fmt: skip
SESSION_TICKET_KEY: Final = Directive[str](
    "ssl_session_ticket_key", _SERVERS, _ticket_key, args="1", default="", many=True,
    syntax="FILE",
    doc="A file of 80 random bytes (AES-256) or 48 (AES-128) that tickets are sealed with, so that they hold across restarts and "
    "machines, those that run nginx too. When it stands several times the first seals new tickets, and the others open what they "
    "sealed before: put a new key first, and remove the last one later.",
    example="ssl_session_ticket_key /etc/ssl/ticket.key;",
)  # fmt: skip
VERIFY_CLIENT: Final = Directive[int](
    "ssl_verify_client", _SERVERS,
    values.choice(
        {
            "off": VERIFY_OFF, "on": VERIFY_ON, "optional": VERIFY_OPTIONAL,
            "optional_no_ca": VERIFY_OPTIONAL_NO_CA,
        }
    ),
    args="1", default=VERIFY_OFF, default_text="off",
    syntax="on | off | optional | optional_no_ca",
    doc="Ask clients for a certificate. A request without one is answered 400 (496 for `error_page`) when "
    "`on`, one with a bad "
    "certificate 400 (495). `optional_no_ca` asks and leaves the verdict to whoever reads "
    "`$ssl_client_verify`.",
    example="ssl_verify_client optional_no_ca;",
)  # fmt: skip
CLIENT_CERTIFICATE: Final = Directive[str](
    "ssl_client_certificate", _SERVERS, file_path, args="1", default="",
    syntax="FILE",
    doc="The authorities that client certificates are verified by; their names are sent to clients.",
    example="ssl_client_certificate /etc/ssl/clients-ca.pem;",
)  # fmt: skip
TRUSTED_CERTIFICATE: Final = Directive[str](
    "ssl_trusted_certificate", _SERVERS, file_path, args="1", default="",
    syntax="FILE",
    doc="Further authorities for client certificates, whose names are not sent.",
    example="ssl_trusted_certificate /etc/ssl/more-cas.pem;",
)  # fmt: skip
VERIFY_DEPTH: Final = Directive[int](
    "ssl_verify_depth", _SERVERS, values.number, args="1", default=1, default_text="1",
    doc="How long the chain of a client certificate may be.", example="ssl_verify_depth 2;",
)  # fmt: skip
CRL: Final = Directive[str](
    "ssl_crl", _SERVERS, file_path, args="1", default="",
    syntax="FILE",
    doc="Revocation lists, in PEM form, that client certificates are checked against.",
    example="ssl_crl /etc/ssl/crl.pem;",
)  # fmt: skip
BUFFER_SIZE: Final = Directive[int](
    "ssl_buffer_size", _SERVERS, values.size, args="1", default=RECORD_SIZE, default_text="16k",
    doc="The most that is sent in one record. Smaller ones reach the application sooner on a slow line.",
    example="ssl_buffer_size 4k;",
)  # fmt: skip
REJECT_HANDSHAKE: Final = Directive[bool](
    "ssl_reject_handshake", _SERVERS, values.flag, args="1", default=False, default_text="off",
    doc="Refuse every handshake for this server (alert unrecognized_name): in a default server, for unknown "
    "names.",
    example="ssl_reject_handshake on;",
)  # fmt: skip
CERTIFICATE_COMPRESSION: Final = Directive[bool](
    "ssl_certificate_compression", _SERVERS, _unavailable_flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="Compress certificates in the handshake (RFC 8879), in nginx. Portico warns and sends them as they are, as nginx does where "
    "OpenSSL has no compression; clients work with either.",
    example="ssl_certificate_compression on;",
)  # fmt: skip
EARLY_DATA: Final = Directive[bool](
    "ssl_early_data", _SERVERS, _unavailable_flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="Accept requests in the first flight of a resumed TLS 1.3 session, in nginx. Portico warns and never accepts them: clients "
    "send such a request again after the handshake. Nothing can be replayed.",
    example="ssl_early_data on;",
)  # fmt: skip
ECH_FILE: Final = Directive[str](
    "ssl_ech_file", _SERVERS, _ech_file, args="1", default="", many=True,
    syntax="FILE",
    doc="A key for Encrypted Client Hello, in nginx with an OpenSSL that has it. Portico warns and does without: clients then send "
    "the server name in the clear.",
    example="ssl_ech_file /etc/ssl/ech.pem;",
)  # fmt: skip

_DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    CERTIFICATE, CERTIFICATE_KEY, CERTIFICATE_CACHE, PASSWORD_FILE, PROTOCOLS_ALLOWED, CIPHERS, PREFER_SERVER_CIPHERS,
    ECDH_CURVE, DHPARAM, SESSION_CACHE, SESSION_TIMEOUT, SESSION_TICKETS, SESSION_TICKET_KEY,
    VERIFY_CLIENT, CLIENT_CERTIFICATE, TRUSTED_CERTIFICATE, VERIFY_DEPTH, CRL, BUFFER_SIZE, REJECT_HANDSHAKE,
    CERTIFICATE_COMPRESSION, EARLY_DATA, ECH_FILE, *STAPLING_DIRECTIVES, *OCSP_DIRECTIVES,
)  # fmt: skip


# -- building


@final
class VariableCertificates(CertificateSource):
    """Certificates and keys whose names have variables (nginx: ngx_http_ssl_certificate)."""

    def __init__(self, pairs: list[tuple[PemName, PemName]], passphrases: list[str], cache: PemCache | None) -> None:
        self._pairs = pairs
        loader = pair_loader(passphrases, cache)
        if loader is None:
            message = '"ssl_certificate" with variables cannot be used here: libssl cannot be reached from this Python'
            raise ContextError(message, "give each name its own server with its own certificate")
        self._loader = loader

    def certify(self, transport: TLSTransport) -> None:
        assert transport.facts is not None
        try:
            request = transport.facts()
        except ProtocolError:
            # The name may be a part of a path.
            raise Unloadable(f'client sent invalid server name "{shown(transport.server_name)}"') from None
        except RegexFailed as failed:
            raise Unloadable(str(failed)) from None
        assert isinstance(request, Request)
        for certificate, key in self._pairs:
            self._loader.load(transport.tls, certificate.of(request), key.of(request))


def _settings(scope: Scope) -> ServerSettings:
    settings = ServerSettings()
    certificates = [name for name in scope.all(CERTIFICATE) if name is not None and name.text]
    keys = [name for name in scope.all(CERTIFICATE_KEY) if name is not None and name.text]
    settings.certificates = [name.name for name in certificates]
    settings.keys = [name.name for name in keys]
    settings.passphrases = scope.get(PASSWORD_FILE)
    pairs = list(zip(certificates, keys, strict=False))
    if any(name.has_variables for pair in pairs for name in pair):
        cache = scope.get(CERTIFICATE_CACHE)
        settings.source = VariableCertificates(pairs, settings.passphrases, cache)
        settings.source_cache = id(cache)
    settings.protocols = scope.get(PROTOCOLS_ALLOWED)
    settings.ciphers = scope.get(CIPHERS)
    settings.http2 = scope.get(HTTP2)
    settings.prefer_server_ciphers = scope.get(PREFER_SERVER_CIPHERS)
    settings.curves = scope.get(ECDH_CURVE)
    settings.dhparam = scope.get(DHPARAM)
    settings.cache, settings.cache_entries, settings.cache_zone = scope.get(SESSION_CACHE)
    settings.session_timeout = scope.get(SESSION_TIMEOUT)
    settings.tickets = scope.get(SESSION_TICKETS)
    settings.ticket_keys = scope.all(SESSION_TICKET_KEY)
    settings.verify = scope.get(VERIFY_CLIENT)
    settings.verify_depth = scope.get(VERIFY_DEPTH)
    settings.client_certificate = scope.get(CLIENT_CERTIFICATE)
    settings.trusted_certificate = scope.get(TRUSTED_CERTIFICATE)
    settings.crl = scope.get(CRL)
    settings.buffer_size = scope.get(BUFFER_SIZE) or RECORD_SIZE
    settings.reject = scope.get(REJECT_HANDSHAKE)
    return settings


def _located(scope: Scope, error: ContextError) -> ConfigError:
    """Return the error with the place of the directive that it is about; the one of several that names the file."""
    for directive in _DIRECTIVES:
        if directive.name == f"ssl_{error.about}":
            settings = scope.settings(directive)
            for setting in settings:
                if f'"{setting.value}"' in error.message:
                    return ConfigError(error.message, setting.where, error.hint, len(directive.name))
            if settings:
                return ConfigError(error.message, settings[-1].where, error.hint, len(directive.name))
    where = scope.statement.where if scope.statement is not None else None
    return ConfigError(error.message, where, error.hint)


@final
class ClientCertificateCheck(Handler):
    """Refuses requests without a client certificate that the server accepts."""

    def __init__(self, verify: int) -> None:
        self.is_async = False
        self.verify = verify

    def handle(self, request: Request) -> Response | None:
        if request.internal:
            return None  # the client's own request was looked at; this one may be the page that says what was wrong
        error = check_client_certificate(request, self.verify)
        if error is not None:
            raise error
        return None


def check_client_certificate(request: Request, verify: int) -> HTTPError | None:
    """Return why a request to a server with `ssl_verify_client` is refused, None when it is not.

    nginx: ngx_http_process_request, and ngx_http_set_virtual_server for requests to another name than the handshake's. A server
    without a certificate has no context: its handshakes are those of the listener's default server.
    """
    own = request.server.tls
    transport = request.client.tls
    if transport is None:
        return None
    is_other = own is not None and transport.server is not own
    if is_other or (transport.name_matched and valid_host(transport.server_name)[0] != request.host):
        reason = "client attempted to request the server name different from the one that was negotiated"
        misdirected = HTTPError(MISDIRECTED, reason, INFO)
        misdirected.close = True
        return misdirected
    result = transport.verify_result()
    if result != VERIFY_OK and not (verify == VERIFY_OPTIONAL_NO_CA and result in NO_CA_ERRORS):
        reason = f"client SSL certificate verify error: ({result}:{transport.verify_error()})"
        return HTTPError(CERTIFICATE_ERROR, reason, INFO)
    if verify == VERIFY_ON and transport.peer_certificate() is None:
        return HTTPError(NO_CERTIFICATE, "client sent no required SSL certificate", INFO)
    if transport.revoked:
        return HTTPError(CERTIFICATE_ERROR, f"client SSL certificate verify error: {transport.revoked}", INFO)
    return None


def _no_contexts(build: HttpBuild) -> dict[str, ServerTLS]:
    return {}


_CONTEXTS: Final = BuildSlot[dict[str, ServerTLS]](_no_contexts)


@final
class SSLFeature(Feature):
    """`listen … ssl`."""

    def __init__(self) -> None:
        super().__init__("http_ssl", _DIRECTIVES, _VARIABLES, (), "--with-http_ssl_module")

    def server(self, build: HttpBuild, server: VirtualServer, scope: Scope) -> None:
        if scope.get(STAPLING) and scope.get(CERTIFICATE_COMPRESSION):
            where = scope.settings(STAPLING)[-1].where
            message = '"ssl_stapling" is incompatible with "ssl_certificate_compression"'
            scope.load.diagnostics.error(ConfigError(message, where, span=len(STAPLING.name)))
        try:
            settings = _settings(scope)
        except ContextError as error:
            scope.load.diagnostics.error(_located(scope, error))
            server.tls = ServerTLS(None)
            return
        if not settings.certificates and not settings.reject:
            return
        if len(settings.keys) < len(settings.certificates):
            last = scope.settings(CERTIFICATE)[-1]
            message = f'no "ssl_certificate_key" is defined for certificate "{last.value}"'
            scope.load.diagnostics.error(ConfigError(message, last.where, span=len(CERTIFICATE.name)))
            server.tls = ServerTLS(None)  # one error is enough: the listener has its certificate
            return
        # Servers with the same settings share a context: its memory, and the time to read the files.
        key = settings.key() + stapling_key(scope) + clients_key(scope)
        contexts = _CONTEXTS.of(build)
        made = contexts.get(key)
        if made is None:
            try:
                made = server_tls(settings)
                if settings.verify != VERIFY_OFF:
                    prepare()
                check_clients(build, scope, made)
                if stapling_key(scope) and settings.source is None:
                    hook = staple_server(scope, made, settings.certificates)
                    if hook is not None:
                        build.workers.append(hook)
            except ContextError as error:
                scope.load.diagnostics.error(_located(scope, error))
                made = ServerTLS(None)
            except ConfigError as mistake:
                scope.load.diagnostics.error(mistake)
                made = ServerTLS(None)
            contexts[key] = made
        server.tls = made

    def server_rewrite(self, build: HttpBuild, server: VirtualServer, scope: Scope) -> list[Handler]:
        verify = scope.get(VERIFY_CLIENT)
        return [] if verify == VERIFY_OFF else [ClientCertificateCheck(verify)]


# -- variables


def _of_connection(get: Callable[[TLSTransport], str | None]) -> Getter[Request]:
    def getter(request: Request) -> bytes | None:
        transport = request.client.tls
        if transport is None:
            return None
        value = get(transport)
        return value.encode("latin-1", "replace") if value else None

    return getter


def _of_certificate(get: Callable[[Certificate], bytes]) -> Getter[Request]:
    def getter(request: Request) -> bytes | None:
        transport = request.client.tls
        if transport is None:
            return None
        certificate = transport.certificate()
        return None if certificate is None else get(certificate)

    return getter


def _protocol(transport: TLSTransport) -> str | None:
    return transport.tls.version()


def _cipher(transport: TLSTransport) -> str | None:
    cipher = transport.tls.cipher()
    return None if cipher is None else cipher[0]


def _ciphers(transport: TLSTransport) -> str | None:
    library = openssl.library()
    if library is not None:
        return ":".join(library.client_ciphers(transport.tls))
    return ":".join([cipher[0] for cipher in transport.tls.shared_ciphers() or []])


def _curve(transport: TLSTransport) -> str | None:
    library = openssl.library()
    return None if library is None else library.negotiated_group(transport.tls)


def _curves(transport: TLSTransport) -> str | None:
    library = openssl.library()
    return None if library is None else ":".join(library.client_groups(transport.tls))


def _alpn(transport: TLSTransport) -> str | None:
    return transport.tls.selected_alpn_protocol()


def _session_id(transport: TLSTransport) -> str | None:
    if not transport.established:
        return None  # `ssl` would copy a session that is not complete, and crash
    session = transport.tls.session
    return None if session is None else session.id.hex()


def _session_reused(transport: TLSTransport) -> str | None:
    return "r" if transport.tls.session_reused else "."


def _server_name(transport: TLSTransport) -> str | None:
    return transport.server_name.decode("latin-1")


def _verify(transport: TLSTransport) -> str | None:
    """nginx: ngx_ssl_get_client_verify."""
    if transport.peer_certificate() is None:
        return "NONE"
    result = transport.verify_result()
    if result == VERIFY_OK and transport.revoked:
        return f"FAILED:{transport.revoked}"
    return "SUCCESS" if result == VERIFY_OK else f"FAILED:{transport.verify_error()}"


def _early_data(_transport: TLSTransport) -> str | None:
    return None  # never accepted


def _tabbed_certificate(certificate: Certificate) -> bytes:
    """Return the certificate with every line but the first behind a tab, so that it could be a folded header field; nginx keeps
    it for old setups.
    """
    return certificate.pem()[:-1].replace(b"\n", b"\n\t")


def _escaped_certificate(certificate: Certificate) -> bytes:
    return quote(certificate.pem(), safe="-._~").encode("ascii")


def _days_left(certificate: Certificate) -> bytes:
    return b"%d" % certificate.days_left(time.time())


_VARIABLES: Final = (
    Variable(
        "ssl_protocol", _of_connection(_protocol), STABLE_FIELDS, "The protocol of the connection: `TLSv1.3`."
    ),
    Variable("ssl_cipher", _of_connection(_cipher), STABLE_FIELDS, "The cipher in use."),
    Variable(
        "ssl_ciphers",
        _of_connection(_ciphers),
        STABLE_FIELDS,
        "The ciphers the client offered; in new sessions only.",
    ),
    Variable("ssl_curve", _of_connection(_curve), STABLE_FIELDS, "The curve of the key exchange."),
    Variable(
        "ssl_curves",
        _of_connection(_curves),
        STABLE_FIELDS,
        "The curves the client supports; in new sessions only.",
    ),
    Variable("ssl_alpn_protocol", _of_connection(_alpn), STABLE_FIELDS, "The protocol chosen by ALPN."),
    Variable("ssl_session_id", _of_connection(_session_id), STABLE_FIELDS, "The session's number, in hex."),
    Variable(
        "ssl_session_reused",
        _of_connection(_session_reused),
        STABLE_FIELDS,
        "`r` for a resumed session, else `.`.",
    ),
    Variable(
        "ssl_early_data",
        _of_connection(_early_data),
        STABLE_FIELDS,
        "Not found: early data is never accepted.",
    ),
    Variable(
        "ssl_server_name", _of_connection(_server_name), STABLE_FIELDS, "The name the client asked for (SNI)."
    ),
    Variable(
        "ssl_client_verify", _of_connection(_verify), STABLE_FIELDS, "`SUCCESS`, `FAILED:reason` or `NONE`."
    ),
    Variable(
        "ssl_client_cert",
        _of_certificate(_tabbed_certificate),
        STABLE_FIELDS,
        "The client certificate in PEM, tabbed.",
    ),
    Variable(
        "ssl_client_raw_cert",
        _of_certificate(Certificate.pem),
        STABLE_FIELDS,
        "The client certificate in PEM.",
    ),
    Variable(
        "ssl_client_escaped_cert",
        _of_certificate(_escaped_certificate),
        STABLE_FIELDS,
        "The same, URL-encoded.",
    ),
    Variable(
        "ssl_client_s_dn", _of_certificate(Certificate.subject), STABLE_FIELDS, "Its subject, by RFC 2253."
    ),
    Variable(
        "ssl_client_i_dn", _of_certificate(Certificate.issuer), STABLE_FIELDS, "Its issuer, by RFC 2253."
    ),
    Variable(
        "ssl_client_s_dn_legacy",
        _of_certificate(Certificate.subject_legacy),
        STABLE_FIELDS,
        "Its subject: `/C=…/CN=…`.",
    ),
    Variable(
        "ssl_client_i_dn_legacy",
        _of_certificate(Certificate.issuer_legacy),
        STABLE_FIELDS,
        "Its issuer: `/C=…/CN=…`.",
    ),
    Variable(
        "ssl_client_serial", _of_certificate(Certificate.serial), STABLE_FIELDS, "Its serial number, in hex."
    ),
    Variable(
        "ssl_client_fingerprint",
        _of_certificate(Certificate.fingerprint),
        STABLE_FIELDS,
        "Its SHA-1, in hex.",
    ),
    Variable(
        "ssl_client_v_start", _of_certificate(Certificate.valid_from), STABLE_FIELDS, "From when it is valid."
    ),
    Variable(
        "ssl_client_v_end", _of_certificate(Certificate.valid_to), STABLE_FIELDS, "Until when it is valid."
    ),
    Variable("ssl_client_v_remain", _of_certificate(_days_left), doc="How many days it is valid yet."),
)

FEATURE: Final = SSLFeature()
