"""Certificates: their fields as OpenSSL prints them, reasons for bad files, and the one made on the spot."""

from __future__ import annotations

import datetime
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from portico.net.certificates import Certificate, ContextError, load_pair, read_passphrases, self_signed

DAY = 86400.0


def named(*groups: list[tuple[x509.ObjectIdentifier, str]]) -> bytes:
    """The DER of a certificate with this subject, one list for each RDN."""
    name = x509.Name(
        [x509.RelativeDistinguishedName([x509.NameAttribute(*pair) for pair in group]) for group in groups]
    )
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    return (
        x509.CertificateBuilder(name, name, key.public_key(), 0x0FACE)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=10))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def openssl_says(der: bytes, *options: str) -> str:
    command = ["openssl", "x509", "-inform", "der", "-noout", *options]
    done = subprocess.run(command, input=der, capture_output=True, check=True)
    return done.stdout.decode().removesuffix("\n").partition("=")[2]


@pytest.mark.parametrize(
    "groups",
    [
        [[(NameOID.COUNTRY_NAME, "DE")], [(NameOID.COMMON_NAME, "Ann")]],
        [[(NameOID.ORGANIZATION_NAME, 'Müller, "Söhne" + Co; <x>\\')], [(NameOID.EMAIL_ADDRESS, "a@b.c")]],
        [
            [(NameOID.COMMON_NAME, " leading and trailing ")],
            [(NameOID.SURNAME, "#1")],
            [(NameOID.USER_ID, "u")],
        ],
        [[(NameOID.COMMON_NAME, "both"), (NameOID.SERIAL_NUMBER, "7")], [(NameOID.DOMAIN_COMPONENT, "test")]],
        [[(NameOID.STREET_ADDRESS, "Way 1")], [(NameOID.GIVEN_NAME, "G")], [(NameOID.TITLE, "a=b/c")]],
    ],
)
def test_names_are_openssls(groups: list[list[tuple[x509.ObjectIdentifier, str]]]) -> None:
    der = named(*groups)
    certificate = Certificate(der)
    assert certificate.subject().decode() == openssl_says(der, "-subject", "-nameopt", "RFC2253")
    assert certificate.issuer() == certificate.subject()
    assert certificate.subject_legacy().decode() == openssl_says(der, "-subject", "-nameopt", "compat")


def test_other_fields_are_openssls() -> None:
    der = named([(NameOID.COMMON_NAME, "x")])
    certificate = Certificate(der)
    assert certificate.serial().decode() == openssl_says(der, "-serial")
    fingerprint = openssl_says(der, "-fingerprint", "-sha1").replace(":", "").lower()
    assert certificate.fingerprint().decode() == fingerprint
    assert certificate.valid_from().decode() == openssl_says(der, "-startdate")
    assert certificate.valid_to().decode() == openssl_says(der, "-enddate")
    assert certificate.pem().endswith(b"-----END CERTIFICATE-----\n")


def test_days_left() -> None:
    certificate = Certificate(named([(NameOID.COMMON_NAME, "x")]))
    end = datetime.datetime(2026, 1, 12, 3, 4, 5, tzinfo=datetime.UTC).timestamp()
    assert certificate.days_left(end - 3 * DAY) == 3
    assert certificate.days_left(end - 3 * DAY + 1) == 2
    assert certificate.days_left(end + DAY) == 0


def test_self_signed_names_hosts_and_addresses() -> None:
    certificate, key = self_signed(["localhost", "127.0.0.1", "::1"], 30)
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert b"PRIVATE KEY" in key


class Files:
    """A good pair, and what is wrong with others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        certificate, key = self_signed(["a.test"], 2)
        self.certificate = self.write("a.pem", certificate)
        self.key = self.write("a.key", key)
        self.other_key = self.write("b.key", self_signed(["b.test"], 2)[1])
        foreign = rsa.generate_private_key(65537, 2048)
        plain, locked = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"sesame")
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.rsa_key = self.write("rsa.key", foreign.private_bytes(pem, form, plain))
        loaded = serialization.load_pem_private_key(key, None)
        self.locked = self.write("locked.key", loaded.private_bytes(pem, form, locked))
        self.garbage = self.write("garbage", b"garbage\n")
        self.damaged = self.write("damaged.pem", certificate.replace(b"MII", b"XXX", 1))
        self.der = self.write(
            "a.der", x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
        )

    def write(self, name: str, data: bytes) -> str:
        path = self.directory / name
        path.write_bytes(data)
        return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


def load(certificate: str, key: str, passphrases: list[str] | None = None) -> ContextError:
    with pytest.raises(ContextError) as failure:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key, passphrases or [])
    return failure.value


def test_messages_are_nginxs(files: Files) -> None:
    """As nginx 1.22 with OpenSSL 3.0 prints them."""
    assert load("/nope.pem", files.key).message == (
        'cannot load certificate "/nope.pem": BIO_new_file() failed (SSL: error:80000002:system library::No '
        "such file or "
        "directory:calling fopen(/nope.pem, r) error:10000080:BIO routines::no such file)"
    )
    assert load(files.garbage, files.key).message == (
        f'cannot load certificate "{files.garbage}": PEM_read_bio_X509_AUX() failed (SSL: error:0480006C:PEM '
        f"routines::"
        "no start line:Expecting: TRUSTED CERTIFICATE)"
    )
    assert load(files.certificate, files.garbage).message == (
        f'cannot load certificate key "{files.garbage}": PEM_read_bio_PrivateKey() failed (SSL: '
        f"error:1E08010C:DECODER "
        "routines::unsupported:No supported data to decode. Input type: PEM)"
    )
    assert load(files.certificate, files.other_key).message == (
        f'SSL_CTX_use_PrivateKey("{files.other_key}") failed (SSL: error:05800074:x509 certificate routines::'
        "key values mismatch)"
    )


def test_a_key_of_another_type_is_a_mismatch_too(files: Files) -> None:
    assert "key values mismatch" in load(files.certificate, files.rsa_key).message


def test_hints(files: Files) -> None:
    assert "swapped" in load(files.key, files.certificate).hint
    assert "DER" in load(files.der, files.key).hint
    assert "ssl_password_file" in load(files.certificate, files.locked).hint
    assert "none of the 2 passphrases" in load(files.certificate, files.locked, ["a", "b"]).hint
    assert "damaged" in load(files.damaged, files.key).hint


def test_several_passphrases_are_tried(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "pass"
    path.write_bytes(b"wrong\r\n\nsesame\n")
    phrases = read_passphrases(str(path))
    assert phrases == ["wrong", "sesame"]
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files.certificate, files.locked, phrases)
