"""What a client writes, decoded, never becomes a header line, a request line or a line of a log; and no path leads outside."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.attack_ground import Ground

LOCATIONS = r"""
    location = /ping { return 200 pong; }
    location /return { return 302 http://other$uri; }
    location /relative { return 302 /there$uri; }
    location /page { error_page 403 http://other$uri; return 403; }
    location /redirect { proxy_redirect / /there$uri; proxy_pass http://app; }
    location /added { add_header X-U $uri always; return 200 ok; }
    location /field { proxy_set_header X-U $uri; proxy_pass http://app; }
    location /line { proxy_pass http://app$uri; }
    location /method { proxy_method GET; proxy_pass http://app$document_uri; }
    location /try { try_files /none /asked?u=$uri; }
    location /error { error_page 403 /asked?u=$uri; return 403; }
    location /asked { proxy_pass http://app; }
    location ~ ^/capture(?<rest>[^$]*)$ { proxy_set_header X-U $rest; proxy_pass http://app; }
    location /i { alias html/pics/; }
    location /internal { internal; alias html/pics/; }
    location /accel { proxy_pass http://app; }
    location /buffered { client_body_buffer_size 1k; proxy_pass http://app; }
"""
LINE = b"%0d%0aX-Evil:%201"
NEWLINE = b"%0aX-Evil:%201"
REQUEST = b"%20HTTP/1.1%0d%0aHost:%20x%0d%0a%0d%0aGET%20/smuggled"
RESPONSES = [b"/return", b"/relative", b"/page", b"/redirect", b"/added"]
REQUESTS = [b"/field", b"/line", b"/method", b"/try", b"/error", b"/capture"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(tmp_path_factory.mktemp("injection"), LOCATIONS)
    moved = b"HTTP/1.1 302 Found\r\nLocation: /abc\r\nContent-Length: 0\r\n\r\n"
    for tail in (LINE, NEWLINE):
        made.backend.scripts[b"/redirect" + tail] = lambda sock, head: sock.sendall(moved)
    try:
        yield made
        made.check()
    finally:
        made.close()


@pytest.mark.parametrize("tail", [LINE, NEWLINE])
@pytest.mark.parametrize("path", RESPONSES)
def test_a_decoded_line_end_does_not_split_the_response(ground: Ground, path: bytes, tail: bytes) -> None:
    head = ground.get(path + tail).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 ")
    assert not re.search(rb"[\r\n]X-Evil", head)


@pytest.mark.parametrize("tail", [LINE, NEWLINE, REQUEST])
@pytest.mark.parametrize("path", REQUESTS)
def test_a_decoded_line_end_does_not_split_the_request(ground: Ground, path: bytes, tail: bytes) -> None:
    if tail == REQUEST and path in (b"/field", b"/capture"):
        tail = b"%0d%0a%0d%0aGET%20/smuggled%20HTTP/1.1"
    ground.backend.seen.clear()
    ground.get(path + tail)
    time.sleep(0.1)  # a smuggled request is answered to nobody: nothing tells when it has arrived
    seen = b"".join(ground.backend.seen)
    assert not re.search(rb"[\r\n](X-Evil|GET /smuggled)", seen)
    assert seen.count(b"\r\n\r\n") <= 1


@pytest.mark.parametrize(
    "target", [b"/i../secret/key", b"/i../../secret/key", b"/i..%2f../secret/key", b"/i%2e%2e/../secret/key"]
)
def test_a_path_does_not_leave_the_root(ground: Ground, target: bytes) -> None:
    assert b"SECRET" not in ground.get(target)


def test_an_alias_with_a_slash_too_many_does_not_lead_outside(tmp_path: Path) -> None:
    made = Ground(tmp_path, f"location = /ping {{ return 200 pong; }} location /i {{ alias {tmp_path}/html/; }}")
    try:
        assert b"SECRET" not in made.get(b"/i../secret/key")
    finally:
        made.close()


@pytest.mark.parametrize(
    "target",
    [
        b"/internal",
        b"/internal/a",
        b"//internal/a",
        b"/x/../internal/a",
        b"/%69nternal/a",
        b"/./internal/a",
        b"/internal/?x",
        b"/internal%2fa",
    ],
)
def test_an_internal_location_is_not_reached_from_outside(ground: Ground, target: bytes) -> None:
    assert ground.get(target).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    "name", [b"X-Accel-Redirect: /internal/a", b"X-Accel-Internal: /internal/a", b"X-Original-URL: /internal/a"]
)
def test_a_request_field_does_not_redirect(ground: Ground, name: bytes) -> None:
    assert b"picture" not in ground.get(b"/accel", name)


@pytest.mark.parametrize(
    "value",
    [
        b"/internal/../../secret/key",
        b"/internal/%2e%2e/%2e%2e/secret/key",
        b"/../etc/passwd",
        b"file:///etc/passwd",
        b"//etc/passwd",
        b"",
        b"@none",
        b"@\xff",
        b"/accel",
        b"/internal/%00",
        b"/internal/%0d%0aX-Evil: 1",
    ],
)
def test_an_accel_redirect_does_not_lead_outside(ground: Ground, value: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: " + value + b"\r\nContent-Length: 0\r\n\r\n"
    ground.backend.scripts[b"/accel"] = lambda sock, head: sock.sendall(answer)
    got = ground.get(b"/accel")
    assert got[9:12] in (b"403", b"404", b"500", b"502")
    assert b"SECRET" not in got and b"root:" not in got and b"\nX-Evil" not in got


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\x1b[31mred HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%0a2026/01/01%20[alert]%20forged HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b'GET /none HTTP/1.1\r\nHost: localhost\r\nReferer: \x1b[2J\x07\x7f\x9b\r\n'
        b'User-Agent: a"b\\c\x1b\r\nConnection: close\r\n\r\n',
        b"GET / HTTP/1.1\rforged\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x00\x05\x1b[31m\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: local\x1bhost\r\n\r\n",
        b'GET /%1b%5b31m%0d%0aforged HTTP/1.1\r\nHost: localhost\r\nX: "\x1b\r\nConnection: close\r\n\r\n',
    ],
)
def test_no_control_character_reaches_a_log(ground: Ground, data: bytes) -> None:
    ground.ask(data, 1)
    for name in ("error.log", "access.log"):
        log = (ground.folder / name).read_bytes()
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", log)
        for line in log.splitlines():
            assert re.match(
                rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: " if name == "error.log" else rb"127\.0\.0\.1 \"", line
            )


def test_temporary_files_have_no_name_and_directories_are_private(ground: Ground) -> None:
    body = b"s" * 100_000
    ground.ask(b"POST /buffered HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    for name in ("client_body_temp", "proxy_temp"):
        folder = ground.folder / name
        if folder.exists():
            assert stat.S_IMODE(os.stat(folder).st_mode) & 0o077 == 0
            assert list(folder.iterdir()) == []
