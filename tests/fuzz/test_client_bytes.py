"""Whatever bytes clients send to the ports for HTTP, TLS and the PROXY protocol, and however they leave, nobody else notices.

The backend is honest: no attempt at it may be noted as failed, no peer given up, and every request that reaches it begins with a line
that a client sent. Workers live, no connection hangs, descriptors do not leak (site.py says what else).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.fuzz.campaign import Campaign
from tests.fuzz.client_cases import ClientCase, make_case, run_case, smaller
from tests.fuzz.honest_backend import HonestBackend
from tests.fuzz.session import TIMEOUT
from tests.fuzz.site import Site

HTTP = """
    log_format blame '$status|$upstream_status|$request_length|$server_port|$request';
    access_log @folder@/access.log blame;
    client_header_timeout 500ms; client_body_timeout 500ms; keepalive_timeout 500ms; send_timeout 1s;
    lingering_timeout 200ms; lingering_time 500ms;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 3s; proxy_send_timeout 3s;
    proxy_cache_path @folder@/cache keys_zone=cache:1m;
    set_real_ip_from 127.0.0.1;
    upstream app { server 127.0.0.1:@one@; server 127.0.0.1:@two@; keepalive 8; keepalive_timeout 300ms; zone app 64k; }
    upstream local { server 127.0.0.1:@one@; server 127.0.0.1:@two@; least_conn; keepalive 8; keepalive_timeout 300ms; }
    upstream fresh { server 127.0.0.1:@one@; server 127.0.0.1:@two@; keepalive 0; }
    ssl_certificate @folder@/cert.pem; ssl_certificate_key @folder@/cert.key; ssl_session_cache shared:tls:1m;
    server {
        listen 127.0.0.1:@http@;
        listen 127.0.0.1:@tls@ ssl;
        listen 127.0.0.1:@proxied@ proxy_protocol;
        listen 127.0.0.1:@proxied_tls@ ssl proxy_protocol;
        server_name localhost;
        real_ip_header proxy_protocol;
        add_header X-Address "$remote_addr $ssl_server_name $proxy_protocol_port" always;
        location = /ping { return 200 pong; }
        location /stream { proxy_request_buffering off; proxy_pass http://local; }
        location /small { client_max_body_size 4; proxy_pass http://app; }
        location /files/ { alias @folder@/files/; }
        location /unbuffered/ { proxy_buffering off; proxy_pass http://local; }
        location /cached/ { proxy_cache cache; proxy_cache_lock on; proxy_pass http://fresh; }
        location /gzip/ { gzip on; proxy_pass http://fresh; }
        location /mirrored { mirror /mirror; proxy_pass http://app; }
        location /mirror { internal; proxy_pass http://local; }
        location /guarded { auth_request /mirror; proxy_pass http://app; }
        location / { proxy_set_header X-Seen "$uri $args $http_x"; proxy_pass http://app; }
    }
    server { listen 127.0.0.1:@tls@ ssl; server_name other; ssl_certificate @folder@/cert.pem; return 200 other; }
"""
PROBES = tuple(
    [("http", path) for path in ("/ping", "/one", "/stream", "/files/a", "/unbuffered/large", "/cached/x", "/guarded", "/mirrored")]
    + [("tls", "/one"), ("proxied", "/one"), ("proxied_tls", "/one")]
)
LINE = re.compile(rb"[A-Z_-]+ /[^\x00-\x20\x7f]* HTTP/1\.1")


@pytest.fixture(scope="module")
def backend() -> Iterator[HonestBackend]:
    made = HonestBackend()
    yield made
    made.close()


@pytest.mark.timeout(TIMEOUT)
def test_no_bytes_of_a_client_harm_others(backend: HonestBackend) -> None:
    recently: list[bytes] = [b""]  # what was sent in the batch before: its last requests may arrive late

    def open_site() -> Site:
        site = Site(HTTP, PROBES, backend.ports)
        (site.folder / "files").mkdir()
        (site.folder / "files/a").write_bytes(b"a small file")
        (site.folder / "files/big").write_bytes(bytes(200_000))
        return site.ready()

    def check(site: Site, cases: list[ClientCase]) -> list[str]:
        sent = b"\n".join(case.sent for case in cases)
        found = _strange_requests(backend, sent + recently[0])
        recently[0] = sent
        return found + _blamed(site)

    Campaign(open_site, make_case, smaller, run_case, check).go()


def _strange_requests(backend: HonestBackend, sent: bytes) -> list[str]:
    """Requests whose line nobody sent, or that are not well formed."""
    found = []
    for request in backend.take_seen():
        words = request.start.split(b" ")
        names = [name.lower() for name, _ in request.headers]
        if not LINE.fullmatch(request.start):
            found.append(f"the backend got {request.start!r}")
        elif words[1] not in sent and words[1] not in (b"/", b"/mirror") and not any(words[1] == path.encode() for _, path in PROBES):
            found.append(f"the backend got {request.start!r}, which nobody sent")
        if names.count(b"host") != 1 or names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
            found.append(f"the backend got {request.headers!r}")
    return found


def _blamed(site: Site) -> list[str]:
    """Requests whose failure was noted as one of the honest backend."""
    path = site.folder / "access.log"
    lines = path.read_bytes().decode(errors="replace").splitlines()
    path.write_bytes(b"")  # it is open for appending
    return [f"blamed on the upstream: {line}" for line in lines if re.match(r"50[024]\||\d+\|.*50[024]", line)]
