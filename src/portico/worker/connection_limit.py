"""How many connections a worker may have: `worker_connections`, or fewer where it may not open so many files.

This is the number; what gives way when it is reached is decided in `net/room.py`, and what is closed is `Runtime.close_idle`.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Final

from portico.errorlog import NOTICE

if TYPE_CHECKING:
    from portico.worker.runtime import Runtime

_NO_LIMIT: Final = 1 << 30
_MOST_RESERVED: Final = 1024  # descriptors
_LEAST: Final = 4  # connections
_MOST_PIPES: Final = 512


def limit_connections(runtime: Runtime, listening: int) -> None:
    """Set the limit, besides `listening` sockets. Call it when the process has its own limits and its files.

    A part of the descriptors stays for the files of requests, temporary files, logs and pipes.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        files = _NO_LIMIT
    reserve = min(max(files // 8, 16), _MOST_RESERVED)
    within_files = max(files - len(os.listdir("/proc/self/fd")) - reserve, _LEAST)
    wanted = runtime.worker_connections
    room = runtime.reactor.room
    if wanted <= within_files:
        room.set_limit(wanted + listening, f"{wanted} worker_connections")
    else:
        reason = f"{within_files} connections, all that {files} open files (worker_rlimit_nofile) leave room for"
        room.set_limit(within_files + listening, f"{reason},")
        runtime.error_log.write(NOTICE, f"{wanted} worker_connections are lowered to {reason}")
    runtime.reactor.pipes.most = min(max(files // 32, 2), _MOST_PIPES)
