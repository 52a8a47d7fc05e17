"""A kind of listeners with all that is behind them: what one block of a configuration (`http`) serves."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.net.acceptor import ListeningSocket
    from portico.net.listen import ListenSpec
    from portico.worker.hook import WorkerHook
    from portico.worker.runtime import Runtime


class Service:
    """The base class of each kind. The supervisor binds `specs`; a worker starts `hooks` and listens."""

    def __init__(self, specs: list[ListenSpec], hooks: list[WorkerHook], temp_paths: list[str]) -> None:
        self.specs = specs
        self.hooks = hooks
        self.temp_paths = temp_paths  # directories to make before the workers start

    def listen(self, runtime: Runtime, spec: ListenSpec, sock: socket.socket, multi_accept: bool) -> ListeningSocket:
        """Return the listening socket `sock`, bound for `spec`, as this worker serves it."""
        raise NotImplementedError

    def reopen_logs(self) -> None:
        """Open the log files again (USR1); lines that are held back go to the old ones."""
        raise NotImplementedError
