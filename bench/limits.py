"""What a check adds to a request, with two thousand clients who take turns: `limit_req`, `limit_conn`, `allow`, `auth_basic`, `geo`.

`python bench/limits.py` measures the installed Portico, and says whether it is compiled; `make bench` puts the same table into its
results. One `limit_req` may cost 3 µs, compiled, and a lookup in a hundred thousand networks what it costs in ten.
"""

import base64
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import parse_request_fields
from portico.features import limit_req
from portico.features.limit_conn import LimitConnHandler
from portico.features.limit_req import LimitReqHandler
from portico.http.access import AccessPhase
from portico.http.handler import Handler
from portico.http.plan import Location, VirtualServer
from portico.http.request import Request
from portico.http.service import HttpService
from portico.net.networks import NetworkTable, network, packed
from portico.net.reactor import Reactor
from portico.net.transport import Transport
from portico.program import Source, load_program
from portico.variables.client import Client

CLIENTS = 2_000
ROUNDS = 30
BAR = 3.0
HASHED = "ann:$2b$04$83Y/cOxsVSbRSZ49EO36ae6jI5dx3eDGEHQHGnkRlzvJ7MB1IfVXe\n"
BASIC = base64.b64encode(b"ann:secret").decode()
CONF = """
events {{}}
error_log {folder}/error.log;
http {{
    access_log off;
    limit_req_zone $binary_remote_addr zone=one:10m rate=1000000r/s;
    limit_req_zone $server_name zone=two:1m rate=1000000r/s;
    limit_conn_zone $binary_remote_addr zone=conns:10m;
    server {{
        listen 127.0.0.1:8080;
        location = /limit_req {{ limit_req zone=one burst=1000000 nodelay; }}
        location = /two {{ limit_req zone=one burst=1000000 nodelay; limit_req zone=two burst=1000000 nodelay; }}
        location = /headers {{ limit_req zone=one burst=1000000 nodelay; limit_req_headers on; }}
        location = /limit_conn {{ limit_conn conns 60000; }}
        location = /allow {{ deny 192.0.2.1; allow 10.0.0.0/8; deny all; }}
        location = /basic {{ auth_basic r; auth_basic_user_file {folder}/users; }}
    }}
}}
"""


@dataclass(frozen=True)
class Figure:
    """One row: microseconds, and how many are good enough (None: no bar)."""

    title: str
    microseconds: float
    bar: float | None = None


def load(folder: str) -> tuple[VirtualServer, list[Client], Reactor]:
    Path(folder, "users").write_text(HASHED)
    conf = Path(folder, "portico.conf")
    conf.write_text(CONF.format(folder=folder))
    (service,) = load_program(Source(f"{folder}/", str(conf), "", ""), None).services
    assert isinstance(service, HttpService)
    plan = service.plan
    reactor = Reactor()
    transport = Transport(reactor, socket.socketpair()[0])
    listener = plan.listeners[0]
    clients = [listener.client(transport, (f"10.0.{n >> 8}.{n & 255}", 5000), n) for n in range(CLIENTS)]
    return plan.servers[0], clients, reactor


def microseconds(call: Callable[[Request], object], prepare: Callable[[], list[Request]]) -> float:
    """The best of many rounds, which a busy machine disturbs least."""
    best = float("inf")
    for _ in range(ROUNDS):
        requests = prepare()
        start = time.perf_counter()
        for request in requests:
            call(request)
        best = min(best, time.perf_counter() - start)
    return best / CLIENTS * 1e6


class Checks:
    """The requests of all clients, and the handlers that they meet."""

    def __init__(self, folder: str) -> None:
        self.server, self.clients, self.reactor = load(folder)
        block = f"Host: localhost\r\nAuthorization: Basic {BASIC}\r\n".encode()
        self.fields = parse_request_fields(block, 11, HeaderOptions())

    def handler(self, path: str) -> tuple[Location, Handler]:
        location = self.server.locations.find(path.encode()).value
        kinds = (LimitReqHandler, LimitConnHandler, AccessPhase)
        return location, next(handler for handler in location.handlers if isinstance(handler, kinds))

    def requests(self, location: Location) -> list[Request]:
        self.reactor.now += 0.001
        made = [Request(client, b"GET / HTTP/1.1", b"GET", 11, self.fields, self.server) for client in self.clients]
        for request in made:
            request.location = location
        return made

    def plain(self, path: str) -> float:
        location, handler = self.handler(path)
        return microseconds(handler.handle, lambda: self.requests(location))

    def counted(self, path: str) -> float:
        """Counted and given back."""
        location, handler = self.handler(path)
        assert isinstance(handler, LimitConnHandler)
        holds = handler.holds

        def call(request: Request) -> None:
            handler.handle(request)
            holds.log(request)

        return microseconds(call, lambda: self.requests(location))

    def remembered(self, path: str) -> float:
        """A slow password that was right a moment ago."""
        location, handler = self.handler(path)
        assert isinstance(handler, AccessPhase)
        verifier = handler.steps[0].state.verifier  # type: ignore[attr-defined]
        tag = verifier.tag(b"ann", b"secret", HASHED[4:-1].encode())
        verifier._right[tag] = float("inf")

        def call(request: Request) -> None:
            try:
                handler.handle_async(request).send(None)
            except StopIteration:
                return
            raise AssertionError("it was not remembered")

        return microseconds(call, lambda: self.requests(location))


def geo(count: int) -> float:
    """One lookup among so many networks."""
    table: NetworkTable[bytes] = NetworkTable()
    for index in range(count):
        key = network(f"{10 + (index >> 16)}.{index >> 8 & 255}.{index & 255}.0/24")
        assert key is not None
        table.put(key, b"x")
    addresses = [packed(f"10.0.{index % 12}.9") or b"" for index in range(CLIENTS)]
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for address in addresses:
            table.find(address)
        best = min(best, time.perf_counter() - start)
    return best / CLIENTS * 1e6


def figures() -> list[Figure]:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="bench-limits-") as folder:
        checks = Checks(folder)
        rows = [
            Figure("limit_req", checks.plain("/limit_req"), BAR),
            Figure("two limit_req", checks.plain("/two")),
            Figure("limit_req with limit_req_headers", checks.plain("/headers")),
            Figure("limit_conn, counted and given back", checks.counted("/limit_conn")),
            Figure("deny, allow, deny all", checks.plain("/allow")),
            Figure("auth_basic, a password remembered", checks.remembered("/basic")),
        ]
    few = geo(10)
    return [*rows, Figure("geo, of 10 networks", few), Figure("geo, of 100,000 networks", geo(100_000), round(2 * few, 2))]


def is_compiled() -> bool:
    return not limit_req.__file__.endswith(".py")


def table() -> list[str]:
    """The rows in Markdown."""
    lines = ["| added to a request | µs | bar | |", "|---|---|---|---|"]
    for row in figures():
        bar = "–" if row.bar is None else f"≤ {row.bar:g}"
        verdict = "" if row.bar is None else "met" if row.microseconds <= row.bar else "missed"
        lines.append(f"| {row.title} | {row.microseconds:.2f} | {bar} | {verdict} |")
    return lines


if __name__ == "__main__":
    print(f"Portico {'compiled' if is_compiled() else 'interpreted'}")
    print("\n".join(table()))
