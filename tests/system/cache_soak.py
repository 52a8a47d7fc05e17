"""A soak of the cache: many clients, an origin that fails now and then, and trouble, for as long as one likes.

Every answer of the origin says which version of which resource it is, in its head (ETag) and in its body, whose bytes follow from
resource, version and language: an answer that is torn, or mixed of two, is not the one that was sent. The origin notes when it said
what. An answer that a client gets must be one of these, of its own language, and at the time of the request either still good, or
allowed to be stale (the origin had failed, or was being asked), and asked for after the last purge that meant it.

What is done follows from the seed; when it happens is up to the machine.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.parity.wire import Message
from tests.system.proxied import End, Proxied, answer, chunked

SIZES = (40, 900, 7000, 30_000, 90_000, 1_200_000)
LANGUAGES = ("de", "en", "fr")
READ_TIMEOUT = 1.0
LATE = 2.0  # seconds by which a busy machine may be late: whoever asks sees what happened that long ago
MOST = 6 << 20  # max_size
NAME = re.compile(r"[0-9a-f]{32}")

HTTP = f"""
    proxy_cache_path @folder@/cache levels=1:2 keys_zone=one:1m max_size={MOST} loader_sleep=1ms use_temp_path=off;
    proxy_cache_path @folder@/tight keys_zone=tight:64k loader_sleep=1ms;
    proxy_cache_lock on;
    proxy_cache_lock_age 2s;
    proxy_read_timeout {READ_TIMEOUT:g}s;
    add_header X-Cache $upstream_cache_status always;
    map $request_method $purge {{ default 0; PURGE 1; }}
    proxy_cache_purge $purge;
    proxy_cache_key $uri;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    keepalive_requests 40;
"""
STALE = "error timeout invalid_header http_503 updating"
LOCATIONS = {
    "plain": "proxy_cache one;",
    "stale": f"proxy_cache one; proxy_cache_use_stale {STALE}; proxy_cache_background_update on; proxy_cache_revalidate on;",
    "memory": "proxy_cache one; proxy_cache_memory 2m; proxy_cache_revalidate on;",
    "tight": "proxy_cache tight;",
}


@dataclass
class Said:
    """One answer of the origin: which version, from when on, and for how many seconds it is good."""

    version: int
    asked: float
    until: float
    seconds: int


@dataclass
class Resource:
    """What the origin serves under one path. Its character does not change."""

    path: str
    seconds: int
    size: int
    varies: bool
    framed: bool  # in chunks
    divides: bool  # into ranges
    tag: str
    version: int = 1
    said: dict[str, list[Said]] = field(default_factory=dict)  # by language
    failures: list[tuple[float, float]] = field(default_factory=list)
    busy: int = 0
    busy_until: float = 0.0
    purges: list[tuple[float, float]] = field(default_factory=list)


class Failed(AssertionError):
    """An answer that the origin could not have given."""


class Soak:
    """The origin's memory, what was done when, and the judge of answers."""

    def __init__(self, proxy: Proxied, seed: int) -> None:
        self.proxy = proxy
        self.seed = seed
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.dice = random.Random(f"{seed} origin")
        make = random.Random(f"{seed} resources")
        self.noise = make.randbytes(1 << 23)
        self.resources = [self._resource(make, name, number) for name in LOCATIONS for number in range(12)]
        self.by_path = {resource.path: resource for resource in self.resources}
        self.trouble: list[tuple[float, float]] = []  # while processes were killed or started
        self.seen: Counter[str] = Counter()
        self.problems: list[str] = []

    def _resource(self, dice: random.Random, name: str, number: int) -> Resource:
        size = SIZES[number % len(SIZES)] if name != "tight" else dice.choice((900, 30_000, 300_000))
        seconds, tag = dice.choice((1, 2, 60)), f"tag{number % 2}"
        return Resource(f"/{name}/{number}", seconds, size, number % 3 == 0, number % 4 == 1, number % 5 > 0, tag)

    def body(self, resource: Resource, version: int, language: str) -> bytes:
        """The content that follows from the three."""
        head = f"{resource.path} {version} {language if resource.varies else '-'}\n".encode()
        start = zlib.crc32(head) % (len(self.noise) - resource.size)
        return head + self.noise[start : start + resource.size]

    # -- the origin ----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer for every resource until the upstream is closed."""
        for name in LOCATIONS:
            self.proxy.upstream(name).serve(self._say)

    def _say(self, end: End, request: Message) -> None:
        path = request.start.split(b" ")[1].decode()
        resource = self.by_path[path]
        language = (request.get(b"x-language") or b"").decode()
        asked = time.monotonic()
        with self.lock:
            resource.busy += 1
            resource.version += self.dice.random() < 0.3
            version = resource.version
            failure = self.dice.choice(("503", "drop", "cut", "slow")) if self.dice.random() < 0.1 else ""
            pause = self.dice.choice((0.0, 0.0, 0.01, 0.05))
        try:
            time.sleep(pause)
            self._answer(end, request, resource, version, language, failure, asked)
        finally:
            with self.lock:
                resource.busy -= 1
                resource.busy_until = time.monotonic()

    def _answer(
        self, end: End, request: Message, resource: Resource, version: int, language: str, failure: str, asked: float
    ) -> None:
        if failure:
            with self.lock:
                resource.failures.append((asked, time.monotonic() + READ_TIMEOUT + 1))
            if failure == "503":
                end.send(answer(b"out of order", status="503 Service Unavailable"))
                return
            if failure == "slow":
                time.sleep(READ_TIMEOUT + 0.3)
            if failure != "cut":
                end.close()
                return
        tag = f'"{version}-{language if resource.varies else "-"}"'
        fields = [f"ETag: {tag}", f"Cache-Control: max-age={resource.seconds}", f"Cache-Tag: {resource.tag} all"]
        if resource.varies:
            fields.append("Vary: X-Language")
        if resource.divides:
            fields.append("Accept-Ranges: bytes")
        with self.lock:
            said = Said(version, asked, time.monotonic() + resource.seconds + 1, resource.seconds)
            resource.said.setdefault(language if resource.varies else "", []).append(said)
        body = self.body(resource, version, language)
        if failure == "cut":
            end.send(answer(body[: len(body) // 2], *fields, length=len(body)))
            end.close()
        elif (request.get(b"if-none-match") or b"").decode() == tag:
            end.send("\r\n".join(["HTTP/1.1 304 Not Modified", *fields, "", ""]).encode())
        elif resource.framed:
            end.send("\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields, "", ""]).encode())
            middle = len(body) // 3
            end.send(chunked(body[:middle], body[middle:]))
        else:
            end.send(answer(body, *fields))

    # -- the judge -----------------------------------------------------------------------------------------------------

    def judge(
        self, resource: Resource, language: str, began: float, method: str, span: tuple[int, int] | None, message: Message
    ) -> None:
        """Raises Failed when the origin could not have said this to a request that began then."""
        status = message.status
        cache = (message.get(b"x-cache") or b"-").decode()
        with self.lock:
            self.seen[f"{status}"] += 1
            self.seen[cache] += 1
        if status in (502, 503, 504):
            if not self._failed(resource, began):
                raise Failed(f"{status} although nothing had failed")
            return
        if status not in (200, 206, 304):
            raise Failed(f"status {status}")
        tag = (message.get(b"etag") or b"").decode()
        found = re.fullmatch(r'"(\d+)-(-|\w\w)"', tag)
        if found is None:
            raise Failed(f"ETag {tag}")
        if found[2] != (language if resource.varies else "-"):
            raise Failed(f"another variant's answer: {tag} for {language}")
        version = int(found[1])
        self._judge_body(self.body(resource, version, language), method, span, message)
        self._judge_time(resource, language if resource.varies else "", version, began, cache)

    def _judge_body(self, whole: bytes, method: str, span: tuple[int, int] | None, message: Message) -> None:
        if message.status == 304:
            return
        expected = whole
        if message.status == 206:
            if span is None:
                raise Failed("206 without a Range")
            start, end = span[0], min(span[1], len(whole) - 1)
            if message.get(b"content-range") != b"bytes %d-%d/%d" % (start, end, len(whole)):
                raise Failed(f"Content-Range {message.get(b'content-range')!r} for bytes {start}-{end} of {len(whole)}")
            expected = whole[start : end + 1]
        length = message.get(b"content-length")
        if length is not None and int(length) != len(expected):
            raise Failed(f"Content-Length {length!r} instead of {len(expected)}")
        if method == "HEAD":
            return
        if message.truncated:
            raise Truncated
        if message.body != expected:
            at = next((i for i, (a, b) in enumerate(zip(message.body, expected, strict=False)) if a != b), -1)
            raise Failed(
                f"other bytes: {len(message.body)} instead of {len(expected)}, different from {at} on: "
                f"{message.body[at : at + 60]!r} instead of {expected[at : at + 60]!r}"
            )

    def _judge_time(self, resource: Resource, language: str, version: int, began: float, cache: str) -> None:
        with self.lock:
            said = [one for one in resource.said.get(language, []) if one.version == version]
            purged = max((start for start, end in resource.purges if end < began), default=0.0)
        if not said:
            raise Failed(f"version {version} was never said")
        since = [one for one in said if one.asked >= purged]
        if not since:
            purge, asked = began - purged, began - said[-1].asked
            raise Failed(f"{cache}: version {version} was purged {purge:.3f} s before, and asked for {asked:.3f} s before")
        if any(one.until + LATE >= began for one in since):
            return
        if cache == "STALE" and self._failed(resource, began):
            return
        if cache in ("STALE", "UPDATING") and self._is_asked(resource, began):
            return
        raise Failed(f"{cache}, {began - max(one.until for one in since):.3f} s too old, version {version}, now {resource.version}")

    def _is_asked(self, resource: Resource, began: float) -> bool:
        """Whether the origin is or was being asked, or will be at once: the stale answer may be here before its request is there."""
        until = time.monotonic() + LATE
        while resource.busy == 0 and resource.busy_until < began - LATE and not self.was_in_trouble(began):
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def _failed(self, resource: Resource, began: float) -> bool:
        now = time.monotonic()
        with self.lock:
            return any(start <= now and end >= began - LATE for start, end in resource.failures) or self._in_trouble(began, now)

    def _in_trouble(self, began: float, now: float) -> bool:
        return any(start <= now and end >= began for start, end in self.trouble)

    def was_in_trouble(self, began: float) -> bool:
        """Whether processes were killed since `began`: connections may have ended."""
        with self.lock:
            return self._in_trouble(began, time.monotonic())

    # -- clients -------------------------------------------------------------------------------------------------------

    def client(self, number: int) -> None:
        """Ask until it is over."""
        dice = random.Random(f"{self.seed} client {number}")
        end: End | None = None
        while not self.over.is_set():
            resource = self.resources[min(int(dice.expovariate(0.06)), len(self.resources) - 1)]
            language = dice.choice(LANGUAGES)
            method = dice.choice(("GET", "GET", "GET", "GET", "HEAD"))
            start = dice.randrange(resource.size)
            span = (start, start + dice.choice((0, 100, 70_000))) if dice.random() < 0.2 else None
            fields = [f"X-Language: {language}"] + ([f"Range: bytes={span[0]}-{span[1]}"] if span else [])
            if dice.random() < 0.1:
                with self.lock:
                    fields.append(f'If-None-Match: "{resource.version}-{language if resource.varies else "-"}"')
            told = f"{method} {resource.path} {' '.join(fields)}"
            began = time.monotonic()
            try:
                end, message = self._exchange(end, method, resource.path, fields)
                self.judge(resource, language, began, method, span, message)
                if (message.get(b"connection") or b"").lower() == b"close" or message.truncated:
                    end.close()
                    end = None
            except (OSError, Truncated) as error:
                if end is not None:
                    end.close()
                end = None
                if not self._failed(resource, began):
                    self.problem(f"client {number}: {told}: {type(error).__name__} {error} although nothing had failed")
            except Failed as error:
                self.problem(f"client {number}: {told}: {error}")

    def _exchange(self, end: End | None, method: str, path: str, fields: list[str]) -> tuple[End, Message]:
        text = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: front.example", *fields, "", ""]).encode()
        if end is not None:  # a kept connection may end before its next request: that is no failure
            try:
                message = end.send(text).wire.response(method.encode())
                if message is not None:
                    return end, message
            except (ConnectionError, BrokenPipeError):
                pass
            end.close()
        end = self.proxy.client()
        message = end.send(text).wire.response(method.encode())
        if message is None:
            end.close()
            raise ConnectionError("closed without an answer")
        return end, message

    def problem(self, text: str) -> None:
        """Note it, and end the soak."""
        with self.lock:
            self.problems.append(f"{time.monotonic():.3f} {text}")
        self.over.set()

    # -- trouble -------------------------------------------------------------------------------------------------------

    def purge(self, dice: random.Random) -> None:
        """By key, by prefix, or by tag."""
        resource = dice.choice(self.resources)
        kind = dice.choice(("key", "key", "prefix", "tag"))
        name = resource.path.split("/")[1]
        meant = [resource]
        target = resource.path
        fields: list[str] = []
        if kind == "prefix":
            target = f"/{name}/1*"
            meant = [one for one in self.resources if one.path.startswith(f"/{name}/1")]
        elif kind == "tag":
            fields = [f"Cache-Tag: {resource.tag}"]
            zone = zone_of(resource.path)
            meant = [one for one in self.resources if one.tag == resource.tag and zone_of(one.path) == zone]
        began = time.monotonic()
        try:
            message = self.proxy.fetch(target, *fields, method="PURGE")
        except (OSError, AssertionError):
            if not self.was_in_trouble(began):
                self.problem(f"PURGE {target} {fields}: no answer")
            return
        if message.status not in (204, 404):
            self.problem(f"PURGE {target} {fields}: {message.status}")
        with self.lock:
            self.seen["purge"] += 1
            for one in meant:
                one.purges.append((began, time.monotonic()))

    def kill(self, dice: random.Random) -> None:
        """One worker, in the middle of whatever it does."""
        workers = self.proxy.workers()
        if not workers:
            return
        began = time.monotonic()
        with self.lock:
            self.trouble.append((began, began + 1.5))  # until everybody's connection has told
            self.seen["kill"] += 1
        try:
            os.kill(dice.choice(workers), signal.SIGKILL)
        except ProcessLookupError:
            pass

    def reload(self) -> None:
        """New workers, while the old ones finish."""
        with self.lock:
            self.seen["reload"] += 1
        self.proxy.process.send(signal.SIGHUP)

    def check_limits(self) -> None:
        """The files are within max_size, but for those that are taking their place at the moment."""
        total = 0
        for path in self.files("cache"):
            try:
                total += path.stat().st_blocks * 512
            except FileNotFoundError:
                pass
        with self.lock:
            self.seen["most bytes"] = max(self.seen["most bytes"], total)
            kills = self.seen["kill"]
        room = 8 * max(SIZES) + (4 << 20) + min(kills, 4) * max(SIZES)
        if total > MOST + room:
            self.problem(f"{total} bytes in a cache of at most {MOST}")

    def files(self, cache: str) -> list[Path]:
        """The files of a cache."""
        return [path for path in (self.proxy.folder / cache).rglob("*") if path.is_file()]

    def leftovers(self) -> list[str]:
        """Files that are no answers."""
        return [path.name for path in self.files("cache") if not NAME.fullmatch(path.name)]

    def damage(self, dice: random.Random) -> None:
        """What a disk may do while nobody looks: other bytes, a shorter file, another key's, and something half written."""
        found = self.files("cache")
        for path in dice.sample(found, len(found) * 3 // 4):
            data = bytearray(path.read_bytes())
            how = dice.randrange(6)
            if how == 0 or how > 3:
                data[dice.choice([at for at in (20, 70, 600, len(data) // 2, len(data) - 1) if at < len(data)])] ^= 1
                path.write_bytes(data)
            elif how == 1:
                os.truncate(path, dice.randrange(len(data)))
            elif how == 2:
                path.write_bytes(dice.choice(found).read_bytes())
            else:
                path.with_name(f"{path.name}.7b00000001.1").write_bytes(data[:99])
        with self.lock:
            self.seen["damaged"] += len(found) * 3 // 4

    def report(self) -> str:
        """What happened, for the reader of a failure."""
        figures = ", ".join(f"{name} {count}" for name, count in sorted(self.seen.items()))
        return f"seed {self.seed} (PORTICO_SOAK_SEED={self.seed}): {figures}\n" + "\n".join(self.problems[:10])


class Truncated(Exception):
    """The answer ended early, and the client can tell."""


def zone_of(path: str) -> str:
    """The cache that the answers of a path are in."""
    return "tight" if path.startswith("/tight/") else "one"
