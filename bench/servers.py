"""The servers that `bench/run.py` measures, the backend behind them, and what /proc says of them."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.processes import NGINX, Process, children, free_port

from bench.pages import page

SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")

# One text for both. What nginx has as its defaults since 1.29.7 (keepalive to upstreams) is written out.
CONFIGURATION = """\
daemon off;
user root;
worker_processes @WORKERS@;
worker_rlimit_nofile 20000;
pid @FOLDER@/run.pid;
error_log @FOLDER@/error.log crit;
events { worker_connections 16384; }
http {
    include @FOLDER@/paths.conf;
    client_body_temp_path @FOLDER@/body;
    proxy_temp_path @FOLDER@/proxy;
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    types { text/html html; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_cache_path @FOLDER@/cache levels=1:2 keys_zone=kept:10m;
    proxy_cache_valid 200 1h;
    upstream backend { server 127.0.0.1:@BACKEND@; keepalive 512; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:@PLAIN@ backlog=4096;
        listen 127.0.0.1:@TLS@ ssl backlog=4096;
        listen 127.0.0.1:@H2@ ssl http2 backlog=4096;
        listen 127.0.0.1:@H2C@ http2 backlog=4096;
        ssl_certificate @ROOT@/cert.pem;
        ssl_certificate_key @ROOT@/cert.key;
        ssl_session_cache off;
        ssl_session_tickets off;
        ssl_protocols TLSv1.2 TLSv1.3;
        root @ROOT@;
        location /small { proxy_pass http://backend; }
        location /added {
            add_header X-Frame-Options SAMEORIGIN;
            add_header Strict-Transport-Security "max-age=31536000" always;
            proxy_pass http://backend/small;
        }
        location /1m.bin { proxy_pass http://backend; }
        location /static/ { alias @ROOT@/; }
        location /gzip/ { gzip on; alias @ROOT@/; }
        location /packed/ { gzip_static on; alias @ROOT@/; }
        location /again/ { gzip on; include @FOLDER@/forms.conf; alias @ROOT@/; }
        location /kept/ { proxy_cache kept; proxy_pass http://backend/; }
        location /many/ { proxy_cache kept; proxy_pass http://backend; }
        location /locked/ {
            proxy_cache kept;
            proxy_cache_lock on;
            proxy_cache_lock_age 30s;
            proxy_cache_lock_timeout 30s;
            proxy_pass http://127.0.0.1:@COUNTED@;
        }
        location /sink { proxy_pass http://backend; }
        location /ws {
            proxy_pass http://127.0.0.1:@ECHO@;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }
    }
    server {
        listen 127.0.0.1:@TLS12@ ssl backlog=4096;
        ssl_certificate @ROOT@/cert.pem;
        ssl_certificate_key @ROOT@/cert.key;
        ssl_session_cache off;
        ssl_session_tickets off;
        ssl_protocols TLSv1.2;
        location /static/ { alias @ROOT@/; }
    }
}
"""
# Eight response header fields: Server, Date, Content-Type, Content-Length, Connection and these three.
BACKEND = """\
daemon off;
user root;
worker_processes 1;
pid @FOLDER@/run.pid;
error_log @FOLDER@/error.log crit;
events { worker_connections 4096; }
http {
    include @FOLDER@/paths.conf;
    client_body_temp_path @FOLDER@/body;
    proxy_temp_path @FOLDER@/proxy;
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    types { text/html html; }
    server {
        listen 127.0.0.1:@PORT@ backlog=4096;
        root @ROOT@;
        location /many/ { rewrite ^ /1k.html break; }
        location /sink { client_max_body_size 1m; return 200 "taken"; }
        location /small {
            add_header Cache-Control "private, max-age=0";
            add_header X-Request-Id 7f0c2b3a9d5e4f61;
            add_header Vary Accept-Encoding;
            default_type text/html;
            return 200 "<!doctype html><title>small</title><p>A small answer from an application.</p>";
        }
    }
}
"""
FORMS = "compression_cache on;\n"  # Portico's own: what nginx compresses for every request is compressed once
NGINX_PATHS = "fastcgi_temp_path @FOLDER@/f;\nuwsgi_temp_path @FOLDER@/u;\nscgi_temp_path @FOLDER@/s;\n"


def fill(text: str, **values: object) -> str:
    """The text with `@NAME@` replaced by each value."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def pinned(core: int, argv: Sequence[str]) -> list[str]:
    return ["taskset", "-c", str(core), *argv]


def make_files(root: Path) -> None:
    """The files that are served, and a certificate for the TLS rows (ECDSA P-256, as most sites have now)."""
    root.mkdir()
    (root / "1k.html").write_bytes(b"x" * 1024)
    (root / "100k.html").write_bytes(page(102400))
    (root / "packed.html").write_bytes(page(102400))
    (root / "packed.html.gz").write_bytes(gzip.compress(page(102400), 9, mtime=0))
    (root / "100k.bin").write_bytes(bytes(range(256)) * 400)
    (root / "64k.bin").write_bytes(bytes(range(256)) * 256)
    (root / "1m.bin").write_bytes(bytes(range(256)) * 4096)
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    subprocess.run(
        [*words.split(), "-keyout", "cert.key", "-out", "cert.pem"], cwd=root, check=True, capture_output=True
    )


class Backend:
    """An nginx with fixed answers and an echo server for the tunnel, both on the load generator's core."""

    def __init__(self, folder: Path, root: Path) -> None:
        folder.mkdir()
        self.port, self.echo_port = free_port(), free_port()
        conf = folder / "nginx.conf"
        (folder / "paths.conf").write_text(fill(NGINX_PATHS, FOLDER=folder))
        conf.write_text(fill(BACKEND, FOLDER=folder, ROOT=root, PORT=self.port))
        argv = [NGINX, "-p", f"{folder}/", "-c", str(conf), "-e", f"{folder}/error.log"]
        self.process = Process(pinned(LOAD_CORE, argv), folder / "output")
        echo = [sys.executable, str(Path(__file__).with_name("echo.py")), str(self.echo_port)]
        self.echo = Process(pinned(LOAD_CORE, echo), folder / "echo.output")
        self.counting = CountingOrigin()
        self.process.wait_listening(self.port)
        self.echo.wait_listening(self.echo_port)

    def stop(self) -> None:
        self.process.stop()
        self.echo.stop()
        self.counting.stop()


class CountingOrigin:
    """Counts the requests that reach it, and answers each only when it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.count = 0
        self.answers = threading.Event()
        self._sock = socket.create_server(("127.0.0.1", self.port), backlog=512)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            seen = b""
            while b"\r\n\r\n" not in seen:
                data = client.recv(8192)
                if not data:
                    return
                seen += data
            self.count += 1
            self.answers.wait(20)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nConnection: close\r\n\r\n" + b"x" * 1024)

    def stop(self) -> None:
        self._sock.close()


class Server:
    """nginx or Portico with one worker on the server's core."""

    def __init__(
        self, name: str, program: Sequence[str], folder: Path, root: Path, backend: Backend, workers: int = 1
    ) -> None:
        self.name = name
        self.folder = folder
        self.filled = False  # its cache holds the many answers
        folder.mkdir()
        self.plain, self.tls, self.tls12 = free_port(), free_port(), free_port()
        self.h2, self.h2c = free_port(), free_port()
        conf = folder / "nginx.conf"
        (folder / "paths.conf").write_text(fill(NGINX_PATHS, FOLDER=folder) if program[0] == NGINX else "")
        (folder / "forms.conf").write_text("" if program[0] == NGINX else FORMS)
        conf.write_text(
            fill(
                CONFIGURATION,
                FOLDER=folder,
                ROOT=root,
                PLAIN=self.plain,
                TLS=self.tls,
                TLS12=self.tls12,
                H2=self.h2,
                H2C=self.h2c,
                BACKEND=backend.port,
                ECHO=backend.echo_port,
                COUNTED=backend.counting.port,
                WORKERS=workers,
            )
        )
        argv = [*program, "-p", f"{folder}/", "-c", str(conf), "-e", f"{folder}/error.log"]
        self.process = Process(pinned(SERVER_CORE, argv), folder / "output")

    def ready(self) -> None:
        self.process.wait_listening(self.plain, self.tls, self.tls12, self.h2, self.h2c)

    def stop(self) -> None:
        self.process.stop()

    def h2_url(self, path: str, tls: bool = True) -> str:
        """The same for HTTP/2, by ALPN or with prior knowledge."""
        return f"https://127.0.0.1:{self.h2}{path}" if tls else f"http://127.0.0.1:{self.h2c}{path}"

    def url(self, path: str, tls: int = 0) -> str:
        """`tls`: 12 for TLS 1.2 only, 13 for what both sides like best."""
        if tls == 0:
            return f"http://127.0.0.1:{self.plain}{path}"
        return f"https://127.0.0.1:{self.tls12 if tls == 12 else self.tls}{path}"

    def workers(self) -> list[int]:
        """The children of the master or supervisor; the process itself when it has none."""
        return children(self.process.pid) or [self.process.pid]

    def cpu(self) -> float:
        """Seconds that the workers spent in user and kernel mode so far."""
        return sum(_cpu(pid) for pid in self.workers())

    def memory(self) -> tuple[int, int]:
        """RSS and PSS of the workers in bytes."""
        rolls = [_memory(pid) for pid in self.workers()]
        return sum(rss for rss, _ in rolls), sum(pss for _, pss in rolls)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _memory(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes["Rss"], sizes["Pss"]
