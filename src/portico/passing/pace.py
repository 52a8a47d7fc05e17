"""`*_limit_rate`: reading a response from its upstream no faster than so many bytes a second.

nginx's arithmetic (ngx_event_pipe_read_upstream), which `limit_rate` has towards clients (http/pace.py): after t seconds
rate × (t + 1) bytes of the body may have been read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.codec.errors import shown
from portico.config import values
from portico.errorlog import ERR
from portico.net.reactor import SUSPEND, Reactor, Suspend, Task
from portico.net.timers import Timed

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.variables.template import Template


@final
class ReadPace(Timed):
    """The allowance of one response's body. `received`: bytes of it that came with its header section."""

    def __init__(self, reactor: Reactor, rate: int, received: int) -> None:
        super().__init__()
        self._reactor = reactor
        self._rate = rate  # bytes a second
        self._started = reactor.now
        self._received = received
        self._task: Task | None = None  # that waits for the next byte to be allowed

    def allowed(self) -> int:
        """Return how many bytes may be read now; 0 or fewer: none."""
        return int(self._rate * (self._reactor.now - self._started + 1.0)) - self._received

    def count(self, received: int) -> None:
        """Count bytes that were read."""
        self._received += received

    def wait(self) -> Suspend:
        """Wait until another byte may be read: `await pace.wait()`. It never times out: nothing is expected meanwhile."""
        reactor = self._reactor
        self._task = reactor.current
        seconds = (1 - self.allowed()) / self._rate
        reactor.timers.set(self, reactor.now + max(seconds, 0.001))
        return SUSPEND

    def stop_waiting(self) -> None:
        """Leave the wait: for a coroutine that waited for something else, too."""
        self._task = None
        self._reactor.timers.forget(self)

    def on_deadline(self, now: float) -> None:
        """See Timed.on_deadline."""
        task = self._task
        if task is not None:
            self._task = None
            task.resume()


def read_pace(limit: Template, request: Request, received: int) -> ReadPace | None:
    """Return the pace of a response whose header section has come; None: full speed."""
    text = limit.render(request).decode("latin-1")
    rate = values.size_of(text)
    if rate is None and text:
        request.log_error(ERR, f'invalid size "{shown(text.encode("latin-1"))}" in "{limit.text}"')
    return ReadPace(request.reactor, rate, received) if rate else None
