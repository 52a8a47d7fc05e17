"""The site of the soak: Portico with two workers in front of two origins, and what its processes use."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from tests.processes import Process, children, free_port, portico, wait_until
from tests.system.soak_content import content

from portico.net.certificates import self_signed

ROOT = Path(__file__).parents[2]
WORKERS = 2
BACK = 1.5  # seconds from when a killed origin listens again until it must be used again: fail_timeout, and some time to notice
GONE = 10.0  # seconds after the last client has left in which old workers end: none has anything more to do
FILES = ("file-100-1", "file-9000-2", "file-1500000-3")
CONF = """\
daemon off;
user root;
worker_processes {workers};
pid {folder}/run.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 2048; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    proxy_cache_path {folder}/cache keys_zone=cache:1m max_size=20m;
    default_type text/plain;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_connect_timeout 2s;
    upstream app {{
        zone app 64k;
        server 127.0.0.1:{one} max_fails=1 fail_timeout=1s;
        server 127.0.0.1:{two} max_fails=1 fail_timeout=1s;
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/cert.key;
        ssl_session_cache shared:tls:1m;
        client_max_body_size 8m;
        location = /generation {{ return 200 {generation}; }}
        location /buffered/ {{ proxy_buffers 4 8k; proxy_pass http://app; }}
        location /direct/ {{ proxy_buffering off; proxy_pass http://app; }}
        location /stream/ {{ proxy_request_buffering off; proxy_pass http://app; }}
        location /gzip/ {{ gzip on; proxy_pass http://app; }}
        location /cached/ {{
            proxy_cache cache;
            proxy_cache_lock on;
            proxy_cache_use_stale updating error timeout;
            proxy_pass http://app;
        }}
        location /tunnel/ {{ proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://app; }}
        location /files/ {{ alias {folder}/files/; }}
        location /gzipped/ {{ gzip on; alias {folder}/files/; }}
    }}
}}
"""


@dataclass(frozen=True)
class Use:
    """What a process uses: resident memory in KB, and descriptors."""

    memory: int
    descriptors: int


def use_of(pid: int) -> Use:
    """What it uses now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Use(pages * os.sysconf("SC_PAGE_SIZE") // 1024, len(os.listdir(f"/proc/{pid}/fd")))


class SoakSite:
    """Starts everything; `outages` are the times in which an origin was away, and requests may fail for it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
        self.http, self.tls = free_port(), free_port()
        self.origin_ports = (free_port(), free_port())
        self.outages: list[tuple[float, float]] = []
        self.generation = 0
        certificate, key = self_signed(["localhost"], 1)
        (self.folder / "cert.pem").write_bytes(certificate)
        (self.folder / "cert.key").write_bytes(key)
        (self.folder / "files").mkdir()
        for name in FILES:
            (self.folder / "files" / name).write_bytes(content(name))
        self.origins = [self._start_origin(port) for port in self.origin_ports]
        self._configure()
        self.process = portico(self.folder, self.folder / "nginx.conf")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def ready(self) -> SoakSite:
        """Waits until all of it serves."""
        self.process.wait_listening(self.http, self.tls, *self.origin_ports)
        wait_until(lambda: len(self.workers()) == WORKERS, what="the workers")
        return self

    def _start_origin(self, port: int) -> Process:
        return Process([sys.executable, "-m", "tests.system.soak_origin", str(port)], self.folder / "origins", cwd=ROOT)

    def _configure(self) -> None:
        self.generation += 1
        one, two = self.origin_ports
        text = CONF.format(
            folder=self.folder, workers=WORKERS, one=one, two=two, http=self.http, tls=self.tls, generation=self.generation
        )
        (self.folder / "nginx.conf").write_text(text)

    def connect(self, secure: bool, patience: float) -> socket.socket:
        """A connection of a client."""
        sock = socket.create_connection(("127.0.0.1", self.tls if secure else self.http), timeout=patience)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(sock, server_hostname="localhost") if secure else sock

    # -- trouble -------------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Asks for a reload; returns at once."""
        self._configure()
        self.process.send(signal.SIGHUP)

    def kill_origin(self, number: int, away: float) -> None:
        """Kills an origin, starts it again after a while, and notes for how long requests may fail."""
        at = len(self.outages)
        self.outages.append((time.monotonic(), float("inf")))
        self.origins[number].stop(signal.SIGKILL)
        time.sleep(away)
        self.origins[number] = self._start_origin(self.origin_ports[number])
        self.origins[number].wait_listening(self.origin_ports[number])
        self.outages[at] = (self.outages[at][0], time.monotonic() + BACK)

    def was_away(self, began: float, ended: float) -> bool:
        """Whether an origin was away at some time between."""
        return any(start <= ended and began <= end for start, end in list(self.outages))

    # -- what is left --------------------------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """Pids, those of old generations that still serve too."""
        return sorted(children(self.process.pid))

    def settle(self) -> dict[int, Use]:
        """Waits until old workers and connections are gone; returns what the supervisor (its pid is first) and the workers use."""
        wait_until(lambda: len(self.workers()) == WORKERS, GONE, "the end of the old workers, whose clients have left")
        pids = [self.process.pid, *self.workers()]
        wait_until(lambda: not self._connected(), 10, "the end of the clients' connections")
        return {pid: use_of(pid) for pid in pids}

    def _connected(self) -> bool:
        """Whether a client's connection is open."""
        ports = {f"{self.http:04X}", f"{self.tls:04X}"}
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(words[1].rpartition(":")[2] in ports and words[3] in ("01", "08") for words in lines)

    def log(self) -> str:
        return (self.folder / "error.log").read_text(errors="replace")

    def stop(self) -> list[str]:
        """Ends everything; says what was left over or went wrong."""
        workers = self.workers()
        code = self.process.stop(signal.SIGQUIT, 20)
        found = [f"exit code {code}"] if code else []
        found += [f"worker {pid} is left over" for pid in workers if Path(f"/proc/{pid}").exists()]
        found += [line for line in self.log().splitlines() if "[alert]" in line or "internal error" in line or "[emerg]" in line]
        if "Traceback" in self.process.output():
            found.append(self.process.output()[-2000:])
        for origin in self.origins:
            origin.stop(signal.SIGKILL)
        rmtree(self.folder, ignore_errors=True)
        return found
