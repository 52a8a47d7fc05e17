"""Asking an OCSP responder (RFC 6960 appendix A.1): a GET with the request in the path, as nginx sends it.

Responders speak plain HTTP: what they say is signed. For stapling (passing/stapling.py) and client certificates (passing/revoked.py).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, final
from urllib.parse import quote

from portico.codec.url import Url
from portico.net.openssl_ocsp import OCSP, Chain, OCSPFailed, Verdict
from portico.passing.fetch import fetch
from portico.passing.fetch_message import FetchError, FetchRequest

if TYPE_CHECKING:
    from portico.net.reactor import Reactor

_SECONDS: Final = 60.0
_MAX_BODY: Final = 65536
_TYPE: Final = b"application/ocsp-response"
_PREFIX: Final = "http://"


def responder_url(text: str) -> Url:
    """Return the URL of a responder. Raises ValueError with what is wrong: `invalid URL prefix`."""
    if not text[: len(_PREFIX)].lower() == _PREFIX or len(text) == len(_PREFIX):
        raise ValueError("invalid URL prefix")
    try:
        return Url(text)
    except ValueError as error:
        raise ValueError(f"invalid URL ({error})") from None


@final
class Inquiry:
    """One question: the certificate, its issuer after it in `chain`, the authorities trusted for the response, and whom to ask."""

    def __init__(self, ocsp: OCSP, certificate: int, chain: Chain, context: int, flags: int, url: Url) -> None:
        self.ocsp = ocsp
        self.certificate = certificate
        self.chain = chain
        self.context = context  # SSL_CTX *
        self.flags = flags
        self.url = url

    def issuer(self) -> int:
        """Return the issuer of the certificate."""
        certificates = self.chain.certificates
        return certificates[certificates.index(self.certificate) + 1]

    async def ask(self, reactor: Reactor) -> tuple[bytes, Verdict]:
        """Return the verified response and what it says. Raises OCSPFailed."""
        encoded = quote(base64.b64encode(self.ocsp.request(self.certificate, self.issuer())), safe="")
        target = self.url.target if self.url.target.endswith("/") else self.url.target + "/"
        request = FetchRequest(Url(self.url.origin + target + encoded), None)
        request.seconds = _SECONDS
        request.max_body = _MAX_BODY
        try:
            response = await fetch(reactor, request)
        except FetchError as failed:
            raise OCSPFailed(failed.reason) from None
        if response.status != 200:
            raise OCSPFailed(f"OCSP responder sent status {response.status}")
        kind = response.get(b"content-type")
        if kind is not None and kind.partition(b";")[0].strip().lower() != _TYPE:
            shown = kind[:100].decode("latin-1")
            raise OCSPFailed(f'OCSP responder sent invalid "Content-Type" header: "{shown}"')
        return response.body, self.ocsp.verdict(response.body, self.certificate, self.chain, self.context, self.flags)
