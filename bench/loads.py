"""The loads: each puts one server to work and says what that cost."""

from __future__ import annotations

import http.client
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.servers import LOAD_CORE, CountingOrigin, Server, pinned

BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: http://localhost/some/page/before?with=arguments",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
)  # and Host: eleven


@dataclass
class Sample:
    """One measured run: seconds of CPU per unit of work, and units per second."""

    cost: float
    rate: float


def wrk(
    server: Server,
    path: str,
    seconds: float,
    *,
    connections: int,
    headers: Sequence[str] = (),
    tls: int = 0,
    script: Path | None = None,
) -> Sample:
    """A run of wrk on the load generator's core; any failed request is an error. `script` says what it asks for."""
    fields = [word for header in headers for word in ("-H", header)]
    argv = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--timeout",
        "10s",
        *fields,
        *(("-s", str(script)) if script else ()),
        server.url(path, tls),
    ]
    start = server.cpu()
    output = subprocess.run(pinned(LOAD_CORE, argv), capture_output=True, text=True, check=True).stdout
    spent = server.cpu() - start
    found = re.search(r"(\d+) requests in ", output)
    if found is None or not int(found[1]) or "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"{server.name}, {path}: wrk reports errors\n{output}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    return Sample(spent / int(found[1]), float(rate[1]) if rate else 0.0)


def h2load(
    server: Server,
    path: str,
    seconds: float,
    *,
    connections: int = 32,
    streams: int = 8,
    tls: bool = True,
    headers: Sequence[str] = (),
    body: Path | None = None,
) -> Sample:
    """A run of h2load on the load generator's core: HTTP/2, or it is an error, as is any failed request."""
    fields = [word for header in headers for word in ("-H", header)]
    argv = [
        "h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds:g}", "--warm-up-time=0",
        *fields, *(("-d", str(body)) if body else ()), server.h2_url(path, tls),
    ]  # fmt: skip
    start = server.cpu()
    output = subprocess.run(pinned(LOAD_CORE, argv), capture_output=True, text=True, check=True).stdout
    spent = server.cpu() - start
    found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    statuses = re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    protocol = "Application protocol: h2" if tls else "h2c"
    if found is None or statuses is None or protocol not in output or int(statuses[1]) == 0:
        raise SystemExit(f"{server.name}, {path}: h2load did not speak HTTP/2\n{output}")
    if any(int(count) for count in (*found.groups()[1:], *statuses.groups()[1:])):
        raise SystemExit(f"{server.name}, {path}: h2load reports errors\n{output}")
    return Sample(spent / int(found[1]), int(found[1]) / seconds)


def messages(server: Server, seconds: float, connections: int = 32) -> Sample:
    """Messages of 64 bytes there and back through a tunnel."""
    script = str(Path(__file__).with_name("messages.py"))
    argv = pinned(LOAD_CORE, [sys.executable, script, str(server.plain), str(connections), str(seconds)])
    start = server.cpu()
    done = int(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return Sample((server.cpu() - start) / done, done / seconds)


def coded_size(server: Server, path: str) -> int:
    """Bytes of an answer's body as it is sent to a client that takes gzip, without the chunks' framing."""
    connection = http.client.HTTPConnection("127.0.0.1", server.plain, timeout=10)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    if answer.headers["Content-Encoding"] != "gzip":
        raise SystemExit(f"{server.name} does not compress {path}")
    return len(answer.read())


REQUEST = (
    b"GET /static/1k.html HTTP/1.1\r\nHost: localhost\r\n" + "".join(f"{h}\r\n" for h in BROWSER).encode()
)


MANY = 30_000
# Every connection asks for one of them at random. Requests that are made beforehand cost the generator less than it can spare.
MANY_SCRIPT = f"""
local asked = {{}}
function init(args)
    math.randomseed(1)
    for n = 1, {MANY} do asked[n] = wrk.format("GET", "/many/" .. n) end
end
function request() return asked[math.random({MANY})] end
"""


def many(server: Server, seconds: float) -> Sample:
    """Hits among so many kept answers that a worker has only a few of them at hand."""
    if not server.filled:
        server.filled = True
        with socket.create_connection(("127.0.0.1", server.plain), timeout=10) as sock:
            answers = sock.makefile("rb")
            for number in range(1, MANY + 1):
                sock.sendall(b"GET /many/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
                while (line := answers.readline()) != b"\r\n":
                    if not line:
                        raise SystemExit(f"{server.name}: closed while the cache was filled")
                answers.read(1024)
    script = server.folder / "many.lua"
    script.write_text(MANY_SCRIPT)
    return wrk(server, "/many/1", seconds, connections=64, headers=BROWSER, script=script)


def misses(server: Server, origin: CountingOrigin, path: str, count: int) -> int:
    """How many of `count` requests for something that is in no cache yet, all under way at once, reach the origin."""
    before = origin.count
    origin.answers.clear()
    clients = [socket.create_connection(("127.0.0.1", server.plain), timeout=30) for _ in range(count)]
    for client in clients:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
    time.sleep(0.5)  # all of them have been read, and wait
    origin.answers.set()
    for client in clients:
        seen = b""
        while not seen.endswith(b"x" * 1024):
            data = client.recv(8192)
            if not data:
                raise SystemExit(f"{server.name}, {path}: closed before the answer")
            seen += data
        client.close()
    return origin.count - before


def idle(server: Server, count: int) -> tuple[float, float]:
    """Bytes of RSS and of PSS that one more idle keepalive connection costs (it has had one answer)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    held = [
        _asked(server.plain) for _ in range(300)
    ]  # what the first connections bring in once is not theirs
    time.sleep(0.3)
    before = server.memory()
    held += [_asked(server.plain) for _ in range(count)]
    time.sleep(0.3)
    after = server.memory()
    for sock in held:
        sock.close()
    return (after[0] - before[0]) / count, (after[1] - before[1]) / count


def _asked(port: int) -> socket.socket:
    """A connection that has had one answer."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(REQUEST + b"\r\n")
    seen = b""
    while not seen.endswith(b"x" * 1024):
        data = sock.recv(8192)
        if not data:
            raise SystemExit("closed before the answer")
        seen += data
    return sock


def first_answer(server: Server, started: float, patience: float = 20.0) -> float:
    """Seconds from `started` (when the process was) to the first 200."""
    while time.monotonic() - started < patience:
        try:
            _asked(server.plain).close()
        except OSError:
            time.sleep(0.001)
            continue
        return time.monotonic() - started
    raise SystemExit(f"{server.name} gave no answer in {patience:g} s:\n{server.process.output()}")
