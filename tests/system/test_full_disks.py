"""Temporary files on a disk that is full, or in a directory that is gone: 500, or a truncated response, and one line that says why.

Neither the client nor the upstream is blamed: no line says that it failed, and no failure of the upstream is counted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.processes import wait_until
from tests.system.proxied import Proxied, answer, pattern, running

SIZE = 3_000_000
SERVER = "location @fallback { proxy_pass http://pair; }"
HTTP = """
    client_max_body_size 0;
    upstream pair { server @one@; server @two@; }
"""
LOCATIONS = {
    "request": "client_body_buffer_size 8k; proxy_pass http://pair;",
    "response": "proxy_pass http://pair;",
    "shown": "client_body_buffer_size 8k; error_page 500 = @fallback; proxy_pass http://pair;",
    "none": "proxy_max_temp_file_size 0; proxy_pass http://pair;",
}
# What is mounted there is seen by nobody else, and gone with the processes.
SMALL_DISKS = """
for argument; do case $argument in */) folder=$argument;; esac; done
for name in body proxy; do
    mkdir -p "$folder/$name"
    mount -t tmpfs -o size=64k "$name" "$folder/$name"
done
exec "$@"
"""


def may_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module", params=["full", "gone"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    if request.param == "full":
        if not may_mount():
            pytest.skip("needs root and a mount namespace of its own for a small disk")
        wrap = ("unshare", "--mount", "sh", "-ec", SMALL_DISKS, "sh")
        made = Proxied(LOCATIONS, http=HTTP, server=SERVER, listen="sndbuf=8k", wrap=wrap)
    else:
        made = Proxied(LOCATIONS, http=HTTP, server=SERVER, listen="sndbuf=8k")
    for name in ("one", "two"):
        made.upstream(name).serve(lambda end, message: end.send(answer(pattern(SIZE))) and None)
    with running(made):
        if request.param == "gone":
            made.fetch("/none/")
            for name in ("body", "proxy"):
                shutil.rmtree(made.folder / name)
        made.kind = request.param  # type: ignore[attr-defined]
        yield made


def lines_since(proxy: Proxied, before: int) -> list[str]:
    """The lines of the error log, without those that say that a temporary file is used."""
    lines = proxy.log()[before:].splitlines()
    return [line for line in lines if "is buffered to a temporary file" not in line and "[notice]" not in line]


def the_line(proxy: Proxied, before: int) -> str:
    """The only line, once it is there."""
    lines = wait_until(lambda: lines_since(proxy, before), what="a line in the error log")
    assert len(lines) == 1, "\n".join(lines)
    return lines[0]


def test_request_body(proxy: Proxied) -> None:
    before = len(proxy.log())
    served = proxy.upstream("one").served + proxy.upstream("two").served
    with proxy.ask("POST", "/request/", body=b"x" * 500_000) as client:
        assert client.response().status == 500
        assert client.rest() == b""
    line = the_line(proxy, before)
    assert "[crit]" in line and f"{proxy.folder}/body/body." in line
    if proxy.kind == "full":  # type: ignore[attr-defined]
        assert "write() " in line and "(28: No space left on device)" in line
    else:
        assert "mkstemp() " in line and "(2: No such file or directory)" in line
    assert proxy.upstream("one").served + proxy.upstream("two").served == served
    proxy.await_access("/request/ 500 - ")


def test_request_body_of_an_error_page(proxy: Proxied) -> None:
    """The error page is proxied and wants the body too: a part of it does not pass for the whole, and nothing waits for the rest."""
    asked = proxy.upstream("one").served + proxy.upstream("two").served
    with proxy.ask("POST", "/shown/", body=b"x" * 500_000) as client:
        assert client.response().status == 500
        assert client.rest() == b""
    assert proxy.upstream("one").served + proxy.upstream("two").served == asked
    proxy.await_access("/shown/ 500 - ")


def test_response(proxy: Proxied) -> None:
    """The client is slow, so the response is read ahead; what is there goes out, and the connection ends early."""
    before = len(proxy.log())
    with proxy.get("/response/", receive_buffer=8192) as client:
        line = the_line(proxy, before)
        got = client.response()
    assert got.status == 200 and got.truncated
    assert pattern(SIZE).startswith(got.body) and len(got.body) > 10_000
    assert "[crit]" in line and f"{proxy.folder}/proxy/response." in line
    assert ("pwrite() " if proxy.kind == "full" else "mkstemp() ") in line  # type: ignore[attr-defined]
    for _ in range(4):  # both servers are still in use
        assert proxy.fetch("/none/").body == pattern(SIZE)
    assert len(lines_since(proxy, before)) == 1


def test_nothing_is_left_open(proxy: Proxied) -> None:
    before = proxy.descriptors()
    for _ in range(5):
        proxy.fetch("/request/", method="POST", body=b"x" * 300_000)
    wait_until(lambda: proxy.descriptors() <= before, what="descriptors given back")
