"""OCSP messages by OpenSSL, beside what `cryptography` makes and reads of them (RFC 6960)."""

from __future__ import annotations

import gc
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as messages
from tests.system.ocsp_responder import Authority

from portico.net import openssl
from portico.net.handshake_certificates import Loader
from portico.net.openssl_ocsp import GOOD, NO_VERIFY, REVOKED, TRUST_CHAIN, VERIFY, Chain, OCSPFailed, ocsp

LIBRARY = openssl.library()
OCSP = ocsp()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libssl cannot be reached from this Python")


class Site:
    """A certificate, its issuer, and a context that trusts the issuer, if it shall."""

    def __init__(self, authority: Authority, file: str = "site.pem", trusting: bool = True) -> None:
        assert LIBRARY is not None and OCSP is not None
        self.ocsp = OCSP
        self.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if trusting:
            self.ssl.load_verify_locations(authority.folder / "root.pem")
        self.context = LIBRARY.context_pointer(self.ssl)
        self.pem = Loader(LIBRARY).certificates((authority.folder / file).read_bytes())
        self.certificate = self.pem.certificates[0]

    def chain(self) -> Chain | None:
        return self.ocsp.with_issuer(self.pem.certificates, self.context)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    made = Authority(tmp_path)
    made.issue("site")
    yield made
    made.close()


def verdict(site: Site, response: bytes, flags: int = VERIFY) -> tuple[int, float]:
    chain = site.chain()
    assert chain is not None
    found = site.ocsp.verdict(response, site.certificate, chain, site.context, flags)
    return found.status, found.valid


def test_a_request_names_the_certificate(authority: Authority) -> None:
    site = Site(authority)
    chain = site.chain()
    assert chain is not None
    request = messages.load_der_ocsp_request(site.ocsp.request(*chain.certificates))
    expected = messages.OCSPRequestBuilder().add_certificate(authority.issued["site"], authority.certificate, hashes.SHA1()).build()
    assert request.serial_number == expected.serial_number
    assert (request.issuer_name_hash, request.issuer_key_hash) == (expected.issuer_name_hash, expected.issuer_key_hash)


def test_the_responder_is_read_out_of_the_certificate(authority: Authority) -> None:
    site = Site(authority)
    assert site.ocsp.responder(site.certificate) == f"http://127.0.0.1:{authority.port}"
    assert site.ocsp.responder(site.pem.certificates[1]) == "", "the root has none"


@pytest.mark.parametrize(
    ("file", "trusting", "found"), [("site.pem", False, True), ("site-alone.pem", True, True), ("site-alone.pem", False, False)]
)
def test_the_issuer_is_looked_for_in_the_file_and_among_the_trusted(
    authority: Authority, file: str, trusting: bool, found: bool
) -> None:
    assert (Site(authority, file, trusting).chain() is not None) is found


def test_good_and_revoked(authority: Authority) -> None:
    site = Site(authority)
    status, valid = verdict(site, authority.response("site"))
    assert status == GOOD
    assert valid == pytest.approx(time.time() + 3600, abs=30)
    authority.revoked = {"site"}
    assert verdict(site, authority.response("site"))[0] == REVOKED


@pytest.mark.parametrize("flags", [VERIFY, TRUST_CHAIN])
def test_a_response_of_somebody_else_is_refused(authority: Authority, flags: int) -> None:
    authority.forging = True
    with pytest.raises(OCSPFailed, match=r"OCSP_basic_verify\(\) failed \(SSL: error:"):
        verdict(Site(authority), authority.response("site"), flags)


def test_the_signer_has_to_be_trusted_unless_nothing_is_verified(authority: Authority) -> None:
    response = authority.response("site")
    distrustful = Site(authority, trusting=False)
    with pytest.raises(OCSPFailed, match="OCSP_basic_verify"):
        verdict(distrustful, response)
    assert verdict(distrustful, response, NO_VERIFY)[0] == GOOD


def test_every_cut_of_a_response_is_refused(authority: Authority) -> None:
    site = Site(authority)
    response = authority.response("site")
    for length in range(len(response)):
        with pytest.raises(OCSPFailed):
            verdict(site, response[:length], NO_VERIFY)
    for at in range(0, len(response), 3):
        changed = bytearray(response)
        changed[at] ^= 0x55
        try:
            verdict(site, bytes(changed))
        except OCSPFailed:
            continue
        assert verdict(site, bytes(changed))[0] == GOOD, "what is not signed may change, the verdict may not"


def test_a_certificate_is_only_compared_by_what_it_is(authority: Authority) -> None:
    authority.issue("other")
    one, same, other = Site(authority), Site(authority), Site(authority, "other.pem")
    assert one.ocsp.is_same(one.certificate, same.certificate)
    assert not one.ocsp.is_same(one.certificate, other.certificate)


def test_references_are_released(authority: Authority) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    site = Site(authority)
    response = authority.response("site")
    for _ in range(300):
        verdict(site, response)
    gc.collect()
    before = resident()
    for _ in range(3000):
        verdict(site, response)
    assert resident() - before < 2_000_000
