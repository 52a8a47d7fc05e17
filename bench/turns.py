"""How long others wait while one client has 50 MB compressed: `python bench/turns.py`.

One worker on core 0. While an answer is compressed at one of the levels below, another connection asks for a short answer again and
again from core 1; its waits are shown, with the worker's memory. The text is random words, and random letters of an alphabet of two,
which takes the libraries longest. The waits hold what the kernel and the load generator take, which share core 1 with the download;
what a turn of the worker takes of the processor, a test measures (tests/unit/features/test_compression_bodies.py).
"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.processes import PORTICO, Process, children, free_port  # noqa: E402

from bench.servers import LOAD_CORE, SERVER_CORE, pinned  # noqa: E402

SIZE = 50 << 20
SECONDS = 4.0  # of each row, if it takes so long
CASES = (
    ("nothing", "", ""), ("gzip 1", "gzip", "gzip on; gzip_comp_level 1;"), ("gzip 6", "gzip", "gzip on; gzip_comp_level 6;"),
    ("gzip 9", "gzip", "gzip on; gzip_comp_level 9;"), ("brotli 4", "br", "brotli on; brotli_comp_level 4;"),
    ("brotli 6", "br", "brotli on;"), ("brotli 11", "br", "brotli on; brotli_comp_level 11;"),
    ("zstd 3", "zstd", "zstd on; zstd_comp_level 3;"), ("zstd 19", "zstd", "zstd on; zstd_comp_level 19;"),
)  # fmt: skip


def configuration(folder: Path, port: int) -> str:
    places = "\n".join(
        f"location /{number}/ {{ {text} alias {folder}/; }}" for number, (_, _, text) in enumerate(CASES)
    )
    return (
        f"daemon off; user root; worker_processes 1; pid {folder}/run.pid; error_log {folder}/error.log; events {{ }}\n"
        f"http {{ access_log off; types {{ text/html html; }} client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"keepalive_requests 1000000; server {{ listen 127.0.0.1:{port}; {places} location = /quick {{ return 200 quick; }} }} }}\n"
    )


def make_texts(folder: Path) -> None:
    """Two files of 50 MB."""
    rng = random.Random(1)
    words = re.findall(r"\S+", (ROOT / "ARCHITECTURE.md").read_text())
    piece = " ".join(rng.choices(words, k=1_000_000)).encode()
    for name, data in (("words.html", piece), ("letters.html", bytes(rng.choices(b"01", k=5_000_000)))):
        with (folder / name).open("wb") as file:
            while file.tell() < SIZE:
                file.write(data)


class Download(threading.Thread):
    """A client that takes the large answer, and reads on until it is told to stop."""

    def __init__(self, port: int, target: str, coding: str) -> None:
        super().__init__(daemon=True)
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n".encode())

    def run(self) -> None:
        try:
            while self.sock.recv(1 << 20):
                pass
        except OSError:
            pass


def waits(port: int, download: Download | None) -> list[float]:
    """Seconds that each short answer took."""
    found: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and (download is None or download.is_alive()):
            started = time.perf_counter()
            sock.sendall(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
            while b"quick" not in sock.recv(4096):
                pass
            found.append(time.perf_counter() - started)
            time.sleep(0.001)
    return sorted(found)


def memory(pid: int) -> float:
    """Megabytes of the worker's RSS."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="turns-", dir="/tmp"))
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        make_texts(folder)
        port = free_port()
        conf = folder / "nginx.conf"
        conf.write_text(configuration(folder, port))
        argv = pinned(SERVER_CORE, [*PORTICO, "-p", f"{folder}/", "-c", str(conf), "-e", f"{folder}/error.log"])
        with Process(argv, folder / "output") as process:
            process.wait_listening(port)
            worker = (children(process.pid) or [process.pid])[0]
            print("| | text | median, ms | 99 of 100, ms | longest, ms | memory, MB |\n|---|---|---|---|---|---|")
            for number, (name, coding, _) in enumerate(CASES):
                for text in ("words", "letters") if coding else ("words",):
                    download = Download(port, f"/{number}/{text}.html", coding) if coding else None
                    if download is not None:
                        download.start()
                    found = [seconds * 1000 for seconds in waits(port, download)]
                    held = memory(worker)
                    if download is not None:
                        download.sock.close()
                    print(f"| {name} | {text} | {found[len(found) // 2]:.2f} | {found[len(found) * 99 // 100]:.2f} "
                          f"| {found[-1]:.2f} | {held:.0f} |", flush=True)  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
