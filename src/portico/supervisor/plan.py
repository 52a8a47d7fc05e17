"""What the supervisor and the rest of Portico know of each other.

The composition root gives the supervisor a `load`, which reads the configuration and returns a `Plan`. The
supervisor knows of a plan which sockets it wants, as whom its workers run, and four moments of its life::

    load, open    in the supervisor, before the fork
    run_worker    in each child, until it is told to stop
    close         in the supervisor, when another plan replaced it, and at exit
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import final

from portico.config.diagnostics import Diagnostics
from portico.errorlog import INFO, NOTICE, ErrorLog, LogFiles
from portico.net.listen import ListenSpec
from portico.supervisor import title
from portico.supervisor.settings import ProcessSettings
from portico.supervisor.signals import OF_WORKERS

Listener = tuple[ListenSpec, socket.socket]
Callback = Callable[[], None]


@final
class WorkerContext:
    """What a worker gets from its supervisor.

    `run_worker` sets `on_quit` (finish what is in flight, then return; may be called twice) and `on_term`
    (return at once), starts its asyncio loop, and calls `attach` once its listeners are served. Until then
    signals wait, so none is lost. A spec stands several times in `listeners` when this worker serves
    several of its sockets.
    """

    def __init__(
        self, number: int, listeners: list[Listener], settings: ProcessSettings, log: ErrorLog
    ) -> None:
        self.number: int = number  # from 0; the worker that replaces a dead one has its number
        self.listeners: list[Listener] = listeners
        self.log: ErrorLog = log
        # Seconds that connections may last after `on_quit`, 0: no limit. The plan enforces it.
        self.shutdown_timeout: float = settings.worker_shutdown_timeout
        self.worker_connections: int = settings.worker_connections
        self.multi_accept: bool = settings.multi_accept
        self.on_quit: Callback = _nothing
        self.on_term: Callback = _nothing
        self.on_reopen: Callback = _nothing
        self.quitting: bool = False
        self.terminating: bool = False
        self.lifeline: int = -1  # readable once the supervisor is gone
        self.on_ready: Callback = _nothing  # the supervisor's
        self.on_reload: Callback | None = None  # only with `master_process off`: HUP comes here
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let signals in as calls of the callbacks, and tell the supervisor that this worker serves."""
        self._loop = loop
        handlers: dict[int, Callback] = {
            signal.SIGQUIT: self._quit,
            signal.SIGTERM: self._terminate,
            signal.SIGINT: self._terminate,
            signal.SIGUSR1: self._reopen,
            # A supervisor that gets WINCH sends QUIT; what comes here is a terminal that was resized.
            signal.SIGWINCH: _nothing,
        }
        if self.on_reload is not None:
            handlers[signal.SIGHUP] = self.on_reload
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        if self.lifeline >= 0:
            loop.add_reader(self.lifeline, self._orphaned, loop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(handlers))
        self.on_ready()

    def detach(self) -> None:
        """Close the loop once `run_worker` has returned; signals wait again, until another loop is attached.

        Only with `master_process off`: a worker ends here, and leaves that to the system. One that came after the
        loop's last turn is not lost: `quitting` or `terminating` tell of it.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, OF_WORKERS | {signal.SIGHUP})
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return
        self.on_quit = self.on_term = _nothing
        for _ in range(2):  # asyncio takes note of a signal in one turn and calls its handler in the next
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()
        asyncio.set_event_loop(None)

    def _quit(self) -> None:
        if not self.quitting:
            self.quitting = True
            self.log.write(NOTICE, "gracefully shutting down")
            if self.lifeline >= 0:
                title.show(title.LEAVING)
            self.on_quit()

    def _terminate(self) -> None:
        if not self.terminating:
            self.terminating = True
            self.log.write(NOTICE, "exiting")
            self.on_term()

    def _reopen(self) -> None:
        self.log.write(NOTICE, "reopening logs")
        self.on_reopen()
        self.log.redirect_stderr()

    def _orphaned(self, loop: asyncio.AbstractEventLoop) -> None:
        """Finish, as the supervisor was killed, so that another one can take over the ports."""
        loop.remove_reader(self.lifeline)
        self.log.write(INFO, "the supervisor process is gone")
        self._quit()


def _nothing() -> None:
    """Do nothing, for a callback that nobody has set."""


class Plan:
    """One configuration, ready to be run: the base class of what `load` returns."""

    def __init__(self, settings: ProcessSettings, error_log: ErrorLog, log_files: LogFiles) -> None:
        self.settings: ProcessSettings = settings
        self.error_log: ErrorLog = error_log
        self.log_files: LogFiles = log_files
        self.listens: list[ListenSpec] = []
        self.diagnostics: Diagnostics = Diagnostics()  # its warnings are reported at start and at reload

    def open(self) -> None:
        """Make what workers share (memory, temporary directories), in the supervisor, before the fork.

        Raises ConfigError or OSError, whose text is what the user reads. `log_files` are open already.
        """
        raise NotImplementedError

    def run_worker(self, worker: WorkerContext) -> None:
        """Serve until `on_quit` or `on_term` of `worker` was called, in a child, with privileges dropped."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what `open` acquired, in the supervisor. Also called when `open` raised."""
        raise NotImplementedError

    def reopen(self, user: int = -1) -> None:
        """Open the log files anew on USR1, in supervisor and workers. Lines held back are to be written first."""
        self.log_files.reopen(user, self.error_log)


class LoadFailed(Exception):
    """The configuration is wrong; `diagnostics` has all its mistakes."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        super().__init__("configuration failed")
        self.diagnostics = diagnostics


Load = Callable[[Plan | None], Plan]  # given the plan that runs, if one does; raises LoadFailed
