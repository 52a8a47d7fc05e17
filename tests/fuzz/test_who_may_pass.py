"""Malformed credentials, addresses, cookies, links and PROXY headers, against a running Portico: refused or ignored, never a failure.

Every field meets everything that reads it: realip, `geo`, `map`, rewriting, access, limits, cookies.
"""

from __future__ import annotations

import base64
import random
import socket
from collections.abc import Iterator

import pytest
from tests.processes import free_port
from tests.system.attack_ground import Ground, drain

HTTP = r"""
    set_real_ip_from 127.0.0.0/8; set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For; real_ip_recursive on;
    geo $where { proxy 127.0.0.0/8; proxy_recursive; default far; 10.0.0.0/8 near; }
    map $http_x $kind { default other; ~^(?<word>\w+)=(.*)$ "$word:$2"; ~*(a|b)*c$ loop; "" none; }
    map $http_x $host_kind { hostnames; default other; *.example.com sub; }
    split_clients "$http_x$remote_addr" $part { 50% one; * two; }
    limit_req_zone $http_x zone=req:64k rate=100000r/s; limit_conn_zone $http_x zone=conn:64k;
    add_header X-One "$where $kind $host_kind $part $remote_addr $realip_remote_addr" always;
    add_header X-Two "$remote_user $invalid_referer $secure_link" always;
"""
LOCATIONS = r"""
    location = /ping { return 200 pong; }
    location /basic { auth_basic "r $http_x"; auth_basic_user_file users; try_files /index.html =404; }
    location /access { allow 192.0.2.0/24; allow ::/0; deny all; try_files /index.html =404; }
    location /limits { limit_req zone=req burst=9 nodelay; limit_conn conn 9; limit_req_headers on; try_files /index.html =404; }
    location /link { secure_link $arg_md5,$arg_expires; secure_link_md5 "$secure_link_expires$uri"; try_files /index.html =404; }
    location /secret/ { secure_link_secret word; try_files /index.html =404; }
    location /referer { valid_referers none blocked server_names *.good.example ~^x(a|b)*$; try_files /index.html =404; }
    location /user { userid on; add_trailer X-Uid "$uid_got$uid_set"; try_files /index.html =404; }
    location /rewrite {
        if ($http_x ~ "^(?<first>\w)(.*)$") { set $found "$first$2"; }
        if ($http_cookie ~* "id=([^;]*)") { set $found $1; }
        rewrite "^/rewrite/((?s).*)$" /shown/$1?x=$1&$found last;
        return 200 $found;
    }
    location /shown { limit_rate $arg_r; return 200 "$uri $args $1"; }
    location /redirect { rewrite "^/redirect/((?s).*)$" http://example.net/$1?$http_x redirect; }
    location /guarded { auth_request /allow; auth_request_set $said $upstream_http_x; try_files /index.html =404; }
    location = /allow { internal; proxy_pass http://app/allow?$http_x; }
"""
PLACES = [
    "/basic", "/access", "/limits", "/link?md5={}&expires={}", "/secret/{}/{}", "/referer", "/user", "/rewrite/{}", "/redirect/{}",
    "/shown?r={}", "/guarded",
]  # fmt: skip
GOOD = [
    b"Basic YW5uOnNlY3JldA==", b"Basic ", b"Bearer x.y.z", b"192.0.2.1", b"10.0.0.1, 192.0.2.7:80", b"[2001:db8::1]:443", b"unix:",
    b"uid=fwAAAWsFhPw0L1NTAwMDAgA=", b"id=5; uid=x", b"http://a.good.example/x", b"https://", b"word=value", b"abababababababababc",
    b"a.example.com", b"4000000000", b"_GVFbyGZVHwKmC-3BrbDGg", b"5d41402abc4b2a76b9719d911017c592",
]  # fmt: skip
NAMES = [b"Authorization", b"X-Forwarded-For", b"Cookie", b"Referer", b"X", b"Host"]
STATUSES = (b"200", b"302", b"400", b"401", b"403", b"404", b"414", b"494", b"503")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("passing")
    folder.joinpath("users").write_text("ann:{PLAIN}secret\nbob:$apr1$sTT7sHpK$RPmo9qJKkobbNgPLik09L1\nbad:{SSHA}!\nodd:$9$\n")
    port = free_port()
    servers = f"""
        server {{ listen 127.0.0.1:{port} proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;
        location / {{ return 200 "$remote_addr $proxy_protocol_tlv_ssl_cn $proxy_protocol_tlv_0xEA"; }} }}"""
    made = Ground(folder, LOCATIONS, http=HTTP, servers=servers, main="worker_shutdown_timeout 1s;")
    made.proxied = port  # type: ignore[attr-defined]
    try:
        yield made
    finally:
        made.close()


def damaged(value: bytes, rng: random.Random) -> bytes:
    """With a few bytes changed, taken out, or put in; no line ends, which would make other fields of it."""
    data = bytearray(value)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(data) + 1)
        scraps = [b"", rng.randbytes(2), b"=", b",", b":", b"%", b" ", b";", b"9" * 40, b"x" * 300]
        data[at : at + rng.randint(0, 3)] = rng.choice(scraps)
    return bytes(data).translate(None, b"\r\n\0")


def credentials(rng: random.Random) -> bytes:
    user = rng.choice([b"ann", b"bob", b"bad", b"odd", b"", rng.randbytes(3)])
    return b"Basic " + base64.b64encode(user + b":" + rng.choice([b"secret", b"", rng.randbytes(9)]))


def one(rng: random.Random) -> bytes:
    """A request."""
    parts = ["".join(f"%{byte:02x}" for byte in damaged(rng.choice(GOOD), rng)) for _ in range(2)]
    target = rng.choice(PLACES).format(*parts)
    fields = b"".join(
        name + b": " + (credentials(rng) if rng.random() < 0.2 else damaged(rng.choice(GOOD), rng)) + b"\r\n"
        for name in rng.sample(NAMES, rng.randint(1, 5))
        for _ in range(rng.choice([1, 1, 2]))
        if name != b"Host"
    )
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n".encode() + fields + b"Connection: close\r\n\r\n"


def test_malformed_fields(ground: Ground) -> None:
    rng = random.Random(20251125)
    seen: set[bytes] = set()
    for _ in range(900):
        request = one(rng)
        answer = ground.ask(request)
        status = answer[9:12]
        assert answer.startswith(b"HTTP/1.1 ") and status in STATUSES, (request, answer[:200])
        seen.add(status)
    assert {b"200", b"302", b"401", b"403"} <= seen
    ground.check()
    assert ground.get(b"/user", b"Cookie: uid=short").startswith(b"HTTP/1.1 200 ")
    assert ground.get(b"/user", b"Cookie: uid=!wAAAWsFhPw0L1NTAwMDAgA=").startswith(b"HTTP/1.1 200 ")
    log = ground.error_log()
    assert "no user/password was provided for basic authentication" in log
    assert "client sent too short userid cookie" in log and "client sent invalid userid cookie" in log


def test_malformed_proxy_headers(ground: Ground) -> None:
    rng = random.Random(20251125)
    heads = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY TCP6 ::1 ::2 1 2\r\n", b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x25" + bytes(12) + b"\xea\0\4mine\x20\0\x0f\1\0\0\0\0\x22\0\7someone",
    ]  # fmt: skip
    answered = 0
    for _ in range(400):
        data = bytearray(rng.choice(heads))
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        with ground.connect(3, ground.proxied) as sock:  # type: ignore[attr-defined]
            try:
                sock.sendall(bytes(data) + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it was closed before all was sent
            answer = drain(sock)
        assert answer == b"" or answer[9:12] in (b"200", b"400"), (bytes(data), answer)
        answered += answer[9:12] == b"200"
    assert 50 < answered < 400
    ground.check()
    assert "broken header" in ground.error_log()
