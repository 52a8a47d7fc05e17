"""OCSP: responses that a server staples to its certificate, and client certificates that were revoked."""

from __future__ import annotations

import datetime
import http.client
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.processes import free_port, wait_until
from tests.system.guarded import Guarded, guarded
from tests.system.ocsp_responder import Authority

GOOD = "Cert Status: good"
NONE = "OCSP response: no response sent"


@pytest.fixture
def authority() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory(prefix="ocsp-", dir="/tmp") as folder:
        made = Authority(Path(folder))
        try:
            yield made
        finally:
            made.close()


@contextmanager
def site(authority: Authority, lines: str, more: str = "") -> Iterator[tuple[Guarded, int]]:
    """A running Portico and its TLS port. `@A@` in the configuration is the authority's folder, `@TLS@` the port."""
    port = free_port()
    text = f"server {{ listen 127.0.0.1:@TLS@ ssl; {lines} location / {{ return 200 '$ssl_client_verify\\n'; }} }} {more}"
    with guarded({}, "", text.replace("@A@", str(authority.folder)).replace("@TLS@", str(port))) as running:
        yield running, port


def handshake(port: int, *options: str) -> str:
    """What `openssl s_client -status` shows of a handshake."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-status", *options]
    return subprocess.run(command, input="", capture_output=True, text=True, timeout=20).stdout


def stapled(port: int, *options: str) -> str:
    """The first handshake with a response."""
    return wait_until(lambda: shown if NONE not in (shown := handshake(port, *options)) else "", what="a stapled response")


PAIR = "ssl_certificate @A@/site.pem; ssl_certificate_key @A@/site.key;"


@pytest.mark.parametrize("verify", ["off", "on"])
def test_a_response_is_stapled(authority: Authority, verify: str) -> None:
    authority.issue("site")
    lines = f"{PAIR} ssl_stapling on; ssl_stapling_verify {verify}; ssl_trusted_certificate @A@/root-alone.pem;"
    with site(authority, lines) as (_, port):
        assert NONE in handshake(port)
        for version in ("-tls1_2", "-tls1_3"):
            assert GOOD in stapled(port, version)
        assert authority.asked == ["site"], "asked once, for it is valid for an hour"


def test_nobody_is_asked_before_a_client_wants_the_response(authority: Authority) -> None:
    authority.issue("site")
    with site(authority, f"{PAIR} ssl_stapling on;") as (_, port):
        ssl.get_server_certificate(("127.0.0.1", port))
        assert authority.asked == []


def test_the_issuer_may_be_among_the_trusted_certificates_only(authority: Authority) -> None:
    authority.issue("site")
    pair = PAIR.replace("site.pem", "site-alone.pem")
    with site(authority, f"{pair} ssl_stapling on; ssl_trusted_certificate @A@/root-alone.pem;") as (_, port):
        assert GOOD in stapled(port)


def test_each_of_two_certificates_has_its_own_response(authority: Authority) -> None:
    authority.issue("site")
    authority.issue("rsa", rsa.generate_private_key(65537, 2048))
    lines = f"{PAIR} ssl_certificate @A@/rsa.pem; ssl_certificate_key @A@/rsa.key; ssl_stapling on;"
    with site(authority, lines) as (_, port):
        for name, algorithms in (("site", "ECDSA+SHA256"), ("rsa", "RSA-PSS+SHA256")):
            serial = f"Serial Number: {authority.issued[name].serial_number:X}".replace(": 0", ": ")
            assert serial in stapled(port, "-sigalgs", algorithms).replace(": 0", ": ")


def test_a_server_found_by_name_staples_for_its_own_certificate(authority: Authority) -> None:
    authority.issue("site")
    authority.issue("named", host="named.example")
    named = """server { listen 127.0.0.1:@TLS@ ssl; server_name named.example; return 200;
        ssl_certificate @A@/named.pem; ssl_certificate_key @A@/named.key; ssl_stapling on; }
        server { listen 127.0.0.1:@TLS@ ssl; server_name bare.example; return 200;
        ssl_certificate @A@/named.pem; ssl_certificate_key @A@/named.key; }"""
    with site(authority, PAIR, named) as (_, port):
        assert GOOD in stapled(port, "-servername", "named.example")
        assert NONE in handshake(port, "-servername", "bare.example")
        assert NONE in handshake(port)
        assert authority.asked == ["named"]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("revoked", 'certificate status "revoked" in the OCSP response'),
        ("forged", "OCSP_basic_verify() failed"),
        ("failing", "OCSP response not successful (3: trylater)"),
        ("expired", "OCSP_check_validity() failed"),
        ("of another", "certificate status not found in the OCSP response"),
    ],
)
def test_a_response_that_proves_nothing_is_not_stapled(authority: Authority, what: str, reason: str) -> None:
    authority.issue("site")
    authority.revoked = {"site"} if what == "revoked" else set()
    authority.forging = what == "forged"
    authority.failing = what == "failing"
    if what == "expired":
        authority.life = -authority.life
    if what == "of another":
        right = authority.issued["site"]
        authority.issue("other")
        authority._names[right.serial_number] = "other"
    lines = f"{PAIR} ssl_stapling on; ssl_stapling_verify on; ssl_trusted_certificate @A@/root-alone.pem;"
    with site(authority, lines) as (running, port):
        assert NONE in handshake(port)
        wait_until(lambda: reason in running.log(), what=reason)
        assert NONE in handshake(port)
        assert len(authority.asked) == 1, "not asked again at once"


def test_no_handshake_waits_for_a_responder(authority: Authority) -> None:
    authority.issue("site")
    authority.released.clear()
    with site(authority, f"{PAIR} ssl_stapling on;") as (_, port):
        for _ in range(3):
            assert NONE in handshake(port)
        wait_until(lambda: authority.asked, what="the responder is asked")
        authority.released.set()
        assert GOOD in stapled(port)
        assert authority.asked == ["site"]


def test_a_response_that_has_expired_is_not_stapled_any_more(authority: Authority) -> None:
    authority.issue("site")
    authority.life = datetime.timedelta(seconds=4)
    with site(authority, f"{PAIR} ssl_stapling on;") as (_, port):
        assert GOOD in stapled(port)
        wait_until(lambda: NONE in handshake(port), what="no response")
        assert authority.asked == ["site"], "not asked again before five minutes"


def test_a_worker_ends_while_a_responder_is_asked(authority: Authority) -> None:
    authority.issue("site")
    authority.released.clear()
    with site(authority, f"{PAIR} ssl_stapling on;") as (_, port):
        handshake(port)
        wait_until(lambda: authority.asked, what="the responder is asked")


def test_a_response_out_of_a_file(authority: Authority) -> None:
    authority.issue("site")
    authority.revoked = {"site"}
    (authority.folder / "response.der").write_bytes(authority.response("site"))
    with site(authority, f"{PAIR} ssl_stapling on; ssl_stapling_file @A@/response.der;") as (_, port):
        assert "Cert Status: revoked" in handshake(port)
        assert authority.asked == []


# -- clients


CLIENTS = "ssl_verify_client optional; ssl_client_certificate @A@/root-alone.pem;"


def ask(authority: Authority, port: int, name: str = "", version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[int, str]:
    """Status and body of a response to a client with that certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    if name:
        context.load_cert_chain(authority.folder / f"{name}.pem", authority.folder / f"{name}.key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("mode", ["on", "leaf"])
def test_revoked_clients_are_refused(authority: Authority, mode: str, version: ssl.TLSVersion) -> None:
    for name in ("site", "ann", "bob"):
        authority.issue(name)
    authority.revoked = {"bob"}
    page = "error_page 495 =403 /why; location /why { return 403 '$ssl_client_verify\\n'; }"
    with site(authority, f"{PAIR} {CLIENTS} ssl_ocsp {mode}; {page}") as (running, port):
        assert ask(authority, port, "ann", version) == (200, "SUCCESS\n")
        assert ask(authority, port, "bob", version) == (403, "FAILED:certificate revoked\n")
        assert ask(authority, port, "", version) == (200, "NONE\n")
        assert authority.asked == ["ann", "bob"]
        assert "client SSL certificate verify error: certificate revoked" in running.log()


@pytest.mark.parametrize("what", ["forged", "failing", "gone", "no responder", "https responder", "malformed responder"])
def test_clients_of_whom_nobody_can_tell_are_refused(authority: Authority, what: str) -> None:
    urls = {"no responder": "", "https responder": "https://127.0.0.1:1/", "malformed responder": "http://@:x/"}
    authority.issue("site")
    authority.issue("ann", url=urls.get(what))
    authority.forging = what == "forged"
    authority.failing = what == "failing"
    responder = f"ssl_ocsp_responder http://127.0.0.1:{free_port()}/;" if what == "gone" else ""
    with site(authority, f"{PAIR} {CLIENTS} ssl_ocsp on; {responder}") as (running, port):
        assert ask(authority, port, "ann")[0] == 400
        assert "while requesting certificate status" in running.log()
        assert "client SSL certificate verify error: certificate status request failed" in running.log()


def test_verdicts_are_cached_until_they_expire(authority: Authority) -> None:
    for name in ("site", "ann", "bob"):
        authority.issue(name)
    authority.revoked = {"bob"}
    with site(authority, f"{PAIR} {CLIENTS} ssl_ocsp on; ssl_ocsp_cache shared:ocsp:32k;") as (_, port):
        for _ in range(2):
            assert ask(authority, port, "ann")[0] == 200
            assert ask(authority, port, "bob")[0] == 400
        assert authority.asked == ["ann", "bob"]
        authority.revoked = {"ann"}
        assert ask(authority, port, "ann")[0] == 200


def test_a_client_that_leaves_while_the_responder_is_asked(authority: Authority) -> None:
    authority.issue("site")
    authority.issue("ann")
    authority.released.clear()
    with site(authority, f"{PAIR} {CLIENTS} ssl_ocsp on;") as (_, port):
        with pytest.raises((OSError, http.client.HTTPException)):
            _hurry(authority, port)
        authority.released.set()
        assert ask(authority, port, "ann")[0] == 200


def _hurry(authority: Authority, port: int) -> None:
    """Give up waiting after a moment."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(authority.folder / "ann.pem", authority.folder / "ann.key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=1, context=context)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    finally:
        connection.close()
