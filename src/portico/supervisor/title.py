"""What ps(1) shows of our processes, in nginx's words: ``portico: master process portico -c nginx.conf``.

The kernel shows the memory that held the command line when the program started. Python made its own copy of
it long ago, so nothing reads that memory any more, and it may be written over, for its length. The name
that top(1) and ``ps -e`` show is another one, of fifteen bytes. Neither matters so much that a system which
refuses could not be served.
"""

import ctypes
import sys
from typing import Final

MASTER: Final = "master process"
WORKER: Final = "worker process"
LEAVING: Final = "worker process is shutting down"

ARG_START: Final = 47  # fields of /proc/self/stat, counted from 0 (proc(5) counts from 1)
ARG_END: Final = 48


def show(title: str) -> None:
    """Show this process as ``portico: TITLE``; the master with the words of the command, as nginx does."""
    words = f" {_command()}" if title == MASTER else ""
    try:
        if title == MASTER:  # its workers inherit it
            with open("/proc/self/comm", "w") as name:
                name.write("portico")
        start, end = _argument_area()
    except (OSError, ValueError, IndexError):  # no /proc, or not Linux's
        return
    room = end - start
    if start > 0 and room > 1:
        text = f"portico: {title}{words}".encode("utf-8", "surrogateescape")
        # The last byte must stay NUL: else the kernel goes on into the environment.
        ctypes.memmove(start, text[: room - 1].ljust(room, b"\0"), room)


def _command() -> str:
    """Return ``portico -c nginx.conf``, without the Python that runs it."""
    return " ".join(["portico", *sys.argv[1:]])


def _argument_area() -> tuple[int, int]:
    """Return where that memory begins and ends: part of the main thread's stack, there as long as the process is."""
    with open("/proc/self/stat", "rb") as file:
        stat = file.read()
    # The second field is the name in parentheses, which may hold anything.
    fields = [b"", b"", *stat[stat.rindex(b")") + 2 :].split()]
    return int(fields[ARG_START]), int(fields[ARG_END])
