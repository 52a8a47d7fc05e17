"""OCSP (RFC 6960): whether a certificate is revoked, as its issuer says. What libcrypto does of it; no I/O.

Certificates are `X509 *` here, as OpenSSL has them; a `Chain` holds a reference to each of its own. Responses are verified by
OpenSSL's OCSP_basic_verify, with the authorities that the context of the connection trusts.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Final, final

from portico.net import openssl
from portico.net.openssl import OpenSSL, SSLObject

GOOD: Final = 0  # V_OCSP_CERTSTATUS_GOOD
REVOKED: Final = 1
STATUS_NAMES: Final = ("good", "revoked", "unknown")

VERIFY: Final = 0
TRUST_CHAIN: Final = 0x200  # OCSP_TRUSTOTHER: whom the chain names may sign without being verified further
NO_VERIFY: Final = 0x10  # OCSP_NOVERIFY: the signature has to fit, whoever made it

_SUCCESSFUL: Final = 0  # OCSP_RESPONSE_STATUS_SUCCESSFUL
_STATUSES: Final = {1: "malformedrequest", 2: "internalerror", 3: "trylater", 5: "sigrequired", 6: "unauthorized"}
_SKEW: Final = 300  # seconds by which clocks may differ
_MOST_REQUEST: Final = 65536
FOREVER: Final = float(1 << 62)  # a response without nextUpdate


@final
class OCSPFailed(Exception):
    """A response is of no use; its text says why, in nginx's words."""


@final
class Verdict:
    """What a response says: GOOD, REVOKED or unknown, until a time in seconds since the epoch."""

    def __init__(self, status: int, valid: float) -> None:
        self.status = status
        self.valid = valid


@final
class Chain:
    """Certificates, each followed by its issuer. It holds references, which it releases in the end."""

    def __init__(self, ocsp: OCSP, certificates: list[int]) -> None:
        self._ocsp = ocsp
        self.certificates = certificates

    def __del__(self) -> None:
        self._ocsp.release(self.certificates)


# Each function, what it returns and what it takes: p a pointer, i an int, l a long, u an unsigned long.
_FUNCTIONS: Final[tuple[tuple[str, str, str], ...]] = (
    ("X509_up_ref", "i", "p"),
    ("X509_free", "", "p"),
    ("X509_check_issued", "i", "pp"),
    ("X509_cmp", "i", "pp"),
    ("X509_get1_ocsp", "p", "p"),
    ("X509_email_free", "", "p"),
    ("OPENSSL_sk_new_null", "p", ""),
    ("OPENSSL_sk_push", "i", "pp"),
    ("OPENSSL_sk_num", "i", "p"),
    ("OPENSSL_sk_value", "p", "pi"),
    ("OPENSSL_sk_free", "", "p"),
    ("X509_STORE_CTX_new", "p", ""),
    ("X509_STORE_CTX_init", "i", "pppp"),
    ("X509_STORE_CTX_free", "", "p"),
    ("X509_STORE_CTX_get1_issuer", "i", "ppp"),
    ("X509_STORE_CTX_get0_chain", "p", "p"),
    ("X509_verify_cert", "i", "p"),
    ("SSL_CTX_get_cert_store", "p", "p"),
    ("SSL_get_SSL_CTX", "p", "p"),
    ("SSL_get_certificate", "p", "p"),
    ("SSL_get1_peer_certificate", "p", "p"),
    ("SSL_get_peer_cert_chain", "p", "p"),
    ("SSL_get0_verified_chain", "p", "p"),
    ("OCSP_REQUEST_new", "p", ""),
    ("OCSP_REQUEST_free", "", "p"),
    ("OCSP_cert_to_id", "p", "ppp"),
    ("OCSP_CERTID_free", "", "p"),
    ("OCSP_request_add0_id", "p", "pp"),
    ("i2d_OCSP_REQUEST", "i", "pp"),
    ("i2d_OCSP_CERTID", "i", "pp"),
    ("d2i_OCSP_RESPONSE", "p", "ppl"),
    ("OCSP_RESPONSE_free", "", "p"),
    ("OCSP_response_status", "i", "p"),
    ("OCSP_response_get1_basic", "p", "p"),
    ("OCSP_BASICRESP_free", "", "p"),
    ("OCSP_basic_verify", "i", "pppu"),
    ("OCSP_resp_find_status", "i", "ppppppp"),
    ("OCSP_check_validity", "i", "ppll"),
    ("ASN1_TIME_diff", "i", "pppp"),
)


@final
class OCSP:
    """The functions of libcrypto and libssl."""

    def __init__(self, library: OpenSSL) -> None:
        self._library = library
        lib = library.functions()
        self._lib = lib
        kinds = {"p": ctypes.c_void_p, "i": ctypes.c_int, "l": ctypes.c_long, "u": ctypes.c_ulong}
        for name, result, arguments in _FUNCTIONS:
            function = getattr(lib, name)
            function.argtypes = [kinds[letter] for letter in arguments]
            function.restype = kinds.get(result)

    # -- certificates ----------------------------------------------------------------------------------------

    def release(self, certificates: list[int]) -> None:
        """Give references back."""
        for certificate in certificates:
            self._lib.X509_free(certificate)

    def is_same(self, one: int, other: int) -> bool:
        """Return whether two objects are the same certificate."""
        return int(self._lib.X509_cmp(one, other)) == 0

    def own_certificate(self, tls: int) -> int:
        """Return the certificate that a connection (`SSL *`) shows; 0 when none. No reference is taken."""
        return self._lib.SSL_get_certificate(tls) or 0

    def context_of(self, tls: SSLObject) -> int:
        """Return the `SSL_CTX *` of a connection, whose authorities verify its peer."""
        return self._lib.SSL_get_SSL_CTX(self._library.pointer(tls)) or 0

    def with_issuer(self, certificates: list[int], context: int) -> Chain | None:
        """Return a chain of the first certificate and its issuer, which is one of the others or trusted by the context (`SSL_CTX *`);
        None when it is neither.
        """
        certificate = certificates[0]
        for other in certificates[1:]:
            if self._lib.X509_check_issued(other, certificate) == 0:
                return self._referenced([certificate, other])
        lookup = self._lib.X509_STORE_CTX_new()
        issuer = ctypes.c_void_p()
        try:
            found = self._lib.X509_STORE_CTX_init(lookup, self._lib.SSL_CTX_get_cert_store(context), None, None) and (
                self._lib.X509_STORE_CTX_get1_issuer(ctypes.byref(issuer), lookup, certificate) == 1
            )
        finally:
            self._lib.X509_STORE_CTX_free(lookup)
            self._library.reasons()
        if not found or not issuer.value:
            return None
        self._lib.X509_up_ref(certificate)
        return Chain(self, [certificate, issuer.value])

    def client_chain(self, tls: SSLObject) -> Chain | None:
        """Return the verified chain of a client's certificate, up to an authority; None when there is no such chain."""
        lib = self._lib
        connection = self._library.pointer(tls)
        verified = lib.SSL_get0_verified_chain(connection)
        if verified:
            return self._referenced(self._members(verified))
        # A resumed session has the certificate and not the chain.
        certificate = lib.SSL_get1_peer_certificate(connection)
        if not certificate:
            return None
        lookup = lib.X509_STORE_CTX_new()
        try:
            store = lib.SSL_CTX_get_cert_store(lib.SSL_get_SSL_CTX(connection))
            sent = lib.SSL_get_peer_cert_chain(connection)
            if lib.X509_STORE_CTX_init(lookup, store, certificate, sent) and lib.X509_verify_cert(lookup) > 0:
                return self._referenced(self._members(lib.X509_STORE_CTX_get0_chain(lookup)))
            return None
        finally:
            lib.X509_STORE_CTX_free(lookup)
            lib.X509_free(certificate)
            self._library.reasons()

    def responder(self, certificate: int) -> str:
        """Return the first URL of an OCSP responder that the certificate names, "" for none."""
        urls = self._lib.X509_get1_ocsp(certificate)
        if not urls:
            return ""
        try:
            first = self._lib.OPENSSL_sk_value(urls, 0)
            return ctypes.string_at(first).decode("latin-1") if first else ""
        finally:
            self._lib.X509_email_free(urls)

    def _referenced(self, certificates: list[int]) -> Chain:
        for certificate in certificates:
            self._lib.X509_up_ref(certificate)
        return Chain(self, certificates)

    def _members(self, stack: int) -> list[int]:
        return [int(self._lib.OPENSSL_sk_value(stack, at)) for at in range(int(self._lib.OPENSSL_sk_num(stack)))]

    # -- messages --------------------------------------------------------------------------------------------

    def identity(self, certificate: int, issuer: int) -> bytes:
        """Return what responders know a certificate by (CertID), in DER."""
        lib = self._lib
        identity = lib.OCSP_cert_to_id(None, certificate, issuer)
        if not identity:
            raise OCSPFailed(f"OCSP_cert_to_id() failed ({self._library.reasons()})")
        try:
            return self._encoded(lib.i2d_OCSP_CERTID, identity)
        finally:
            lib.OCSP_CERTID_free(identity)

    def request(self, certificate: int, issuer: int) -> bytes:
        """Return a request for the status of a certificate, in DER. Raises OCSPFailed."""
        lib = self._lib
        request = lib.OCSP_REQUEST_new()
        try:
            identity = lib.OCSP_cert_to_id(None, certificate, issuer)
            if not identity:
                raise OCSPFailed(f"OCSP_cert_to_id() failed ({self._library.reasons()})")
            if not lib.OCSP_request_add0_id(request, identity):
                lib.OCSP_CERTID_free(identity)
                raise OCSPFailed(f"OCSP_request_add0_id() failed ({self._library.reasons()})")
            return self._encoded(lib.i2d_OCSP_REQUEST, request)
        finally:
            lib.OCSP_REQUEST_free(request)

    def _encoded(self, encode: Callable[[int, object], int], message: int) -> bytes:
        length = int(encode(message, None))
        if not 0 < length <= _MOST_REQUEST:
            raise OCSPFailed(f"encoding an OCSP request failed ({self._library.reasons()})")
        buffer = ctypes.create_string_buffer(length)
        end = ctypes.c_void_p(ctypes.addressof(buffer))
        encode(message, ctypes.byref(end))
        return buffer.raw

    def is_response(self, data: bytes) -> bool:
        """Return whether `data` is a response in DER, of whatever content."""
        response = self._parsed(data)
        if response:
            self._lib.OCSP_RESPONSE_free(response)
        self._library.reasons()
        return response != 0

    def _parsed(self, data: bytes) -> int:
        start = ctypes.c_char_p(data)
        return self._lib.d2i_OCSP_RESPONSE(None, ctypes.byref(start), len(data)) or 0

    def verdict(self, data: bytes, certificate: int, chain: Chain, context: int, flags: int) -> Verdict:
        """Return what a response says of a certificate, of which the issuer is next in `chain`. Raises OCSPFailed.

        `context` is the `SSL_CTX *` whose authorities are trusted, `flags` say how the response is verified.
        """
        lib = self._lib
        response = self._parsed(data)
        basic = 0
        try:
            if not response:
                raise OCSPFailed(f"d2i_OCSP_RESPONSE() failed ({self._library.reasons()})")
            status = int(lib.OCSP_response_status(response))
            if status != _SUCCESSFUL:
                raise OCSPFailed(f"OCSP response not successful ({status}: {_STATUSES.get(status, '(UNKNOWN)')})")
            basic = lib.OCSP_response_get1_basic(response) or 0
            if not basic:
                raise OCSPFailed(f"OCSP_response_get1_basic() failed ({self._library.reasons()})")
            self._verify(basic, chain, context, flags)
            return self._status(basic, certificate, chain)
        finally:
            if basic:
                lib.OCSP_BASICRESP_free(basic)
            if response:
                lib.OCSP_RESPONSE_free(response)
            self._library.reasons()

    def _verify(self, basic: int, chain: Chain, context: int, flags: int) -> None:
        lib = self._lib
        stack = lib.OPENSSL_sk_new_null()
        try:
            for certificate in chain.certificates:
                lib.OPENSSL_sk_push(stack, certificate)
            if int(lib.OCSP_basic_verify(basic, stack, lib.SSL_CTX_get_cert_store(context), flags)) != 1:
                raise OCSPFailed(f"OCSP_basic_verify() failed ({self._library.reasons()})")
        finally:
            lib.OPENSSL_sk_free(stack)

    def _status(self, basic: int, certificate: int, chain: Chain) -> Verdict:
        lib = self._lib
        issuer = chain.certificates[chain.certificates.index(certificate) + 1]
        identity = lib.OCSP_cert_to_id(None, certificate, issuer)
        if not identity:
            raise OCSPFailed(f"OCSP_cert_to_id() failed ({self._library.reasons()})")
        status, this_update, next_update = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        try:
            found = lib.OCSP_resp_find_status(
                basic, identity, ctypes.byref(status), None, None, ctypes.byref(this_update), ctypes.byref(next_update)
            )
        finally:
            lib.OCSP_CERTID_free(identity)
        if int(found) != 1:
            raise OCSPFailed("certificate status not found in the OCSP response")
        if int(lib.OCSP_check_validity(this_update, next_update, _SKEW, -1)) != 1:
            raise OCSPFailed(f"OCSP_check_validity() failed ({self._library.reasons()})")
        if not next_update.value:
            return Verdict(status.value, FOREVER)
        days, seconds = ctypes.c_int(), ctypes.c_int()
        if int(lib.ASN1_TIME_diff(ctypes.byref(days), ctypes.byref(seconds), None, next_update)) != 1:
            raise OCSPFailed("invalid nextUpdate time in certificate status")
        return Verdict(status.value, time.time() + days.value * 86400 + seconds.value)


@final
class _Made:
    """The one object of the process, made when it is first needed."""

    def __init__(self) -> None:
        self.ocsp: OCSP | None = None


_MADE: Final = _Made()


def ocsp() -> OCSP | None:
    """Return the functions; None where libssl cannot be reached."""
    if _MADE.ocsp is None:
        library = openssl.library()
        if library is not None:
            _MADE.ocsp = OCSP(library)
    return _MADE.ocsp
