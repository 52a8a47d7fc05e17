"""nginx and Portico side by side, in one run: `make bench`.

Each has one worker on core 0; the load generator and the backend are on core 1; access logs are off; both
read the same configuration. What counts is CPU time per unit of work (utime + stime of the worker over the
run), for it does not depend on which side of the wire is the bottleneck; requests per second are given too.
Runs alternate (nginx, Portico, nginx, …) and ratios are taken round by round; the median is shown with the
least and the greatest.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.processes import NGINX, PORTICO  # noqa: E402

from bench import loads  # noqa: E402
from bench.loads import BROWSER, Sample  # noqa: E402
from bench.servers import Backend, Server, make_files  # noqa: E402

IDLE_CONNECTIONS = 4000
MISSES = 200


@dataclass(frozen=True)
class Row:
    """One load on both servers, with the greatest ratio of CPU time that is good enough."""

    key: str
    title: str
    bar: float | None
    run: Callable[[Server, float], Sample]
    unit: str = "request"


ROWS = (
    Row(
        "small",
        "small response proxied, 11 browser headers, 64 connections",
        1.6,
        lambda server, seconds: loads.wrk(server, "/small", seconds, connections=64, headers=BROWSER),
    ),
    Row(
        "added",
        "the same with two `add_header`",
        1.6,
        lambda server, seconds: loads.wrk(server, "/added", seconds, connections=64, headers=BROWSER),
    ),
    Row(
        "short",
        "the same with `Connection: close`: a connection for each request",
        1.2,
        lambda server, seconds: loads.wrk(server, "/small", seconds, connections=64, headers=(*BROWSER, "Connection: close")),
    ),
    Row(
        "big",
        "1 MB proxied, 16 connections",
        1.0,
        lambda server, seconds: loads.wrk(server, "/1m.bin", seconds, connections=16, headers=BROWSER),
    ),
    Row(
        "static1k",
        "static 1 KB, 64 connections",
        1.5,
        lambda server, seconds: loads.wrk(
            server, "/static/1k.html", seconds, connections=64, headers=BROWSER
        ),
    ),
    Row(
        "static1m",
        "static 1 MB, 16 connections",
        1.1,
        lambda server, seconds: loads.wrk(server, "/static/1m.bin", seconds, connections=16, headers=BROWSER),
    ),
    Row(
        "tls",
        "TLS keepalive, static 1 KB, 64 connections",
        None,
        lambda server, seconds: loads.wrk(
            server, "/static/1k.html", seconds, connections=64, headers=BROWSER, tls=13
        ),
    ),
    Row(
        "handshake13",
        "TLS 1.3 full handshake and one request",
        1.2,
        lambda server, seconds: loads.wrk(
            server, "/static/1k.html", seconds, connections=16, headers=("Connection: close",), tls=13
        ),
        "handshake",
    ),
    Row(
        "handshake12",
        "TLS 1.2 full handshake and one request",
        1.2,
        lambda server, seconds: loads.wrk(
            server, "/static/1k.html", seconds, connections=16, headers=("Connection: close",), tls=12
        ),
        "handshake",
    ),
    Row(
        "hit1k",
        "cache hit 1 KB, 64 connections",
        0.8,
        lambda server, seconds: loads.wrk(server, "/kept/1k.html", seconds, connections=64, headers=BROWSER),
    ),
    Row(
        "hit100k",
        "cache hit 100 KB, 64 connections",
        1.0,
        lambda server, seconds: loads.wrk(server, "/kept/100k.bin", seconds, connections=64, headers=BROWSER),
    ),
    Row(
        "hit1m",
        "cache hit 1 MB, 16 connections",
        1.0,
        lambda server, seconds: loads.wrk(server, "/kept/1m.bin", seconds, connections=16, headers=BROWSER),
    ),
    Row(
        "hitmany",
        "cache hits among 30,000 answers of 1 KB, at random, 64 connections",
        1.3,
        loads.many,
    ),
    Row(
        "gzip",
        "gzip of 100 KB HTML, level 1, 16 connections",
        0.5,
        lambda server, seconds: loads.wrk(server, "/gzip/100k.html", seconds, connections=16, headers=BROWSER),
    ),
    Row(
        "packed",
        "100 KB HTML by `gzip_static`, 64 connections",
        1.1,
        lambda server, seconds: loads.wrk(server, "/packed/packed.html", seconds, connections=64, headers=BROWSER),
    ),
    Row(
        "again",
        "the same file again with `compression_cache`, beside nginx's gzip",
        0.3,
        lambda server, seconds: loads.wrk(server, "/again/100k.html", seconds, connections=16, headers=BROWSER),
    ),
    Row(
        "h2small",
        "HTTP/2 over TLS: small response proxied, 11 browser headers, 32 connections × 8 streams",
        0.75,
        lambda server, seconds: loads.h2load(server, "/small", seconds, headers=BROWSER),
    ),
    Row(
        "h2single",
        "HTTP/2 over TLS: the same with one stream a connection",
        1.0,
        lambda server, seconds: loads.h2load(server, "/small", seconds, streams=1, headers=BROWSER),
    ),
    Row(
        "h2static1k",
        "HTTP/2 over TLS: static 1 KB, 32 × 8",
        0.5,
        lambda server, seconds: loads.h2load(server, "/static/1k.html", seconds, headers=BROWSER),
    ),
    Row(
        "h2static100k",
        "HTTP/2 over TLS: static 100 KB, 32 × 8",
        1.0,
        lambda server, seconds: loads.h2load(server, "/static/100k.bin", seconds, headers=BROWSER),
    ),
    Row(
        "h2static1m",
        "HTTP/2 over TLS: static 1 MB, 16 × 4",
        1.05,
        lambda server, seconds: loads.h2load(server, "/static/1m.bin", seconds, connections=16, streams=4),
    ),
    Row(
        "h2post",
        "HTTP/2 over TLS: 64 KB posted to an upstream, 32 × 1",
        1.0,
        lambda server, seconds: loads.h2load(
            server, "/sink", seconds, streams=1, headers=BROWSER, body=server.folder.parent / "root" / "64k.bin"
        ),
    ),
    Row(
        "h2csmall",
        "HTTP/2 without TLS: small response proxied, 32 × 8",
        0.75,
        lambda server, seconds: loads.h2load(server, "/small", seconds, tls=False, headers=BROWSER),
    ),
    Row(
        "h2cstatic1k",
        "HTTP/2 without TLS: static 1 KB, 32 × 8",
        0.5,
        lambda server, seconds: loads.h2load(server, "/static/1k.html", seconds, tls=False, headers=BROWSER),
    ),
    Row("websocket", "WebSocket message and its echo, 32 tunnels", None, loads.messages, "message"),
)
EXTRA = ("idle", "startup", "limits", "misses")


@dataclass
class Result:
    """The samples of one row, round by round."""

    row: Row
    reference: list[Sample] = field(default_factory=list)
    candidate: list[Sample] = field(default_factory=list)
    earlier: list[Sample] = field(default_factory=list)  # an earlier version of Portico, when one was given

    def ratios(self) -> list[float]:
        return [ours.cost / theirs.cost for theirs, ours in zip(self.reference, self.candidate, strict=True)]

    def line_beside_earlier(self) -> str:
        """The row of the table that compares the two versions."""
        ratios = [now.cost / then.cost for then, now in zip(self.earlier, self.candidate, strict=True)]
        cost = [statistics.median(s.cost for s in side) * 1e6 for side in (self.earlier, self.candidate)]
        return (
            f"| {self.row.title} | {cost[0]:.1f} | {cost[1]:.1f} "
            f"| **{statistics.median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f}) |"
        )

    def line(self) -> str:
        ratios = self.ratios()
        middle = statistics.median(ratios)
        bar = "–" if self.row.bar is None else f"≤ {self.row.bar:g}"
        verdict = "" if self.row.bar is None else ("met" if middle <= self.row.bar else "missed")
        cost = [statistics.median(s.cost for s in side) * 1e6 for side in (self.reference, self.candidate)]
        rate = [statistics.median(s.rate for s in side) for side in (self.reference, self.candidate)]
        return (
            f"| {self.row.title} | {cost[0]:.1f} | {cost[1]:.1f} "
            f"| **{middle:.2f}** ({min(ratios):.2f}–{max(ratios):.2f}) "
            f"| {bar} | {verdict} | {rate[0]:,.0f} | {rate[1]:,.0f} | {rate[1] / rate[0]:.2f} |"
        )


class Bench:
    """The folder, the backend and the two programs of one run."""

    def __init__(self, folder: Path, candidate: str, earlier: str) -> None:
        self.folder = folder
        self.root = folder / "root"
        make_files(self.root)
        self.backend = Backend(folder / "backend", self.root)
        self.programs = {"nginx": (NGINX,), candidate: PORTICO if candidate == "Portico" else (NGINX,)}
        if earlier:
            self.programs["earlier"] = (earlier, "-m", "portico")
        self._count = 0
        self.sizes: dict[str, int] = {}  # bytes of the page after gzip, by server

    def start(self, name: str, workers: int = 1) -> Server:
        """One more server; the caller waits for it and stops it."""
        self._count += 1
        folder = self.folder / f"server{self._count}"
        return Server(name, self.programs[name], folder, self.root, self.backend, workers)

    def measure(self, rows: list[Row], rounds: int, seconds: float) -> list[Result]:
        """Every row: a short warm-up, then rounds in turn."""
        servers = [self.start(name) for name in self.programs]
        try:
            for server in servers:
                server.ready()
            results = [self._row(row, servers, rounds, seconds) for row in rows]
            if any(row.key == "gzip" for row in rows):
                self.sizes = {server.name: loads.coded_size(server, "/gzip/100k.html") for server in servers}
            return results
        finally:
            for server in servers:
                server.stop()

    def _row(self, row: Row, servers: list[Server], rounds: int, seconds: float) -> Result:
        result = Result(row)
        for server in servers:
            row.run(server, 1)
        for _ in range(rounds):
            for server, samples in zip(servers, (result.reference, result.candidate, result.earlier), strict=False):
                samples.append(row.run(server, seconds))
        print(f"  {row.key}: ratio {statistics.median(result.ratios()):.2f}", flush=True)
        return result

    def idle(self, rounds: int) -> dict[str, list[tuple[float, float]]]:
        """Bytes per idle connection, each round with new processes."""
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in self.programs}
        for _ in range(rounds):
            for name, values in found.items():
                server = self.start(name)
                try:
                    server.ready()
                    values.append(loads.idle(server, IDLE_CONNECTIONS))
                finally:
                    server.stop()
        return found

    def misses(self, rounds: int) -> dict[str, list[int]]:
        """Requests that reach the origin when many want what is in no cache yet, from two workers with `proxy_cache_lock`."""
        found: dict[str, list[int]] = {}
        for name in self.programs:
            server = self.start(name, workers=2)
            try:
                server.ready()
                found[name] = [
                    loads.misses(server, self.backend.counting, f"/locked/{number}", MISSES) for number in range(rounds)
                ]
            finally:
                server.stop()
        return found

    def startup(self, rounds: int) -> dict[str, list[float]]:
        """Seconds from the start of the process to its first answer."""
        found: dict[str, list[float]] = {name: [] for name in self.programs}
        for _ in range(rounds):
            for name, values in found.items():
                started = time.monotonic()
                server = self.start(name)
                try:
                    values.append(loads.first_answer(server, started))
                finally:
                    server.stop()
        return found


def extra_lines(
    idle: dict[str, list[tuple[float, float]]] | None,
    startup: dict[str, list[float]] | None,
    misses: dict[str, list[int]] | None,
) -> list[str]:
    """The table of what is not a ratio of CPU time."""
    lines = []
    if idle:
        for index, kind in enumerate(("RSS", "PSS")):
            values = [
                statistics.median(sample[index] for sample in samples) / 1024 for samples in idle.values()
            ]
            lines.append(_absolute(f"memory per idle connection, {kind}", values, 4.0, "KB"))
    if startup:
        values = [statistics.median(samples) for samples in startup.values()]
        lines.append(_absolute("start-up to the first answer", values, 0.4, "s"))
    if misses:
        most = [float(max(counts)) for counts in misses.values()]
        title = f"{MISSES} requests at once for what is not in the cache, two workers: the most that reached the origin"
        lines.append(_absolute(title, most, 1, "requests"))
    return lines


def limits_lines() -> list[str]:
    """What checks add to a request, in a process of its own on core 0 (`bench/limits.py`)."""
    argv = ["taskset", "-c", "0", sys.executable, str(ROOT / "bench" / "limits.py")]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()[1:]


def _absolute(title: str, values: list[float], bar: float, unit: str) -> str:
    verdict = "met" if values[1] <= bar else "missed"
    return f"| {title} | {values[0]:.2f} {unit} | {values[1]:.2f} {unit} | ≤ {bar:g} {unit} | {verdict} |"


def versions() -> list[str]:
    """What was compared, and on what."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    reference = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr.strip()
    shown = subprocess.run([*PORTICO, "-V"], capture_output=True, text=True)
    said = (
        (shown.stderr + shown.stdout).strip().splitlines()
        if shown.returncode == 0
        else ["portico does not run here"]
    )
    return [
        f"- {model}, {os.cpu_count()} processors, Linux {platform.release()}",
        f"- {reference}",
        *(f"- {line}" for line in said if not line.startswith("configure arguments")),
    ]


def report(
    results: list[Result],
    sizes: dict[str, int],
    extras: list[str],
    limits: list[str],
    candidate: str,
    rounds: int,
    seconds: float,
    took: float,
) -> str:
    lines = [
        "# nginx and Portico side by side",
        "",
        "Written by `make bench`. One worker each on core 0, load generator and backend on core 1,",
        "access log off, the same configuration text for both. CPU is user and system time of the worker",
        "per unit of work; the ratio is the median of the rounds (least–greatest).",
        "",
        *versions(),
        f"- {time.strftime('%Y-%m-%d')}, {rounds} rounds of {seconds:g} s, {took:.0f} s in all",
        "",
    ]
    if results:
        head = f"| load | nginx CPU, µs | {candidate} CPU, µs | CPU ratio | bar | "
        lines += [
            f"{head}| nginx /s | {candidate} /s | rate ratio |",
            "|---|---|---|---|---|---|---|---|---|",
            *(result.line() for result in results),
            "",
        ]
    if results and results[0].earlier:
        lines += [
            "An earlier version of Portico in the same run:",
            "",
            f"| load | earlier CPU, µs | {candidate} CPU, µs | CPU ratio |",
            "|---|---|---|---|",
            *(result.line_beside_earlier() for result in results),
            "",
        ]
    if sizes:
        said = ", ".join(f"{size:,} by {name}" for name, size in sizes.items())
        lines += [f"The page of 102,400 bytes came to {said}, both with `gzip_comp_level` 1.", ""]
    if extras:
        lines += [f"| | nginx | {candidate} | bar | |", "|---|---|---|---|---|", *extras, ""]
    if limits:
        lines += [*limits, ""]
    return "\n".join(lines)


def main() -> None:
    keys = [row.key for row in ROWS] + list(EXTRA)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(keys), help=f"of {','.join(keys)}")
    parser.add_argument("--seconds", type=float, default=4, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--candidate", choices=("portico", "nginx"), default="portico", help="what nginx is compared with"
    )
    parser.add_argument("--earlier", default="", metavar="PYTHON", help="an interpreter for which an earlier version is installed")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results.md")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(keys):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    missing = [tool for tool in (NGINX, "wrk", "taskset", "openssl") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"bench needs {', '.join(missing)}: apt-get install nginx-light wrk util-linux openssl")
    if (os.cpu_count() or 1) < 2:
        sys.exit("bench needs two processors: one for the server, one for the load")

    candidate = "Portico" if options.candidate == "portico" else "nginx again"
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    bench = Bench(folder, candidate, options.earlier)
    try:
        rows = [row for row in ROWS if row.key in chosen]
        results = bench.measure(rows, options.rounds, options.seconds) if rows else []
        idle = bench.idle(options.rounds) if "idle" in chosen else None
        startup = bench.startup(max(5, options.rounds)) if "startup" in chosen else None
        misses = bench.misses(options.rounds) if "misses" in chosen else None
        limits = limits_lines() if "limits" in chosen and options.candidate == "portico" else []
    finally:
        bench.backend.stop()
        shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - began
    extras = extra_lines(idle, startup, misses)
    text = report(results, bench.sizes, extras, limits, candidate, options.rounds, options.seconds, took)
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
