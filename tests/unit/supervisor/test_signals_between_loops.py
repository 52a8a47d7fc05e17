"""With `master_process off` one loop follows another: a signal that comes between them has its effect."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
from tests.unit.supervisor.conftest import Configure

from portico.errorlog import ErrorLog, LogFiles
from portico.supervisor.plan import WorkerContext
from portico.supervisor.settings import ProcessSettings


def in_a_child(check: Callable[[], bool]) -> bool:
    """In a process of its own, for signal handlers belong to a process."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if check() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("before_detach", [True, False])
def test_a_signal_after_the_last_turn_of_a_loop(configure: Configure, before_detach: bool) -> None:
    settings = ProcessSettings(configure("events {}"))

    def check() -> bool:
        context = WorkerContext(0, [], settings, ErrorLog([], LogFiles()))
        first = asyncio.new_event_loop()
        context.attach(first)
        first.run_until_complete(asyncio.sleep(0))
        if before_detach:
            os.kill(os.getpid(), signal.SIGTERM)
        context.detach()
        if before_detach:
            return context.terminating and first.is_closed()
        os.kill(os.getpid(), signal.SIGTERM)
        following = WorkerContext(0, [], settings, ErrorLog([], LogFiles()))
        second = asyncio.new_event_loop()
        following.on_term = second.stop
        following.attach(second)
        second.run_forever()  # until the handler of the signal stops it
        return following.terminating and not context.terminating

    assert in_a_child(check)
