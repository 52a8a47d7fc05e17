"""Whatever an upstream answers, its client gets that response, a truncated one or an error in bounded time, and nobody else notices.

No response reaches another request, a truncated one is never made to look complete, and a connection that has sent more than it was
asked for is not used again. Peers have `max_fails=0`, so none may be given up (site.py says what else must be true).
"""

from __future__ import annotations

import contextlib
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fuzz.campaign import Campaign
from tests.fuzz.lying_backend import LyingBackend
from tests.fuzz.lying_cases import LOCATIONS, LyingCase, make_case, smaller
from tests.fuzz.session import TIMEOUT
from tests.fuzz.site import Site
from tests.parity.wire import Message, Wire
from tests.system.attack_ground import reset

from portico.net.certificates import self_signed

PATIENCE = 8.0
ENDLESS = 20.0  # seconds after which a response must have ended, but for one whose upstream asks for a pace of some bytes a second
# Twice, with F for the family: "strict" where connections can be relied on, "loose" where late bytes may come (lying_cases.py).
GROUPS = """
    upstream F_shared {
        zone F 64k; server 127.0.0.1:@one@ max_fails=0; server 127.0.0.1:@two@ max_fails=0; keepalive 8; keepalive_timeout 400ms;
    }
    upstream F_local { server 127.0.0.1:@one@ max_fails=0; keepalive 2; keepalive_timeout 400ms; }
    upstream F_secure { server 127.0.0.1:@secure@ max_fails=0; keepalive 4; keepalive_timeout 400ms; }
    upstream F_fresh { server 127.0.0.1:@one@ max_fails=0; server 127.0.0.1:@two@ max_fails=0; keepalive 0; }
"""
BLOCKS = """
        location /F/buffered/ { proxy_buffer_size 4k; proxy_buffers 4 4k; proxy_busy_buffers_size 8k; proxy_pass http://F_shared; }
        location /F/direct/ { proxy_buffering off; proxy_pass http://F_shared; }
        location /F/temp/ { proxy_max_temp_file_size 64k; proxy_pass http://F_local; }
        location /F/cached/ { proxy_cache cache; proxy_cache_valid any 1s; proxy_pass http://F_local; }
        location /F/locked/ {
            proxy_cache cache; proxy_cache_lock on; proxy_cache_use_stale error updating; proxy_pass http://F_shared;
        }
        location /F/gzip/ { gzip on; gzip_types *; gzip_min_length 1; proxy_pass http://F_shared; }
        location /F/gunzip/ { gunzip on; proxy_pass http://F_shared; }
        location /F/store/ { proxy_store @folder@/store$uri; proxy_pass http://F_local; }
        location /F/retry/ {
            proxy_next_upstream error timeout invalid_header http_500 http_503 http_404 non_idempotent;
            proxy_next_upstream_tries 2; proxy_pass http://F_shared;
        }
        location /F/stream/ { proxy_request_buffering off; proxy_pass http://F_shared; }
        location /F/old/ { proxy_http_version 1.0; proxy_pass http://F_fresh; }
        location /F/errors/ {
            proxy_intercept_errors on; error_page 404 500 502 503 504 = /F/buffered/instead; proxy_pass http://F_shared;
        }
        location /F/sub/ { sub_filter a bb; sub_filter_once off; sub_filter_types *; proxy_pass http://F_shared; }
        location /F/slice/ {
            slice 1k; proxy_set_header Range $slice_range; proxy_pass http://F_shared;
            proxy_cache cache; proxy_cache_key $uri$slice_range; proxy_cache_valid any 1s;
        }
        location /F/tls/ { proxy_pass https://F_secure; }
        location /F/tlsdirect/ { proxy_buffering off; proxy_pass https://F_secure; }
        location /F/guarded/ { auth_request /F/ask; proxy_pass http://F_local; }
        location /F/ask {
            internal; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_pass http://F_shared$request_uri;
        }
        location /F/mirrored/ { mirror /F/copy; proxy_pass http://F_local; }
        location /F/copy { internal; proxy_pass http://F_shared$request_uri; }
        location /F/upgrade/ {
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://F_fresh;
        }
        location /F/fresh/ { proxy_pass http://F_fresh; }
"""
FAMILIES = ("strict", "loose")
HTTP = f"""
    client_header_timeout 500ms; client_body_timeout 500ms; keepalive_timeout 300ms; send_timeout 1s;
    lingering_timeout 200ms; lingering_time 500ms;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 500ms; proxy_send_timeout 1s; proxy_connect_timeout 2s;
    proxy_cache_path @folder@/cache keys_zone=cache:1m;
    {"".join(GROUPS.replace("F", family) for family in FAMILIES)}
    server {{
        listen 127.0.0.1:@http@;
        server_name localhost;
        {"".join(BLOCKS.replace("F", family) for family in FAMILIES)}
    }}
"""
PROBES = tuple(("http", f"/{family}/{name}/probe") for name in LOCATIONS for family in ("loose", "strict", "loose"))
NAMES = re.compile(rb"\bu?c(\d{12})\b")


@pytest.fixture(scope="module")
def backend() -> Iterator[LyingBackend]:
    with tempfile.TemporaryDirectory() as name:
        certificate, key = self_signed(["localhost"], 1)
        (Path(name) / "cert.pem").write_bytes(certificate)
        (Path(name) / "cert.key").write_bytes(key)
        made = LyingBackend(Path(name))
    yield made
    made.close()


@pytest.mark.timeout(TIMEOUT)
def test_no_answer_of_an_upstream_harms_others(backend: LyingBackend) -> None:
    lock = threading.Lock()
    foreign: list[tuple[int, bytes]] = []  # whose client saw which other script's name

    def run(site: Site, case: LyingCase) -> list[str]:
        backend.scripts[case.name] = case.parts
        problems, got = converse(site, case)
        others = {match[0] for match in NAMES.finditer(got) if int(match[1]) != case.seed}
        with lock:
            foreign.extend((case.seed, name) for name in others if case.location.startswith("strict"))
        return problems

    def check(_: Site, cases: list[LyingCase]) -> list[str]:
        found = [f"the client of {seed} got what belongs to {name!r}" for seed, name in foreign]
        backend.await_quiet()
        found += backend.complaints
        foreign.clear()
        backend.complaints.clear()
        for case in cases:
            del backend.scripts[case.name]
        return found

    Campaign(lambda: Site(HTTP, PROBES, backend.ports).ready(), make_case, smaller, run, check).go()


def converse(site: Site, case: LyingCase) -> tuple[list[str], bytes]:
    """Sends the request, reads or leaves; what is wrong with the response, and its bytes."""
    try:
        with site.connect("http", 4096 if case.leaving == "stop" else 0, PATIENCE) as sock:
            sock.sendall(_request(case))
            if case.leaving in ("reset", "read then reset"):
                if case.leaving != "reset":
                    sock.recv(100)
                reset(sock)
                return [], b""
            if case.leaving == "stop":
                threading.Event().wait(0.1)
                return [], b""
            if case.leaving == "half":
                sock.shutdown(socket.SHUT_WR)
            return _judged(sock, case)
    except ConnectionError:
        return [], b""
    except TimeoutError:
        return [f"hangs: {case!r}"], b""
    except Endless:
        paced = any(b"X-Accel-Limit-Rate: 9" in data for _, data in case.parts)
        return [] if paced else [f"goes on for ever: {case!r}"], b""


def _request(case: LyingCase) -> bytes:
    method, body, fields = case.kind.split()[0], b"", b""
    if case.kind == "POST chunked":
        fields, body = b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"
    elif method == "POST":
        body = b"x" * (200_000 if case.kind == "POST large" else 5)
        fields = b"Content-Length: %d\r\n" % len(body)
    else:
        fields = FIELDS.get(case.kind, b"")
    method = method if method.isupper() else "GET"
    version = b"1.0" if case.kind == "old" else b"1.1"
    target = f"/{case.location}/".encode() + case.name
    return b"%b %b HTTP/%b\r\nHost: localhost\r\n%b\r\n%b" % (method.encode(), target, version, fields, body)


FIELDS = {
    "range": b"Range: bytes=1-2000\r\n",
    "gzip": b"Accept-Encoding: gzip\r\n",
    "conditional": b'If-None-Match: "a"\r\n',
    "upgrade": b"Connection: upgrade\r\nUpgrade: websocket\r\n",
}


def _judged(sock: socket.socket, case: LyingCase) -> tuple[list[str], bytes]:
    wire = _Recording(sock)
    try:
        response = wire.response(case.kind.split()[0].encode())
        while response is not None and response.status in (100, 102, 103):
            response = wire.response(b"GET")
    except ValueError:
        response = Message(b"", [], truncated=True)  # no chunks at all
    sock.settimeout(PATIENCE)
    with contextlib.suppress(TimeoutError):
        wire.rest()
    got = bytes(wire.all)
    if got and not got.startswith(b"HTTP/1.1 "):
        return [f"not HTTP: {got[:60]!r}, {case!r}"], got
    whole = response is not None and response.status == 200 and not response.truncated
    if case.expects == "truncated" and whole:
        return [f"truncated by the upstream, complete for the client: {case!r}"], got
    if case.expects == "whole" and (response is None or not whole or response.body != case.body):
        told = f"{response.start!r}, {len(response.body)} bytes, truncated {response.truncated}" if response else "nothing"
        return [f"{told} instead of {len(case.body)} bytes: {case!r}"], got
    return [], got


class Endless(Exception):
    """Raised when there is still more of a response after ENDLESS seconds."""


class _Recording(Wire):
    """Keeps everything that came. A thread that reads must end, or the test would wait for it for ever."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.all = bytearray()
        self.until_when = time.monotonic() + ENDLESS

    def fill(self) -> bool:
        if time.monotonic() > self.until_when:
            raise Endless
        before = len(self.buffer)
        more = super().fill()
        self.all += self.buffer[before:]
        return more
