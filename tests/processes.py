"""Start, watch and stop the processes that tests talk to.

Every process is ended by the pid that started it; ports lie outside the kernel's ephemeral range, so that an
outgoing connection can never take one between the moment it is chosen and the moment it is bound.
"""

from __future__ import annotations

import gc
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

NGINX = "/usr/sbin/nginx"
PORTICO = (sys.executable, "-m", "portico")
FIRST_PORT, LAST_PORT = 15000, 32000  # five digits each: a masked port never changes a Content-Length

_given: set[int] = set()
_random = random.Random(os.getpid() ^ time.time_ns())


def free_port() -> int:
    """A TCP port on which nothing listens, never given twice by one test process, nor by two of one run."""
    share, shares = _share()
    for _ in range(1000):
        port = _random.randrange(FIRST_PORT + share, LAST_PORT, shares)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port between 15000 and 32000")


def _share() -> tuple[int, int]:
    """Which part of the ports is this process's among how many: tests that run beside each other take from different ones."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return int(number), max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), int(number) + 1)


def wait_until(condition: Callable[[], T], seconds: float = 10.0, what: str = "condition") -> T:
    """The first true value of `condition`, asked again and again; AssertionError once the deadline has
    passed.
    """
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def text_of(path: Path) -> str:
    """The text of a file that another process writes, renames or removes; empty while it is not there."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def pid_in(path: Path) -> int:
    """The pid in a pid file; 0 while the file is not there or not yet written."""
    return int(text_of(path).strip() or "0")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that sleeps meanwhile, and finds all that has happened at once."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", what="the sleep of a process")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def exempt_from_collections() -> None:
    """Free what is garbage, and let no later collection look at what there is now: with 11,000 tests each takes half a second."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def open_descriptors() -> int:
    """How many descriptors this process has open, without those of what is garbage: an earlier test's may go at any time."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def children(pid: int) -> list[int]:
    """The pids of a process's own children, as /proc tells them."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Process:
    """A child process with its output in a file; a context manager that stops it."""

    def __init__(
        self,
        argv: Sequence[str],
        output: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = list(argv)
        self.output_path = output
        with output.open("ab") as sink:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def alive(self) -> bool:
        return self._popen.poll() is None

    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def wait(self, seconds: float = 10.0) -> int:
        """The exit code, once there is one (Popen's own wait would look for it every 50 ms)."""
        if self.alive():
            descriptor = os.pidfd_open(self.pid)
            try:
                select.select([descriptor], [], [], seconds)
            finally:
                os.close(descriptor)
        return self._popen.wait(0)

    def send(self, number: int) -> None:
        if self.alive():
            self._popen.send_signal(number)

    def wait_listening(self, *ports: int, seconds: float = 15.0) -> None:
        """Return once every port accepts; fail at once, with what it printed, if the process ends before."""

        def ready() -> bool:
            if not self.alive():
                raise AssertionError(
                    f"{' '.join(self.argv)} ended with {self._popen.returncode}:\n{self.output()}"
                )
            return all(listening(port) for port in ports)

        wait_until(ready, seconds, f"{self.argv[0]} listening on {ports}")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 5.0) -> int:
        """End it with the signal, then with SIGKILL (its children too, which a killed supervisor would
        leave).
        """
        self.send(number)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            orphans = children(self.pid)
            self._popen.kill()
            code = self._popen.wait()
            for pid in orphans:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return code

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def nginx(prefix: Path, conf: Path) -> Process:
    """nginx in the foreground (the configuration says `daemon off;`), writing only below `prefix`."""
    return Process(
        [NGINX, "-p", f"{prefix}/", "-c", str(conf), "-e", f"{prefix}/error.log"], prefix / "output"
    )


def portico(prefix: Path, conf: Path) -> Process:
    """Portico in the foreground, from the same Python as the tests."""
    return Process(
        [*PORTICO, "-p", f"{prefix}/", "-c", str(conf), "-e", f"{prefix}/error.log"], prefix / "output"
    )


def portico_says(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, seconds: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """`portico WORDS` to its end, in a process forked off this one: what it would import, this one has already."""
    from portico import cli, program  # noqa: F401

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os._exit(_say(cli.main, list(words), out.fileno(), err.fileno(), cwd, env or {}))
        descriptor = os.pidfd_open(pid)
        try:
            if not select.select([descriptor], [], [], seconds)[0]:
                os.kill(pid, signal.SIGKILL)
        finally:
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(words, code, out.read().decode(), err.read().decode())


def _say(
    main: Callable[[list[str]], int], words: list[str], out: int, err: int, cwd: Path | None, env: Mapping[str, str]
) -> int:
    """In the child: with standard streams of its own, as a new process would have them; its exit code."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.environ.update(env)
        if cwd is not None:
            os.chdir(cwd)
        code = main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code
