"""One configuration after the other, as a supervisor loads them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from tests.processes import free_port
from tests.unit.worker.served import Echo

from portico.http.service import HttpService
from portico.net.acceptor import Acceptor, ListeningSocket
from portico.net.listen import ListenSpec
from portico.program import LoadFailed, Program, Source, load_program
from portico.supervisor.plan import WorkerContext
from portico.worker.hook import WorkerHook
from portico.worker.runtime import Runtime


def test_reloads_do_not_add_up(tmp_path: Path) -> None:
    """A load takes over zones of the one before, and keeps nothing else of it: the memory of `z` goes with its program."""
    conf = tmp_path / "nginx.conf"
    programs: list[Program] = []
    for size in ("64k", "128k", "64k"):
        conf.write_text(f"events {{}} http {{ limit_req_zone $binary_remote_addr zone=z:{size} rate=1r/s; }}")
        programs.append(load_program(Source(f"{tmp_path}/", str(conf), "", ""), programs[-1] if programs else None))
    zones = [program.zones for program in programs]
    assert [(each.before(), each.get("z").previous) for each in zones] == [([], None)] * 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "limit_req_zone $host zone=a:%s rate=1r/s;", "limit_conn_zone $host zone=a:%s;", "proxy_cache_path cache keys_zone=a:%s;",
        "upstream u { zone a %s; server 127.0.0.1:1; }",
    ],
)
@pytest.mark.parametrize("size", [1 << 50, (1 << 63) - 1])
def test_zone_larger_than_memory(tmp_path: Path, text: str, size: int) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"events {{}} http {{ {text % size} }}")
    with pytest.raises(LoadFailed) as failed:
        load_program(Source(f"{tmp_path}/", str(conf), "", ""), None)
    told = f"[alert] mmap(MAP_ANON|MAP_SHARED, {size}) failed (12: Cannot allocate memory) in {conf}:1"
    assert told in failed.value.diagnostics.render()


class EchoService:
    """A kind of listeners that a configuration does not have: it says everything twice."""

    def __init__(self, spec: ListenSpec, folder: Path) -> None:
        self.specs = [spec]
        self.hooks: list[WorkerHook] = []
        self.temp_paths = [str(folder / "echo")]
        self.reopened = 0

    def listen(self, runtime: Runtime, spec: ListenSpec, sock: socket.socket, multi_accept: bool) -> ListeningSocket:
        assert spec is self.specs[0]
        return Acceptor(runtime.reactor, sock, runtime.shortage, lambda accepted, _: self._begin(runtime, accepted), multi_accept)

    def _begin(self, runtime: Runtime, sock: socket.socket) -> None:
        Echo(runtime, sock)

    def reopen_logs(self) -> None:
        self.reopened += 1


def program_of(folder: Path) -> Program:
    conf = folder / "nginx.conf"
    conf.write_text(
        "error_log error.log; pid run.pid; events {} http { access_log off; client_body_temp_path body; proxy_temp_path proxy;"
        f" server {{ listen 127.0.0.1:{free_port()}; return 200 http; }} }}"
    )
    return load_program(Source(f"{folder}/", str(conf), "", ""), None)


def test_a_worker_hosts_listeners_of_several_kinds(tmp_path: Path) -> None:
    http = program_of(tmp_path)
    echo = EchoService(ListenSpec(socket.AF_INET, ("127.0.0.1", 1)), tmp_path)
    services = [*http.services, echo]
    program = Program(http.load, http.settings, http.error_log, http.log_files, services, http.zones)  # type: ignore[arg-type]
    assert program.listens == [*http.listens, *echo.specs]
    program.log_files.open()
    program.open()
    assert (tmp_path / "echo").is_dir() and (tmp_path / "body").is_dir()
    bound = [socket.create_server(("127.0.0.1", 0)) for _ in services]
    context = WorkerContext(0, list(zip(program.listens, bound, strict=True)), program.settings, program.error_log)
    pid = os.fork()
    if pid == 0:
        try:
            program.run_worker(context)
        finally:
            os._exit(0)
    try:
        answers = []
        for sock, request in zip(bound, (b"GET / HTTP/1.0\r\n\r\n", b"echo"), strict=True):
            with socket.create_connection(sock.getsockname(), 10.0) as client:
                client.settimeout(10.0)
                client.sendall(request)
                answers.append(client.recv(999))
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        for sock in bound:
            sock.close()
    assert answers[0].startswith(b"HTTP/1.1 200 OK") and answers[0].endswith(b"http") and answers[1] == b"echoecho"
    program.reopen()
    assert echo.reopened == 1
    program.log_files.close()


def test_a_configuration_without_http_serves_nothing(tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text("events {}")
    program = load_program(Source(f"{tmp_path}/", str(conf), "", ""), None)
    assert program.services == [] and program.listens == []


def test_http_is_a_service(tmp_path: Path) -> None:
    """Its hooks begin with that of the loggers, which write before anything else when the worker ends."""
    program = program_of(tmp_path)
    (service,) = program.services
    assert isinstance(service, HttpService) and type(service.hooks[0]).__name__ == "LoggersHook"
    assert [spec.nodelay for spec in service.specs] == [True]
