"""The table of worker processes: start, tell, reap, and start again those that died."""

import errno
import fcntl
import os
import sys
import time
from typing import Final, final

from portico.errorlog import ALERT, NOTICE, failed_call
from portico.supervisor import garbage
from portico.supervisor import worker as child
from portico.supervisor.plan import Plan, WorkerContext
from portico.supervisor.report import Report
from portico.supervisor.sockets import Sockets

SHORT_LIFE: Final = 2.0  # seconds; a worker that dies younger may be about to do so again
FIRST_DELAY: Final = 0.1  # seconds before the second try; doubled each time
LONGEST_DELAY: Final = 5.0


@final
class Worker:
    """One worker process. `generation` counts configurations, `ready` is set once it serves."""

    def __init__(self, pid: int, number: int, generation: int) -> None:
        self.pid = pid
        self.number = number
        self.generation = generation
        self.born = time.monotonic()
        self.ready = False
        self.leaving = False  # told to go: nothing replaces it


@final
class Workers:
    """All worker processes of this supervisor, those of the last configuration and those on their way out.

    Two pipes go to every worker: the *lifeline*, which reads as closed once the supervisor is gone however
    it died, and the *ready pipe*, where it says that it serves. That one raises SIGIO here, so the
    supervisor waits for signals only.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.alive: dict[int, Worker] = {}
        self.generation = 0
        self.due: dict[int, float] = {}  # number of the worker to start again → when
        self._short_lives: dict[int, int] = {}
        self._lifeline, self._life = os.pipe()
        self._ready, self._ready_end = os.pipe()
        os.set_blocking(self._ready, False)
        fcntl.fcntl(self._ready, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._ready, fcntl.F_SETFL, fcntl.fcntl(self._ready, fcntl.F_GETFL) | os.O_ASYNC)

    def start(self, plan: Plan, sockets: Sockets) -> None:
        """Start a generation: all workers of a plan."""
        self.generation += 1
        self.due.clear()
        self._short_lives.clear()
        self.report.write(NOTICE, "start worker processes")
        for number in range(plan.settings.worker_processes):
            self._start_one(plan, sockets, number)

    def start_due(self, plan: Plan, sockets: Sockets) -> None:
        """Start those whose time to be replaced has come."""
        now = time.monotonic()
        for number in [number for number, when in self.due.items() if when <= now]:
            del self.due[number]
            self._start_one(plan, sockets, number)

    def _start_one(self, plan: Plan, sockets: Sockets, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:
            self.report.write(ALERT, failed_call("fork()", error) + ' while spawning "worker process"')
            self.due[number] = time.monotonic() + LONGEST_DELAY
            return
        if pid == 0:
            garbage.freeze()
            code = child.EXIT_CRASHED
            try:
                code = child.run(plan, self._context(plan, sockets, number))
            finally:
                child.leave(code)
        self.alive[pid] = Worker(pid, number, self.generation)
        self.report.write(NOTICE, f"start worker process {pid}")

    def _context(self, plan: Plan, sockets: Sockets, number: int) -> WorkerContext:
        """Return the worker's context, in the child: keep its own ends and sockets, close the rest."""
        listeners = sockets.of_worker(number)
        sockets.close_others(listeners)
        os.close(self._life)
        os.close(self._ready)
        context = WorkerContext(number, listeners, plan.settings, plan.error_log)
        context.on_reopen = plan.reopen
        context.lifeline = self._lifeline
        context.on_ready = self._say_ready
        return context

    def _say_ready(self) -> None:
        """Tell the supervisor that this worker serves, in the child."""
        os.write(self._ready_end, f"{os.getpid()}\n".encode())
        os.close(self._ready_end)

    def read_ready(self) -> None:
        """Take note of workers that serve now."""
        try:
            pids = os.read(self._ready, 65536).split()
        except BlockingIOError:
            return
        for pid in pids:
            found = self.alive.get(int(pid))
            if found is not None:
                found.ready = True

    def current(self) -> list[Worker]:
        """Return those of the last generation that are not told to go."""
        return [worker for worker in self.alive.values() if self._is_current(worker)]

    def _is_current(self, worker: Worker) -> bool:
        return worker.generation == self.generation and not worker.leaving

    def older(self) -> list[Worker]:
        """Return those of earlier generations that are not told to go yet."""
        return [w for w in self.alive.values() if w.generation < self.generation and not w.leaving]

    def all_ready(self) -> bool:
        """Return whether the whole last generation serves."""
        return not self.due and all(worker.ready for worker in self.current())

    def dismiss(self, workers: list[Worker], number: int) -> None:
        """Tell them to go; none of them is replaced when it is dead."""
        for worker in workers:
            worker.leaving = True
        self.tell(workers, number)

    def dismiss_all(self, number: int) -> None:
        """Tell everyone to go."""
        self.due.clear()
        self.dismiss(list(self.alive.values()), number)

    def tell(self, workers: list[Worker], number: int) -> None:
        """Send a signal."""
        for worker in workers:
            try:
                os.kill(worker.pid, number)
            except OSError as error:
                if error.errno != errno.ESRCH:  # dead, and reaped soon
                    self.report.write(ALERT, failed_call(f"kill({worker.pid}, {number})", error))

    def died(self, pid: int, status: int) -> bool:
        """Take note of a death; False: it was no worker of ours."""
        worker = self.alive.pop(pid, None)
        if worker is None:
            return False
        fatal = os.WIFEXITED(status) and os.WEXITSTATUS(status) == child.EXIT_FATAL
        respawn = self._is_current(worker) and not fatal
        tell_death(self.report, "worker process", pid, status, cannot_respawn=fatal and not worker.leaving)
        if respawn:
            self.due[worker.number] = time.monotonic() + self._delay(worker)
        return True

    def _delay(self, worker: Worker) -> float:
        """Return the seconds to wait: none for the first death, then more and more while it keeps dying young."""
        if time.monotonic() - worker.born > SHORT_LIFE:
            self._short_lives.pop(worker.number, None)
            return 0.0
        deaths = self._short_lives[worker.number] = self._short_lives.get(worker.number, 0) + 1
        return 0.0 if deaths == 1 else min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(deaths - 2, 10))

    def close(self) -> None:
        """Close the pipes."""
        for fd in (self._lifeline, self._life, self._ready, self._ready_end):
            os.close(fd)


def tell_death(report: Report, name: str, pid: int, status: int, cannot_respawn: bool = False) -> None:
    """Log how a child ended, in nginx's words."""
    if os.WIFSIGNALED(status):
        core = " (core dumped)" if os.WCOREDUMP(status) else ""
        report.write(ALERT, f"{name} {pid} exited on signal {os.WTERMSIG(status)}{core}")
    elif cannot_respawn:
        report.write(
            ALERT, f"{name} {pid} exited with fatal code {os.WEXITSTATUS(status)} and cannot be respawned"
        )
    else:
        report.write(NOTICE, f"{name} {pid} exited with code {os.WEXITSTATUS(status)}")
