"""The examples of directives as whole configurations, and a prefix with the files that they name."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.processes import free_port
from tests.unit.mmdb import database

from portico import catalogue
from portico.config.directive import CONTEXT_NAMES, EVENTS, HTTP, LOCATION, MAIN, SERVER, UPSTREAM, Directive
from portico.config.load import Load
from portico.config.reader import read_text
from portico.net.certificates import self_signed

DIRECTIVES = catalogue.directives()
PORT = free_port()  # `-t` binds, and other tests run at the same time

# What stands around an example, by the context that its first statement belongs into; the first that fits is taken.
FRAMES = (
    (MAIN, "%s\n"),
    (SERVER, f"http {{ server {{ listen 127.0.0.1:{PORT}; %s\n }} }}"),
    (HTTP, "http { %s\n }"),
    (LOCATION, f"http {{ server {{ listen 127.0.0.1:{PORT}; location /some/ {{ %s\n }} }} }}"),
    (UPSTREAM, "http { upstream some { server 127.0.0.1:18081; %s\n } }"),
    (EVENTS, "events { %s\n }"),
)


def identity(directive: Directive[object]) -> str:
    """The name, with a context where several share it."""
    same = [other for other in DIRECTIVES if other.name == directive.name]
    if len(same) == 1:
        return directive.name
    return f"{directive.name}-{CONTEXT_NAMES[directive.contexts & -directive.contexts]}"


def fill(path: Path) -> Path:
    """Write the files that examples name into the prefix `path`."""
    certificate, key = self_signed(["example.com"], 1)
    for name in ("site.pem", "clients-ca.pem", "more-cas.pem", "ca.pem", "client.pem"):
        (path / name).write_bytes(certificate)
    for name in ("site.key", "client.key"):
        (path / name).write_bytes(key)
    for name in ("crl.pem", "revoked.pem"):
        (path / name).write_bytes(nothing_revoked())
    (path / "dhparam.pem").write_text("")
    for name in ("pass", "passphrases"):
        (path / name).write_text("secret\n")
    (path / "users").write_text("anna:{PLAIN}secret\n")
    (path / "ticket.key").write_bytes(os.urandom(80))
    for name, kind in (("country.mmdb", "Country"), ("city.mmdb", "City"), ("asn.mmdb", "ASN")):
        (path / name).write_bytes(database({"192.0.2.0/24": {}}, f"GeoLite2-{kind}"))
    (path / "logs").mkdir()
    return path


def nothing_revoked() -> bytes:
    """A revocation list, in PEM."""
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    made = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(now).next_update(now + datetime.timedelta(days=1))
    return made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def framed(directive: Directive[object], site: Path) -> str:
    """The example as a whole configuration."""
    text = directive.example.replace("/etc/ssl/", f"{site}/")
    statements = read_text(text, "example", Load(f"{site}/", "nginx.conf"))
    first = statements[0].name if statements else directive.name
    contexts = directive.contexts
    if first != directive.name:
        contexts = next(other.contexts for other in DIRECTIVES if other.name == first)
    whole = next(frame for context, frame in FRAMES if contexts & context) % text
    names = {statement.name for statement in statements}
    return whole if "events" in names and whole.startswith(text) else f"events {{}}\n{whole}"
