"""What is built at load is not written while requests are served: scratch state belongs to the worker, or to its request.

The plan of a configuration with a little of everything is taken down attribute by attribute, served by a worker, and taken down
again. Only sources can be looked into like this; a compiled object has no `__dict__`.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import socket
import threading
import types
from pathlib import Path

import pytest
from tests.processes import exempt_from_collections

from portico.http.plan import Location
from portico.http.service import HttpService
from portico.program import Program, Source, load_program
from portico.worker.worker import Worker

COMPILED = not hasattr(Location.describe, "__code__")

# What the objects of the plan refer to and is the worker's own: it changes because that is what it is for.
WORKERS_OWN = {
    "ErrorLog": "a file and the time that its last line begins with",
    "FileWriter": "lines of the access log that are not written yet",
    "OpenFileCache": "descriptors of open files",
    "RememberedFiles": "content of small files",
    "Group": "peers as they do, and their idle connections",
    "Lookup": "addresses of names that only requests say",
    "States": "a zone in shared memory, and the state looked up last",
    "Counts": "a zone in shared memory",
    "Holds": "which requests are counted",
    "Sequence": "numbers that no other cookie has",
    "Board": "counters",
    "Threads": "threads",
    "WatchedFiles": "files of users as they were when last looked at",
    "Verifier": "passwords that were verified lately",
}
# What is remembered of a pure function, bounded, and could be forgotten at any time.
REMEMBERED = {
    "AcceptedCodings._known": "values of Accept-Encoding taken apart",
    "CompressionFilter._by_type": "which codings are for a media type",
    "ExpiresFilter._date": "the date written last",
    "ExpiresFilter._second": "its time",
    "StaticHandler._stamps": "Last-Modified and ETag of files by time and size",
}

HTTP = """
limit_req_zone $remote_addr zone=r:1m rate=10000r/s; limit_conn_zone $remote_addr zone=c:1m;
map $uri $mapped { ~^/(?<rest>.*) $rest; default 0; } geo $geo { default 0; 127.0.0.0/8 1; } split_clients $uri $split { 50% a; * b; }
log_format all '$request $mapped $geo $split $request_time $status $upstream_addr $uid_got';
upstream u { server 127.0.0.1:PORT2; keepalive 3; }
access_log logs/access.log all buffer=4k; gzip on; gzip_min_length 1; gzip_types *;
"""
SERVER = """
add_header X $mapped; expires 1h; userid on; charset utf-8; sub_filter hello bye; etag on; server_tokens off;
limit_req zone=r burst=3; limit_conn c 5; error_page 404 /b.html; valid_referers none server_names;
location /cached { alias html/; open_file_cache max=10; }
location /try { try_files $uri /a.txt; } location /rewrite { rewrite ^/rewrite(.*) /a.txt; }
location ~ ^/regex(?<tail>.*) { return 200 "$tail $mapped $request_id $invalid_referer $server_addr"; }
location /auth { auth_basic x; auth_basic_user_file users; alias html/a.txt; }
location /gif { empty_gif; } location /status { stub_status; }
location /any { satisfy any; deny all; auth_basic x; auth_basic_user_file users; }
location /if { set $q $uri; if ($q = /if) { return 204; } } location /auto/ { autoindex on; alias html/; }
location /mirror { mirror /gif; return 200 x; } location /slow { limit_rate 100k; alias html/b.html; }
location /group { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header A $mapped; }
location /named { proxy_pass http://127.0.0.1:PORT2/x; } location /late { proxy_pass http://127.0.0.1:$arg_port; }
"""
PATHS = (
    "/", "/a.txt", "/b.html", "/cached/a.txt", "/try/x", "/rewrite/x", "/regex/1", "/auth", "/gif", "/status", "/any", "/if",
    "/auto/", "/mirror", "/slow", "/group/x", "/named/x", "/late/x?port=PORT2", "/nowhere",
)  # fmt: skip
FIELDS = (
    {}, {"Accept-Encoding": "gzip"}, {"Range": "bytes=0-3", "Referer": "http://elsewhere/"}, {"If-None-Match": '"x"'},
    {"Authorization": "Basic YW5uOng="},
)  # fmt: skip

Taken = dict[int, tuple[str, dict[str, object], object]]  # by identity: a name, what it holds, and the object, which is kept alive


def parts(thing: object) -> list[tuple[str, object]]:
    """What an object of ours, a container or a function holds on to, each by a name."""
    if isinstance(thing, dict):
        return [(f"[{key!r}]", value) for key, value in thing.items()]
    if isinstance(thing, list | tuple | set | frozenset):
        return [(f"[{number}]", value) for number, value in enumerate(thing)]
    if isinstance(thing, types.MethodType):
        return [("self", thing.__self__)]
    if isinstance(thing, types.FunctionType):
        return [("closure", cell.cell_contents) for cell in thing.__closure__ or ()]
    if type(thing).__module__.startswith("portico"):
        return list(vars(thing).items()) if hasattr(thing, "__dict__") else []
    return []


def take_down(*roots: object) -> tuple[Taken, set[str]]:
    """Every object reachable from the roots with what it holds, and what was met of WORKERS_OWN and REMEMBERED."""
    taken: Taken = {}
    excepted: set[str] = set()
    rest: list[tuple[str, object]] = [("root", root) for root in roots]
    while rest:
        where, thing = rest.pop()
        if id(thing) in taken or isinstance(thing, type):
            continue
        name = type(thing).__name__
        if name in WORKERS_OWN and type(thing).__module__.startswith("portico"):
            excepted.add(name)
            continue
        held: dict[str, object] = {}
        for label, value in parts(thing):
            place = f"{name}.{label}" if type(thing).__module__.startswith("portico") else where  # a container is its owner's
            if place in REMEMBERED:
                excepted.add(place)
            else:
                held[label] = value if isinstance(value, int | float | str | bytes) else id(value)
                rest.append((place, value))
        taken[id(thing)] = (where, held, thing)
    return taken, excepted


def written(before: Taken, after: Taken) -> list[str]:
    """What differs, as `Class.attribute`."""
    found: set[str] = set()
    for identity, (where, held, thing) in before.items():
        now = after[identity][1] if identity in after else {}
        for label in held.keys() | now.keys():
            if held.get(label) != now.get(label):
                is_ours = type(thing).__module__.startswith("portico")
                found.add(f"{type(thing).__name__}.{label}" if is_ours else where)
    return sorted(found)


def ask_for_everything(port: int, paths: list[str], failures: list[str]) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for path in paths * 3:
        for fields in FIELDS:
            client.request("GET", path, headers=fields)
            response = client.getresponse()
            response.read()
            if response.status in (500, 502, 504):
                failures.append(f"{path} {fields}: {response.status}")
    client.close()


def load(directory: Path, ports: list[int]) -> Program:
    for folder in ("html", "logs"):
        (directory / folder).mkdir()
    (directory / "html" / "a.txt").write_text("hello " * 100)
    (directory / "html" / "b.html").write_text("hello " * 1000)
    (directory / "html" / "index.html").write_text("hello")
    (directory / "users").write_text("ann:{PLAIN}x\n")
    text = (
        f"error_log logs/error.log; events {{}} http {{ {HTTP} server {{ listen 127.0.0.1:{ports[0]}; {SERVER} }}"
        f" server {{ listen 127.0.0.1:{ports[1]}; access_log off; return 200 backend; }} }}"
    )
    (directory / "nginx.conf").write_text(text.replace("PORT2", str(ports[1])))
    program = load_program(Source(f"{directory}/", "nginx.conf", "", ""), None)
    assert not program.diagnostics.errors, program.diagnostics.errors
    program.log_files.open()
    program.open()
    return program


@pytest.mark.skipif(COMPILED, reason="what is compiled cannot be looked into")
def test_serving_writes_nothing_into_the_plan(tmp_path: Path) -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [sock.getsockname()[1] for sock in sockets]
    program = load(tmp_path, ports)
    (service,) = program.services
    assert isinstance(service, HttpService)
    plan = service.plan
    worker = Worker(service.hooks, program.error_log, 512, 0)
    for spec, sock in zip(service.specs, sockets, strict=True):
        sock.setblocking(False)
        worker.listening.append(service.listen(worker.runtime, spec, sock, False))
    failures: list[str] = []

    def ask() -> None:
        try:
            ask_for_everything(ports[0], [path.replace("PORT2", str(ports[1])) for path in PATHS], failures)
        except Exception as error:
            failures.append(repr(error))
        finally:
            worker.loop.call_soon_threadsafe(worker.terminate)

    threshold = gc.get_threshold()
    worker.start()
    try:
        before, _ = take_down(plan.listeners, plan.servers)
        client = threading.Thread(target=ask)
        client.start()
        worker.run()
        client.join()
        after, excepted = take_down(plan.listeners, plan.servers)
    finally:
        exempt_from_collections()
        gc.set_threshold(*threshold)
        worker.loop.close()
        asyncio.set_event_loop(None)
        for sock in sockets:
            sock.close()
    assert not failures
    assert len(before) > 1000
    changed = written(before, after)
    assert not changed, "\n".join(changed)
    assert excepted == WORKERS_OWN.keys() | REMEMBERED.keys()  # what nobody has any more goes off its list
