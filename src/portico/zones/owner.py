"""The owner of a row of shared memory: a process, told apart from another one that gets its number later.

The identity is the process's number with its start time (`/proc/PID/stat`, in clock ticks), so what a killed worker left behind
can be recognised as nobody's, also when its number is given out again.
"""

import os
from typing import Final

_START: Final = 0xFFFFFFFF


def own_identity() -> int:
    """Return the identity of this process; never 0, below 2**62."""
    pid = os.getpid()
    return _identity(pid, _start_time(pid))


def is_alive(identity: int) -> bool:
    """Return whether the process of that identity still runs. In doubt, it does."""
    pid = identity >> 32
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no number that a process can have
        return False
    except OSError:
        pass
    start = _start_time(pid)
    return start == 0 or _identity(pid, start) == identity


def _identity(pid: int, start: int) -> int:
    return pid << 32 | (start & _START)


def _start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since the system did; 0 when it cannot be read."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        text = os.read(fd, 4096)
    except OSError:
        return 0
    finally:
        os.close(fd)
    fields = text[text.rfind(b")") + 1 :].split()  # the name before may hold anything
    return int(fields[19]) if len(fields) > 19 else 0
