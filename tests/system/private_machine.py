"""A private mount and network namespace: ports 80 and 443, /etc, /var and /run that are nobody else's.

What is written to /etc and /var goes to an overlay in memory; /run is empty; the only network is loopback. All of it is
gone with the process that holds the namespaces, which ends when its standard input does.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import pytest
from tests.processes import Process, wait_until

from portico.net.certificates import self_signed

APPS = Path(__file__).with_name("apps")
EXAMPLES = Path(__file__).parents[2] / "examples"
CLONE_NEWNET = 0x40000000

# Debian's own hosts file: `localhost` has two addresses, and most applications listen on one of them.
HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

SETUP = """
ip link set lo up
mount -t tmpfs -o mode=755 private /run
for name in etc var; do
    mkdir -p /run/private/$name /run/private/work-$name
    mount -t overlay -o lowerdir=/$name,upperdir=/run/private/$name,workdir=/run/private/work-$name private /$name
done
mkdir -p /etc/portico/logs /var/log/portico /var/www/example.com
echo ready
exec cat
"""


class PrivateMachine:
    """Runs programs in the namespaces and stops them; `root` is its file system as seen from outside."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory  # for what the programs print
        self.processes: list[Process] = []
        self._begun: list[tuple[Process, tuple[int, ...]]] = []
        missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
        if missing:
            pytest.skip(f"needs {', '.join(missing)} for a private mount and network namespace")
        if os.geteuid() != 0:
            pytest.skip("needs root for a private mount and network namespace")
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--fork", "--kill-child", "sh", "-ec", SETUP],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            reason = self._holder.communicate()[1].strip()
            pytest.skip(f"private mount and network namespaces are not permitted here: {reason}")
        self.root = Path(f"/proc/{self._holder.pid}/root")
        self.write("/etc/hosts", HOSTS)

    def __enter__(self) -> PrivateMachine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in reversed(self.processes):
            process.send(signal.SIGTERM)
        for process in reversed(self.processes):
            process.stop()
        self._holder.communicate(timeout=10)

    # -- files

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def write(self, name: str, content: str | bytes) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def lets_encrypt(self, *names: str) -> Path:
        """What certbot leaves behind for a name (links into `archive`); the path of a CA file for clients."""
        certificate, key = self_signed(list(names), 90)
        for name, content in (("fullchain", certificate), ("privkey", key)):
            self.write(f"/etc/letsencrypt/archive/{names[0]}/{name}1.pem", content)
            link = self.path(f"/etc/letsencrypt/live/{names[0]}/{name}.pem")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"../../archive/{names[0]}/{name}1.pem")
        authority = self.directory / "ca.pem"
        authority.write_bytes(certificate)
        return authority

    # -- processes

    def command(self, *words: str) -> list[str]:
        return ["nsenter", "--target", str(self._holder.pid), "--mount", "--net", "--", *words]

    def run(self, *words: str, seconds: float = 20) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=seconds)

    def start(self, *words: str, ports: tuple[int, ...] = (), env: Mapping[str, str] | None = None) -> Process:
        """Start a program that stops with the machine; returns when it, and all that was begun before, listens on its ports."""
        process = self.begin(*words, ports=ports, env=env)
        for started, awaited in self._begun:
            self._await(started, awaited)
        self._begun.clear()
        return process

    def begin(self, *words: str, ports: tuple[int, ...] = (), env: Mapping[str, str] | None = None) -> Process:
        """Start a program for which the next `start` waits, so that several come up at once."""
        process = Process(self.command(*words), self.directory / f"output-{len(self.processes)}", env=env)
        self.processes.append(process)
        self._begun.append((process, ports))
        return process

    def _await(self, process: Process, ports: tuple[int, ...]) -> None:
        def ready() -> bool:
            assert process.alive(), f"{process.argv} ended:\n{process.output()}"
            return all(self.listening(port) for port in ports)

        wait_until(ready, 20, f"{process.argv} listening on {ports}")

    def portico(self, example: str, *ports: int) -> Process:
        """Portico as one starts it when the configuration lies at its place: without any option."""
        self.write("/etc/portico/nginx.conf", (EXAMPLES / example / "nginx.conf").read_bytes())
        return self.start(sys.executable, "-m", "portico", ports=ports)

    # -- network

    def connect(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        """A connection from inside: a socket belongs to the namespace that it was made in."""
        return self._inside(lambda: socket.create_connection((host, port), timeout=10))

    def listening(self, port: int) -> bool:
        try:
            self.connect(port).close()
        except OSError:
            return False
        return True

    def _inside(self, action: Callable[[], socket.socket]) -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)
        try:
            if libc.setns(inside, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return action()
            finally:
                assert libc.setns(outside, CLONE_NEWNET) == 0
        finally:
            os.close(inside)
            os.close(outside)
