"""Certificates that are loaded in the handshake: what is held of them, and for how long."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from portico.net import handshake_certificates
from portico.net.certificates import ContextError, load_pair, self_signed
from portico.net.handshake_certificates import PairLoader, PemCache, Unloadable, pair_loader
from portico.net.openssl import SSLObject


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the cache sees."""
    time = [1000.0]
    monkeypatch.setattr(handshake_certificates.time, "monotonic", lambda: time[0])
    return time


class Site:
    """Files of certificates, and what a connection shows after loading one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, name: str) -> None:
        """Make a new pair, in place of the one that is there."""
        for path, text in zip(self.paths(name), self_signed([name], 1), strict=True):
            fresh = Path(f"{path}.new")
            fresh.write_bytes(text)
            os.replace(fresh, path)

    def paths(self, name: str) -> tuple[str, str]:
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")

    def remove(self, name: str) -> None:
        for path in self.paths(name):
            os.unlink(path)

    def load(self, loader: PairLoader, name: str) -> bytes:
        """Return the certificate that a client gets, in DER."""
        return shown(loader, *self.paths(name))


def shown(loader: PairLoader, certificate: str, key: str) -> bytes:
    """Return the certificate that a client gets, in DER."""
    context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, client = context.wrap_bio(there, back, True), client_context.wrap_bio(back, there)
    tls: SSLObject = server._sslobj  # type: ignore[attr-defined]
    loader.load(tls, certificate, key)
    for _ in range(3):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    found = client.getpeercert(True)
    assert found is not None
    return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    for name in ("a", "b", "c"):
        made.make(name)
    return made


def loader_with(cache: PemCache | None, passphrases: list[str] | None = None) -> PairLoader:
    loader = pair_loader(passphrases or [], cache)
    assert loader is not None
    return loader


def test_without_a_cache_each_handshake_reads_the_file(site: Site) -> None:
    loader = loader_with(None)
    first = site.load(loader, "a")
    site.make("a")
    assert site.load(loader, "a") != first


def test_a_file_is_looked_at_again_after_a_while(site: Site, now: list[float]) -> None:
    loader = loader_with(PemCache(10, 60.0, 10.0))
    first = site.load(loader, "a")
    site.make("a")
    assert site.load(loader, "a") == first
    now[0] += 61.0
    second = site.load(loader, "a")
    assert second != first
    now[0] += 61.0
    assert site.load(loader, "a") == second
    site.remove("a")
    assert site.load(loader, "a") == second
    now[0] += 61.0
    with pytest.raises(Unloadable, match=r'cannot load certificate ".*/a\.pem": BIO_new_file\(\) failed \(SSL: error:80000002'):
        site.load(loader, "a")


def test_the_least_recently_used_one_makes_room(site: Site, now: list[float]) -> None:
    loader = loader_with(PemCache(4, 60.0, 600.0))  # two pairs
    for name in ("a", "b", "a", "c"):
        site.load(loader, name)
    for name in ("a", "b", "c"):
        site.remove(name)
    site.load(loader, "a")
    site.load(loader, "c")
    with pytest.raises(Unloadable):
        site.load(loader, "b")


def test_what_is_not_used_goes_when_others_come(site: Site, now: list[float]) -> None:
    loader = loader_with(PemCache(100, 600.0, 10.0))
    site.load(loader, "a")
    now[0] += 11.0
    site.load(loader, "b")
    site.remove("a")
    with pytest.raises(Unloadable):
        site.load(loader, "a")


def test_a_pair_of_which_one_half_was_stored_before_it_was_replaced(site: Site, now: list[float]) -> None:
    loader = loader_with(PemCache(10, 600.0, 600.0))
    certificate, key = site.paths("a")
    site.load(loader, "a")
    site.make("a")
    loader._cache.remove("key ", key)  # type: ignore[union-attr]
    new = ssl.PEM_cert_to_DER_cert(Path(certificate).read_text())
    assert site.load(loader, "a") == new


def test_a_key_of_another_certificate(site: Site) -> None:
    with pytest.raises(Unloadable, match=r'SSL_use_PrivateKey\(".*/b\.key"\) failed \(SSL: .*key values mismatch'):
        shown(loader_with(PemCache(10, 60.0, 10.0)), site.paths("a")[0], site.paths("b")[1])


def test_what_is_written_out_is_not_shown(site: Site) -> None:
    certificate, key = (f"data:{Path(path).read_text()}" for path in site.paths("a"))
    assert shown(loader_with(None), certificate, key) == ssl.PEM_cert_to_DER_cert(certificate[5:])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, certificate, key, [])
    wrong = key.replace("M", "N")
    with pytest.raises(Unloadable, match=r'cannot load certificate key "data:\.\.\.": PEM_read_bio_PrivateKey\(\) failed'):
        shown(loader_with(None), certificate, wrong)
    with pytest.raises(ContextError) as caught:
        load_pair(context, certificate, wrong, [])
    assert 'cannot load certificate key "data:..."' in caught.value.message
    assert key[40:60] not in caught.value.message + caught.value.hint


def test_a_chain_is_sent_whole(site: Site, tmp_path: Path) -> None:
    both = tmp_path / "chain.pem"
    both.write_bytes(b"".join(Path(site.paths(name)[0]).read_bytes() for name in ("a", "b")))
    pem = loader_with(None)._loader.certificates(both.read_bytes())
    assert len(pem.certificates) == 2
    with pytest.raises(Unloadable, match="PEM_read_bio_X509"):
        loader_with(None)._loader.certificates(both.read_bytes()[:-100])


def test_encrypted_keys(site: Site, now: list[float]) -> None:
    certificate, key = site.paths("a")
    from cryptography.hazmat.primitives import serialization as form

    opened = form.load_pem_private_key(Path(key).read_bytes(), None)
    sealed = opened.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"right"))
    Path(key).write_bytes(sealed)
    with pytest.raises(Unloadable, match="cannot load certificate key"):
        site.load(loader_with(None), "a")
    loader = loader_with(PemCache(10, 600.0, 600.0), ["wrong", "right"])
    assert site.load(loader, "a") == ssl.PEM_cert_to_DER_cert(Path(certificate).read_text())
    os.unlink(key)  # nothing of it is held
    with pytest.raises(Unloadable):
        site.load(loader, "a")
