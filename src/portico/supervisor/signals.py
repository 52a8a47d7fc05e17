"""The supervisor's signals, fetched one by one: they stay blocked and are waited for with sigtimedwait(2).

So no handler interrupts anything, no signal is lost between a test and a wait, and the kernel tells who
sent it. What each of them does is the table `Supervisor._actions` (supervisor.py): SIGHUP, `_reconfigure`. In
the single process of `master_process off` it is `single.py`.
"""

import signal
from typing import Final, final

HANDLED: Final = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGCHLD,
        signal.SIGIO,
    }
)
# Unblocked in a worker only once its loop can handle them (`WorkerContext.attach`).
OF_WORKERS: Final = frozenset(
    {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGWINCH}
)
SI_USER: Final = 0  # si_code of kill(2), against SI_KERNEL for what the terminal sends


@final
class Received:
    """One signal. `sender` is 0 when the kernel sent it, `by_process` tells a kill(2) from a terminal."""

    def __init__(self, number: int, sender: int, by_process: bool) -> None:
        self.number = number
        self.sender = sender
        self.by_process = by_process

    def describe(self, action: str = "") -> str:
        """Return nginx's log line: ``signal 1 (SIGHUP) received from 123, reconfiguring``."""
        origin = f" from {self.sender}" if self.sender else ""
        number = signal.Signals(self.number)
        # Python knows 29 as SIGPOLL too; nginx says SIGIO.
        name = "SIGIO" if number == signal.SIGIO else number.name
        return f"signal {self.number} ({name}) received{origin}{action}"


def block() -> None:
    """Hold the signals back until `wait` fetches them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def unblock() -> None:
    """Unblock the signals in a process that is about to become another program."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def wait(seconds: float | None) -> Received | None:
    """Return the next signal, or None after that many seconds (None: no limit)."""
    found: signal.struct_siginfo | None
    try:
        found = (
            signal.sigwaitinfo(HANDLED)
            if seconds is None
            else signal.sigtimedwait(HANDLED, max(seconds, 0.0))
        )
    except InterruptedError:
        return None
    if found is None:
        return None
    # For SIGIO the field that holds the sender holds something else.
    sender = 0 if found.si_signo == signal.SIGIO else found.si_pid
    return Received(found.si_signo, sender, found.si_code == SI_USER)
