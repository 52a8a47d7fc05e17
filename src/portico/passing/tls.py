"""The family of directives about TLS to upstreams."""

from __future__ import annotations

import os
from typing import final

from portico.balancing.tls import UPSTREAM_CIPHERS, PeerTLSSettings, UpstreamTLS
from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import Directive, Scope
from portico.config.reader import Statement
from portico.net.certificates import read_passphrases
from portico.net.tls_context import DEFAULT_PROTOCOLS, PROTOCOLS
from portico.passing.families import ANYWHERE, Family, Prefix
from portico.variables.template import Template, template


@final
class TLSDirectives(Family):
    """The family under one prefix. `own_name`: how the reference writes the name that is used without `*_ssl_name`."""

    def __init__(self, prefix: Prefix, own_name: str) -> None:
        super().__init__(prefix)
        p, server = prefix.name, prefix.server
        self.server_name = self.declare(Directive[bool](
            f"{p}_ssl_server_name", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc=f"Whether the name of {server} is sent in the TLS handshake (SNI).", example=f"{p}_ssl_server_name on;",
        ))
        self.name = self.declare(Directive[Template | None](
            f"{p}_ssl_name", ANYWHERE, template, args="1", default=None, default_text=own_name, syntax="NAME",
            doc=f"The name to verify the certificate of {server} against, and to send with `{p}_ssl_server_name`.",
            example=f"{p}_ssl_name backend.example.com;",
        ))
        self.verify = self.declare(Directive[bool](
            f"{p}_ssl_verify", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc=f"Whether the certificate of {server} is verified, against `{p}_ssl_trusted_certificate`.",
            example=f"{p}_ssl_verify off;",
        ))
        self.verify_depth = self.declare(Directive[int](
            f"{p}_ssl_verify_depth", ANYWHERE, values.number, args="1", default=1, default_text="1",
            doc="How long the chain to a trusted certificate may be.", example=f"{p}_ssl_verify_depth 2;",
        ))
        self.trusted_certificate = self.declare(Directive[str](
            f"{p}_ssl_trusted_certificate", ANYWHERE, _file, args="1", default="", syntax="FILE",
            doc=f"The certificates of authorities that {server} is verified against, in PEM.",
            example=f"{p}_ssl_trusted_certificate ca.pem;",
        ))
        self.crl = self.declare(Directive[str](
            f"{p}_ssl_crl", ANYWHERE, _file, args="1", default="", syntax="FILE",
            doc=f"Revoked certificates (CRL, in PEM) for verifying {server}.", example=f"{p}_ssl_crl revoked.pem;",
        ))
        self.certificate = self.declare(Directive[str](
            f"{p}_ssl_certificate", ANYWHERE, _file, args="1", default="", syntax="FILE",
            doc=f"The certificate shown to {server} when it asks for one, in PEM.", example=f"{p}_ssl_certificate client.pem;",
        ))
        self.certificate_key = self.declare(Directive[str](
            f"{p}_ssl_certificate_key", ANYWHERE, _file, args="1", default="", syntax="FILE",
            doc=f"The key of `{p}_ssl_certificate`, in PEM.", example=f"{p}_ssl_certificate_key client.key;",
        ))
        self.password_file = self.declare(Directive[str](
            f"{p}_ssl_password_file", ANYWHERE, _file, args="1", default="", syntax="FILE",
            doc="Passphrases for the key, one a line.", example=f"{p}_ssl_password_file passphrases;",
        ))
        self.protocols = self.declare(Directive[int](
            f"{p}_ssl_protocols", ANYWHERE, values.bits(PROTOCOLS), args="1+", joins=True, default=DEFAULT_PROTOCOLS,
            default_text="TLSv1.2 TLSv1.3", syntax="[SSLv2] [SSLv3] [TLSv1] [TLSv1.1] [TLSv1.2] [TLSv1.3]",
            doc=f"The versions of TLS spoken to {server}.", example=f"{p}_ssl_protocols TLSv1.2 TLSv1.3;",
        ))
        self.ciphers = self.declare(Directive[str](
            f"{p}_ssl_ciphers", ANYWHERE, values.text, args="1", default=UPSTREAM_CIPHERS, default_text=UPSTREAM_CIPHERS,
            syntax="CIPHERS",
            doc=f"The ciphers offered to {server} (TLS 1.2 and below), in OpenSSL's notation.",
            example=f"{p}_ssl_ciphers HIGH:!aNULL;",
        ))
        self.session_reuse = self.declare(Directive[bool](
            f"{p}_ssl_session_reuse", ANYWHERE, values.flag, args="1", default=True, default_text="on",
            doc=f"Whether TLS sessions with {server} are resumed.", example=f"{p}_ssl_session_reuse off;",
        ))


def tls_settings(d: TLSDirectives, scope: Scope) -> PeerTLSSettings:
    """Return the settings that hold in `scope`. Raises ConfigError when they do not fit together."""
    settings = PeerTLSSettings()
    settings.server_name = scope.get(d.server_name)
    settings.verify = scope.get(d.verify)
    settings.verify_depth = scope.get(d.verify_depth)
    settings.trusted_certificate = scope.get(d.trusted_certificate)
    settings.crl = scope.get(d.crl)
    settings.certificate = scope.get(d.certificate)
    settings.certificate_key = scope.get(d.certificate_key)
    password_file = scope.get(d.password_file)
    if password_file:
        settings.passphrases = read_passphrases(password_file)
    settings.protocols = scope.get(d.protocols)
    settings.ciphers = scope.get(d.ciphers)
    settings.session_reuse = scope.get(d.session_reuse)
    verify = scope.setting(d.verify)
    if verify is not None and verify.value and not settings.trusted_certificate:
        raise ConfigError(f"no {d.trusted_certificate.name} for {d.verify.name}", verify.where, "it names the authorities to trust")
    return settings


def upstream_tls(d: TLSDirectives, scope: Scope) -> UpstreamTLS:
    """Return the client's end of TLS as set in `scope`. Raises ConfigError, and ContextError for certificates."""
    return UpstreamTLS(tls_settings(d, scope))


def _file(statement: Statement) -> str:
    path = statement.load.full_path(statement.args[0].text, True)
    readable = statement.load.readable(path)
    if not os.path.isfile(readable):
        raise statement.fail(f'cannot load "{path}": no such file', statement.args[0])
    return readable
