"""Certificates: reading them with reasons that help when they are wrong, their fields for variables, and
making one.

`cryptography` is imported where it is needed: a proxy that only serves never pays for it. One that asks
clients for certificates calls `prepare` at load: its workers may not be allowed to read Python's library.
"""

from __future__ import annotations

import errno
import os
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, final

from portico.config.files import read_file

if TYPE_CHECKING:
    from cryptography import x509

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO_START_LINE: Final = "SSL: error:0480006C:PEM routines::no start line:Expecting: "
_BAD_KEY: Final = (
    "SSL: error:1E08010C:DECODER routines::unsupported:No supported data to decode. Input type: PEM"
)
KEY: Final = "certificate_key"
DATA: Final = "data:"  # in front of PEM that is written out, in place of a file's name
# What OpenSSL calls it when the key does not fit: one of another type has no certificate at all.
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_MISMATCH: Final = "SSL: error:05800074:x509 certificate routines::key values mismatch"


@final
class ContextError(Exception):
    """A TLS context cannot be made as configured. `message` is nginx's, `hint` says what to do.

    `about`: the setting at fault, by nginx's name without `ssl_` or `proxy_ssl_`: "certificate", "ciphers".
    """

    def __init__(self, message: str, hint: str = "", about: str = "certificate") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.about = about


def file_failed(path: str) -> str:
    """Return why `path` cannot be opened, in OpenSSL 3's words: `SSL: error:80000002:system library::No such file …`; "" if it can.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # it would be read more than once
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        number = error.errno or 0
        code = 0x80000000 | number
        reason = f"SSL: error:{code:08X}:system library::{os.strerror(number)}:calling fopen({path}, r)"
        missing = number in (2, 6)
        last = (
            "error:10000080:BIO routines::no such file"
            if missing
            else "error:10080002:BIO routines::system lib"
        )
        return f"{reason} {last}"
    return ""


def load_pair(context: ssl.SSLContext, certificate: str, key: str, passphrases: list[str]) -> None:
    """Load a certificate with its chain and its key. Raises ContextError.

    Each is a path, or `data:` and PEM. A key that is encrypted is tried with each of `passphrases`; without any it is refused:
    there is nobody to ask.
    """
    if not certificate.startswith(DATA) and not key.startswith(DATA):
        _load_pair(context, certificate, key, passphrases)
        return
    with _on_disk(certificate) as certificate_path, _on_disk(key) as key_path:
        try:
            _load_pair(context, certificate_path, key_path, passphrases)
        except ContextError as error:
            message, hint = error.message, error.hint
            for name, path in ((certificate, certificate_path), (key, key_path)):
                message, hint = message.replace(path, label(name)), hint.replace(path, label(name))
            raise ContextError(message, hint, error.about) from None


def label(name: str) -> str:
    """Return how an error calls a certificate or key: never by what `data:` says, which may be a key."""
    return f"{DATA}..." if name.startswith(DATA) else name


@contextmanager
def _on_disk(name: str) -> Iterator[str]:
    """Return a path for `ssl`, which loads files only: of `data:` that of a file in memory."""
    if not name.startswith(DATA):
        yield name
        return
    file = os.memfd_create("portico-pem")
    try:
        os.write(file, name[len(DATA) :].encode("utf-8", "surrogateescape"))
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def _load_pair(context: ssl.SSLContext, certificate: str, key: str, passphrases: list[str]) -> None:
    _check_certificate(certificate)
    reason = file_failed(key)
    if reason:
        hint = "" if "No such file" in reason else "Portico reads keys as the user it is started by"
        raise ContextError(
            f'cannot load certificate key "{key}": BIO_new_file() failed ({reason})', hint, KEY
        )
    failure: ssl.SSLError | None = None
    for passphrase in passphrases or [""]:
        try:
            # A passphrase is given even when it is empty: otherwise OpenSSL would ask at the terminal.
            context.load_cert_chain(certificate, key, passphrase)
            return
        except ssl.SSLError as error:
            failure = error
            if error.reason in _MISMATCHES:
                break
    raise _key_error(certificate, key, passphrases, failure)


def _check_certificate(path: str) -> None:
    reason = file_failed(path)
    if reason:
        raise ContextError(f'cannot load certificate "{path}": BIO_new_file() failed ({reason})')
    with open(path, "rb") as file:
        text = file.read()
    call = "PEM_read_bio_X509_AUX() failed"
    if (
        b"-----BEGIN CERTIFICATE-----" not in text
        and b"-----BEGIN TRUSTED CERT" not in text
        and (b"-----BEGIN X509 CERT" not in text)
    ):
        hint = "the file holds no certificate in PEM form"
        if b"PRIVATE KEY-----" in text:
            hint = "the file holds a private key: are ssl_certificate and ssl_certificate_key swapped?"
        elif text[:1] == b"\x30":
            hint = "the file is in DER form: convert it with openssl x509 -inform der -in FILE -out FILE.pem"
        raise ContextError(
            f'cannot load certificate "{path}": {call} ({_NO_START_LINE}TRUSTED CERTIFICATE)', hint
        )


def _key_error(
    certificate: str, key: str, passphrases: list[str], failure: ssl.SSLError | None
) -> ContextError:
    reason = "" if failure is None or failure.reason is None else failure.reason
    if reason in _MISMATCHES:
        return ContextError(
            f'SSL_CTX_use_PrivateKey("{key}") failed ({_MISMATCH})',
            f'it is not the key of "{certificate}"',
            KEY,
        )
    with open(key, "rb") as file:
        text = file.read()
    failed = f'cannot load certificate key "{key}": PEM_read_bio_PrivateKey() failed'
    if b"ENCRYPTED" in text:
        wrong = f"none of the {len(passphrases)} passphrases in ssl_password_file opens it"
        hint = (
            wrong
            if passphrases
            else "the key is encrypted: name a file with its passphrase by ssl_password_file"
        )
        return ContextError(f"{failed} (SSL: error:1C800064:Provider routines::bad decrypt)", hint, KEY)
    if b"PRIVATE KEY-----" not in text:
        return ContextError(f"{failed} ({_BAD_KEY})", "the file holds no private key in PEM form", KEY)
    return _damaged(certificate, key, failed, failure)


def _damaged(certificate: str, key: str, failed: str, failure: ssl.SSLError | None) -> ContextError:
    """Return the error for two files that look right, one of which OpenSSL refuses: they are read separately to tell which."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        with open(certificate, "rb") as file:
            x509.load_pem_x509_certificates(file.read())
    except ValueError as error:
        return ContextError(
            f'cannot load certificate "{certificate}": PEM_read_bio_X509_AUX() failed ({error})',
            "a certificate in the file is damaged",
        )
    try:
        with open(key, "rb") as file:
            serialization.load_pem_private_key(file.read(), None)
    except (ValueError, TypeError):
        return ContextError(f"{failed} ({_BAD_KEY})", "the key in the file is damaged", KEY)
    return ContextError(f'SSL_CTX_use_certificate("{certificate}") failed (SSL: {failure})')


def load_authorities(context: ssl.SSLContext, path: str, about: str) -> None:
    """Trust the certificates in a file (`about` "crl": take its revocation lists). Raises ContextError."""
    call = "X509_LOOKUP_load_file" if about == "crl" else "SSL_CTX_load_verify_locations"
    reason = file_failed(path)
    if reason:
        if about != "crl":
            reason += " error:05880002:x509 certificate routines::system lib"
        raise ContextError(f'{call}("{path}") failed ({reason})', about=about)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        nothing = "SSL: error:05800088:x509 certificate routines::no certificate or crl found"
        hint = "the file holds nothing in PEM form"
        raise ContextError(f'{call}("{path}") failed ({nothing})', hint, about) from None


def prepare() -> None:
    """Import what `Certificate` needs. A worker without privileges may not be able to."""
    import cryptography.x509  # noqa: F401


def read_passphrases(path: str) -> list[str]:
    """Return the lines of a password file that are not empty. Raises OSError."""
    lines = read_file(path).split(b"\n")
    return [line.rstrip(b"\r").decode("utf-8", "surrogateescape") for line in lines if line.rstrip(b"\r")]


@final
class Certificate:
    """The fields of one certificate as nginx's variables show them."""

    def __init__(self, der: bytes) -> None:
        from cryptography import x509

        self.der = der
        self._parsed: x509.Certificate = x509.load_der_x509_certificate(der)

    def pem(self) -> bytes:
        """Return the certificate in PEM, ended by a newline, for $ssl_client_raw_cert."""
        return ssl.DER_cert_to_PEM_cert(self.der).encode("ascii")

    def fingerprint(self) -> bytes:
        """Return the SHA-1 in hex."""
        import hashlib

        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest().encode("ascii")

    def serial(self) -> bytes:
        """Return the serial number in upper-case hex, whole bytes."""
        number = self._parsed.serial_number
        text = f"{abs(number):X}"
        if len(text) % 2:
            text = "0" + text
        return (f"-{text}" if number < 0 else text).encode("ascii")

    def issuer(self) -> bytes:
        """Return the issuer by RFC 2253."""
        return _rfc2253(self._parsed.issuer)

    def subject(self) -> bytes:
        """Return the subject by RFC 2253."""
        return _rfc2253(self._parsed.subject)

    def issuer_legacy(self) -> bytes:
        """Return the issuer as `/C=…/O=…/CN=…`."""
        return _oneline(self._parsed.issuer)

    def subject_legacy(self) -> bytes:
        """Return the subject as `/C=…/O=…/CN=…`."""
        return _oneline(self._parsed.subject)

    def valid_from(self) -> bytes:
        """Return the first moment of validity: `Nov 23 09:12:56 2026 GMT`."""
        start = self._parsed.not_valid_before_utc
        return _asn1_time(start.year, start.month, start.day, start.hour, start.minute, start.second)

    def valid_to(self) -> bytes:
        """Return the last moment of validity: `Nov 23 09:12:56 2027 GMT`."""
        end = self._parsed.not_valid_after_utc
        return _asn1_time(end.year, end.month, end.day, end.hour, end.minute, end.second)

    def days_left(self, now: float) -> int:
        """Return the whole days until it expires, 0 when it has. `now`: seconds since the epoch."""
        return max(0, int((self._parsed.not_valid_after_utc.timestamp() - int(now)) // 86400))


# Names that OpenSSL knows and RFC 4514 does not list.
_SHORT_NAMES: Final[dict[str, str]] = {
    "1.2.840.113549.1.9.1": "emailAddress",
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.17": "postalCode",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}


def _rfc2253(name: x509.Name) -> bytes:
    """Return a name as X509_NAME_print_ex(XN_FLAG_RFC2253) does: last first, special and non-ASCII bytes escaped."""
    parts: list[str] = []
    for group in reversed(list(name.rdns)):
        pairs = [
            f"{_short_name(pair.oid.dotted_string)}={_escaped(_value(pair.value))}"
            for pair in reversed(list(group))
        ]
        parts.append("+".join(pairs))
    return ",".join(parts).encode("ascii")


def _oneline(name: x509.Name) -> bytes:
    """Return a name as X509_NAME_oneline does."""
    text = ""
    for group in name.rdns:
        for index, pair in enumerate(group):
            text += f"{'/' if index == 0 else '+'}{_short_name(pair.oid.dotted_string)}="
            for code in _value(pair.value):
                text += _oneline_character(code)
    return text.encode("ascii")


def _oneline_character(code: int) -> str:
    if not 0x20 <= code <= 0x7E:
        return f"\\x{code:02X}"
    return "\\" + chr(code) if code in b"/+" else chr(code)


def _short_name(oid: str) -> str:
    return _SHORT_NAMES.get(oid, oid)


def _value(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8")


def _escaped(value: bytes) -> str:
    text = ""
    last = len(value) - 1
    for index, code in enumerate(value):
        char = chr(code)
        if code < 0x20 or code >= 0x7F:
            text += f"\\{code:02X}"
        elif char in ',+"\\<>;' or (char == " " and index in (0, last)) or (char == "#" and index == 0):
            text += "\\" + char
        else:
            text += char
    return text


def _asn1_time(year: int, month: int, day: int, hour: int, minute: int, second: int) -> bytes:
    return f"{_MONTHS[month - 1]} {day:2} {hour:02}:{minute:02}:{second:02} {year} GMT".encode("ascii")


def self_signed(names: list[str], days: int) -> tuple[bytes, bytes]:
    """Make a certificate for host names and IP addresses, signed by its own key: (certificate, key) in PEM. ECDSA on P-256."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
