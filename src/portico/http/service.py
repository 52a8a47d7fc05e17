"""HTTP as a worker serves it: what the `http` block gives to a program."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, final

from portico.http.server.acceptor import ConnectionMaker
from portico.net.acceptor import Acceptor, ListeningSocket
from portico.worker.hook import WorkerHook
from portico.worker.service import Service

if TYPE_CHECKING:
    from portico.http.build import HttpPlan
    from portico.http.handler import Logger
    from portico.net.listen import ListenSpec
    from portico.worker.runtime import Runtime


@final
class HttpService(Service):
    """The listeners of one `http` block."""

    def __init__(self, plan: HttpPlan) -> None:
        build = plan.build
        super().__init__(
            [listener.spec for listener in plan.listeners],
            [LoggersHook(build.loggers), *build.workers],
            sorted(build.temp_paths),
        )
        self.plan = plan
        self._listeners = {listener.spec.key: listener for listener in plan.listeners}

    def listen(self, runtime: Runtime, spec: ListenSpec, sock: socket.socket, multi_accept: bool) -> ListeningSocket:
        maker = ConnectionMaker(runtime, self._listeners[spec.key])
        return Acceptor(runtime.reactor, sock, runtime.shortage, maker.on_accept, multi_accept)

    def reopen_logs(self) -> None:
        for logger in self.plan.build.loggers:
            logger.reopen()


@final
class LoggersHook(WorkerHook):
    """Writes what the loggers hold back: once a second, and before anything else when the worker ends."""

    def __init__(self, loggers: list[Logger]) -> None:
        self.loggers = loggers

    def every_second(self) -> None:
        for logger in self.loggers:
            logger.flush()

    def stop(self) -> None:
        for logger in self.loggers:
            logger.close()
