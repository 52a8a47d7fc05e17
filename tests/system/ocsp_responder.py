"""A certificate authority with an OCSP responder in this process, for tests that can decide what it says."""

from __future__ import annotations

import base64
import datetime
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
HOUR = datetime.timedelta(hours=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _pem(key: Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class Authority:
    """Issues certificates into a folder and answers for them; `revoked`, `forging`, `failing`, `released` may be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.revoked: set[str] = set()  # names of certificates
        self.forging = False  # sign with another key than the issuer's
        self.failing = False  # respond with "try later"
        self.life = HOUR  # until nextUpdate
        self.released = threading.Event()  # responses wait for it
        self.released.set()
        self.asked: list[str] = []  # names, in order
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._other_key = ec.generate_private_key(ec.SECP256R1())
        self._names: dict[int, str] = {}
        self.issued: dict[str, x509.Certificate] = {}
        self.certificate = self._sign("root", self._key, ca=True)
        self._other_certificate = self._sign("root", self._other_key, ca=True)
        self._write("root", self.certificate, self._key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Respond no more."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def issue(self, name: str, key: Key | None = None, url: str | None = None, host: str = "") -> x509.Certificate:
        """Write `name.pem`, with the issuer behind it, and `name.key`. `url`: of the responder, "" for none."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        made = self._sign(host or name, own, f"http://127.0.0.1:{self.port}" if url is None else url)
        self._names[made.serial_number] = name
        self.issued[name] = made
        self._write(name, made, own)
        return made

    def _write(self, name: str, certificate: x509.Certificate, key: Key) -> None:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self.folder / f"{name}-alone.pem").write_bytes(pem)
        (self.folder / f"{name}.pem").write_bytes(pem + self.certificate.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(_pem(key))

    def _sign(self, name: str, key: Key, url: str = "", ca: bool = False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - HOUR)
            .not_valid_after(now + 24 * HOUR)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if url:
            place = x509.AccessDescription(x509.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def response(self, name: str) -> bytes:
        """What the responder says of a certificate, in DER."""
        if self.failing:
            unsuccessful = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
            return unsuccessful.public_bytes(serialization.Encoding.DER)
        now = datetime.datetime.now(datetime.UTC)
        is_revoked = name in self.revoked
        status = ocsp.OCSPCertStatus.REVOKED if is_revoked else ocsp.OCSPCertStatus.GOOD
        since = now if is_revoked else None
        builder = ocsp.OCSPResponseBuilder().add_response(
            self.issued[name], self.certificate, hashes.SHA1(), status, now - 2 * HOUR, now + self.life, since, None
        )
        signer = self._other_key if self.forging else self._key
        responder = self._other_certificate if self.forging else self.certificate
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, responder)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                request = ocsp.load_der_ocsp_request(base64.b64decode(unquote(self.path[1:]), validate=True))
                name = authority._names[request.serial_number]
                authority.asked.append(name)
                authority.released.wait(30)
                body = authority.response(name)
                self.send_response(200)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
