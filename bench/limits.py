"""What a limit adds to a request, with two thousand clients who take turns: `limit_req`, with and without a delay, and `limit_conn`.

`python bench/limits.py` measures the installed Portico, and says whether it is compiled. One `limit_req` may cost 3 µs, compiled.
"""

import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import parse_request_fields
from portico.features import limit_req
from portico.features.limit_conn import LimitConnHandler
from portico.features.limit_req import LimitReqHandler
from portico.http.client import Client
from portico.http.plan import Location, VirtualServer
from portico.http.request import Request
from portico.net.reactor import Reactor
from portico.net.transport import Transport
from portico.program import Source, load_program

CLIENTS = 2_000
ROUNDS = 30
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
    }}
}}
"""


def load(folder: str) -> tuple[VirtualServer, list[Client], Reactor]:
    conf = Path(folder, "portico.conf")
    conf.write_text(CONF.format(folder=folder))
    plan = load_program(Source(f"{folder}/", str(conf), "", ""), None).http
    assert plan is not None
    reactor = Reactor()
    transport = Transport(reactor, socket.socketpair()[0])
    listener = plan.listeners[0]
    clients = [Client(transport, listener, (f"10.0.{n >> 8}.{n & 255}", 5000), n) for n in range(CLIENTS)]
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


def row(title: str, location: Location, server: VirtualServer, clients: list[Client], reactor: Reactor) -> None:
    fields = parse_request_fields(b"Host: localhost\r\n", 11, HeaderOptions())
    handler = next(h for h in location.handlers if isinstance(h, LimitReqHandler | LimitConnHandler))

    def prepare() -> list[Request]:
        reactor.now += 0.001
        if isinstance(handler, LimitConnHandler):
            for request in list(handler.holds.of):
                handler.holds.log(request)
        requests = [Request(client, b"GET / HTTP/1.1", b"GET", 11, fields, server) for client in clients]
        for request in requests:
            request.location = location
        return requests

    def counted() -> list[Request]:
        requests = prepare()
        for request in requests:
            handler.handle(request)
        return requests

    print(f"{title:44}{microseconds(handler.handle, prepare):8.2f}")
    if isinstance(handler, LimitConnHandler):
        print(f"{title + ', giving back':44}{microseconds(handler.holds.log, counted):8.2f}")


def main() -> None:
    compiled = not limit_req.__file__.endswith(".py")
    print(f"limits, {'compiled' if compiled else 'interpreted'}, microseconds each")
    with tempfile.TemporaryDirectory(prefix="bench-limits-") as folder:
        server, clients, reactor = load(folder)
        for path, title in (
            ("/limit_req", "limit_req"), ("/two", "two limit_req"), ("/headers", "limit_req with limit_req_headers"),
            ("/limit_conn", "limit_conn"),
        ):  # fmt: skip
            row(title, server.locations.find(path.encode()).value, server, clients, reactor)


if __name__ == "__main__":
    main()
