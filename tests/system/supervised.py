"""One supervised echo server as tests see it: its configuration, its log, its answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.processes import Process, children, free_port, pid_in, text_of, wait_until

PROGRAM = Path(__file__).with_name("supervised_echo.py")


class Supervised:
    """Starts `supervised_echo.py` in a directory. `pid` is the supervisor's, also after an upgrade."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.port = free_port()
        self.log_path = prefix / "logs" / "error.log"
        self.pid_path = prefix / "logs" / "portico.pid"
        self.main = "worker_processes 2; user root root;"
        self.started: list[int] = []
        self.process: Process | None = None
        (prefix / "logs").mkdir(exist_ok=True)
        self.configure()

    def configure(self, word: str = "one", extra: str = "", listen: str = "") -> None:
        listen = listen or f"listen 127.0.0.1:{self.port};"
        text = (
            f"{self.main}\nerror_log logs/error.log notice;\nword {word};\n{listen}\n{extra}\nevents {{}}\n"
        )
        (self.prefix / "conf").write_text(text)

    def start(self) -> Supervised:
        self.process = Process(self.argv(), self.prefix / "output")
        self.await_pid()
        wait_until(self.serves, what="the first answer")
        return self

    def argv(self, *more: str) -> list[str]:
        return [sys.executable, str(PROGRAM), str(self.prefix), *more]

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, as for an error or `-s`."""
        return subprocess.run(self.argv(*more), capture_output=True, text=True, timeout=20)

    def await_pid(self) -> int:
        def read() -> int:
            assert self.process is None or self.process.alive(), self.process.output()
            return pid_in(self.pid_path)

        pid = wait_until(read, what="pid file")
        self.started.append(pid)
        return pid

    @property
    def pid(self) -> int:
        return self.started[-1]

    def signal(self, number: int, pid: int = 0) -> None:
        os.kill(pid or self.pid, number)

    def workers(self) -> list[int]:
        return children(self.pid)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def ask(self, question: str = "hi") -> list[str]:
        """The words of the answer."""
        with self.connect() as client:
            return say(client, question)

    def serves(self, word: str = "") -> bool:
        try:
            answer = self.ask()
        except OSError:
            return False
        return not word or answer[:1] == [word]

    def log(self) -> str:
        return text_of(self.log_path)

    def await_log(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.log().count(text) >= times, what=f"{text!r} in\n{self.log()}")

    def descriptors(self, pid: int = 0) -> int:
        return len(os.listdir(f"/proc/{pid or self.pid}/fd"))

    def stop(self) -> None:
        for pid in self.started:
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
        if self.process is not None:
            self.process.stop()
        for pid in self.started:
            wait_until(lambda pid=pid: not alive(pid), what=f"the end of {pid}")


def say(client: socket.socket, question: str) -> list[str]:
    client.sendall(question.encode() + b"\n")
    return client.recv(4096).decode().split()


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    """Whether nothing is left of it, not even a zombie."""
    return not Path(f"/proc/{pid}").exists()
