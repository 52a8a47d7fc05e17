"""A server for the supervisor's tests: its configuration is the main context plus `listen` and `word`.

Run as `python supervised_echo.py PREFIX [-s SIGNAL]`; it reads PREFIX/conf. Each line that a client sends is
answered by `WORD PID NUMBER`, but `crash` ends the worker, `env NAME` asks for a variable, `fds` for what is
open.
"""

import asyncio
import os
import socket
import sys

from portico.config.build import build
from portico.config.diagnostics import ConfigError
from portico.config.directive import MAIN, Directive, Scope
from portico.config.load import Load
from portico.config.reader import Statement, read
from portico.config.values import text
from portico.errorlog import LogFiles, early, error_log
from portico.net.listen import ListenSpec
from portico.supervisor import control
from portico.supervisor.plan import LoadFailed, Plan, WorkerContext
from portico.supervisor.settings import MAIN_DIRECTIVES, ProcessSettings
from portico.supervisor.supervisor import supervise


def parse_listen(statement: Statement) -> ListenSpec:
    written = statement.args[0].text
    if written.startswith("unix:"):
        spec = ListenSpec(socket.AF_UNIX, written[5:], written, statement.where)
    else:
        host, _, port = written.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        spec = ListenSpec(family, (host.strip("[]"), int(port)), written, statement.where)
    spec.reuseport = len(statement.args) > 1
    return spec


LISTEN = Directive[ListenSpec](
    "listen",
    MAIN,
    parse_listen,
    args="1-2",
    many=True,
    default=ListenSpec(socket.AF_INET, ""),
    doc="",
    example="",
)
WORD = Directive[str]("word", MAIN, text, args="1", default="", doc="", example="")


class EchoPlan(Plan):
    def __init__(self, scope: Scope) -> None:
        files = LogFiles()
        super().__init__(ProcessSettings(scope), error_log(scope, files), files)
        self.word = scope.get(WORD)
        self.listens = scope.all(LISTEN)
        self.diagnostics = scope.load.diagnostics

    def open(self) -> None:
        if self.word == "unopenable":
            raise ConfigError("the memory is full")

    def close(self) -> None:
        pass

    def run_worker(self, worker: WorkerContext) -> None:
        if self.word == "fatal":
            raise RuntimeError("cannot serve")
        asyncio.run(self.serve(worker))

    async def serve(self, worker: WorkerContext) -> None:
        stop = asyncio.Event()
        worker.on_quit = worker.on_term = stop.set

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while line := await reader.readline():
                    writer.write(self.answer(line.decode().strip(), worker).encode() + b"\n")
                    await writer.drain()
            finally:
                writer.close()

        servers = []
        for _, listener in worker.listeners:
            serving = asyncio.start_unix_server if listener.family == socket.AF_UNIX else asyncio.start_server
            servers.append(await serving(answer, sock=listener))
        worker.attach(asyncio.get_running_loop())
        await stop.wait()
        for _, listener in worker.listeners:
            asyncio.get_running_loop().remove_reader(listener)
        await asyncio.sleep(0)  # a connection that was just accepted fails if its server is closed before its task's first step
        for server in servers:
            server.close()
        # A connection has a task from when it is accepted on: first asyncio's, then ours.
        mine = asyncio.current_task()
        while (others := {task for task in asyncio.all_tasks() if task is not mine}) and not worker.terminating:
            await asyncio.wait(others, timeout=0.05)

    def answer(self, line: str, worker: WorkerContext) -> str:
        if line == "crash":
            os._exit(3)
        if line.startswith("env "):
            return str(os.environ.get(line[4:]))
        if line == "fds":
            return open_descriptors()
        return f"{self.word} {os.getpid()} {worker.number}"


def open_descriptors() -> str:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # that of the listing itself
            pass
    return " ".join(sorted(found))


def load_plan(prefix: str) -> Plan:
    load = Load(prefix, "conf")
    try:
        scope = build(read(load.conf_path, load), (*MAIN_DIRECTIVES, LISTEN, WORD), load)
    except ConfigError as error:
        load.diagnostics.error(error)
    if load.diagnostics.errors:
        raise LoadFailed(load.diagnostics)
    return EchoPlan(scope)


def main() -> int:
    prefix = sys.argv[1]
    log = early(os.path.join(prefix, "logs/error.log"))
    if "-s" in sys.argv:
        return control.send(sys.argv[-1], load_plan(prefix).settings.pid, log)
    return supervise(lambda running: load_plan(prefix), log)


if __name__ == "__main__":
    sys.exit(main())
