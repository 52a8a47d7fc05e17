"""Going to the background: the command returns 0 once the supervisor is up, or 1 when that failed."""

import os
from typing import Final, final

from portico.supervisor.worker import leave

UP: Final = b"up"
NULL_DEVICE: Final = "/dev/null"


@final
class Daemon:
    """The detached process's side; `up` lets the command return."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def up(self) -> None:
        """Let the command return 0: everything serves."""
        os.write(self._pipe, UP)
        os.close(self._pipe)


def detach() -> Daemon:
    """Return in a grandchild of its own session. The caller's process waits for it, then ends.

    stdin and stdout are let go here, before a worker can inherit them; stderr stays until all is up.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        word = os.read(reading, len(UP))  # empty when the grandchild ended without a word
        leave(0 if word == UP else 1)
    os.close(reading)
    os.setsid()
    if os.fork():
        # No session leader is left, so no terminal can ever become ours.
        leave(0)
    null = os.open(NULL_DEVICE, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if null > 2:
        os.close(null)
    return Daemon(writing)
