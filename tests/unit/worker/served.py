"""A worker's parts without HTTP: an error log to read, and connections of a protocol that says everything twice."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from portico.errorlog import INFO, ErrorLog, LogFiles, LogTarget
from portico.net.reactor import NetworkSignal
from portico.net.transport import Transport
from portico.worker.connection import ServedConnection
from portico.worker.runtime import Runtime

WAIT = b"wait"  # a request whose response waits for `Echo.may_go_on`


class Logged:
    """An error log and its lines."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "error.log"
        files = LogFiles()
        self.log = ErrorLog([LogTarget(INFO, str(self.path), None, None)], files)
        files.open()

    def lines(self) -> list[str]:
        """Level and text of each: "[crit] text"."""
        found = self.path.read_text().splitlines()
        return [line[line.index("[") :].replace(f" {line.split('] ')[1].split(' ')[0]}", "", 1) for line in found]


class Echo:
    """A connection on which each piece of bytes is a request, and the same twice its response."""

    def __init__(self, runtime: Runtime, sock: socket.socket) -> None:
        self.runtime = runtime
        self.transport = Transport(runtime.reactor, sock)
        self.may_go_on: asyncio.Future[None] | None = None
        self.connection = ServedConnection(runtime, self.transport)
        self.transport.register()
        self.connection.begin(self._run())

    async def _run(self) -> None:
        try:
            while await self._request():
                pass
        except NetworkSignal:
            pass
        finally:
            self.connection.end()

    async def _request(self) -> bool:
        """Answer one request; whether another one may come."""
        data = self.transport.recv(100) if self.transport.ready else None
        while data is None:
            self.runtime.idle[self.connection] = None
            try:
                await self.transport.readable(60.0)
            finally:
                self.runtime.idle.pop(self.connection, None)
            data = self.transport.recv(100)
        if data == WAIT:
            self.may_go_on = asyncio.get_running_loop().create_future()
            await self.may_go_on
        self.transport.send(data * 2)
        return data != b"" and not self.runtime.draining


def line(runtime: Runtime) -> tuple[Echo, socket.socket]:
    """A connection, and the client's end of it."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return Echo(runtime, near), far


def is_closed(far: socket.socket) -> bool:
    """Whether the worker has closed the connection."""
    try:
        return far.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
