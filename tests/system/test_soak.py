"""Everything at once (soak_clients.py says what): ten seconds in the suite, two minutes with `make soak`, hours on demand.

Three parts. First clients alone, some of which abort: not one request of the others may fail, and the workers' memory and descriptors
are as at the first third's end. Then reloads every second, without aborts: not one request may fail. At last all of it, while origins
are killed and started again: a request may be answered 502 or 504, or be cut off, only between the kill and BACK seconds after the
origin listens again. The supervisor's memory and descriptors are as they were after the first reloads, and no process is left over.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from tests.system.soak_clients import ALL, POLITE, Client, Failed
from tests.system.soak_site import SoakSite, Use

SECONDS = float(os.environ.get("PORTICO_SOAK_SECONDS", "6"))
SEED = int(os.environ.get("PORTICO_SOAK_SEED") or random.SystemRandom().randrange(10**6))
CLIENTS = 8
# KB by which processes may have grown: a worker's caches and allocator are not full after a third; a supervisor has nothing to fill.
WORKER_MAY_GROW = 8 << 10
SUPERVISOR_MAY_GROW = 2 << 10
# Pipes for spliced bodies, idle connections to origins, cached files: a worker holds some of them open for the next request.
SPARE_DESCRIPTORS = 2 * 16 + 16 + 16
RELOAD_EVERY = 1.0

Kinds = Sequence[Callable[[Client], None]]


class Soak:
    """Runs clients for some time, and keeps account."""

    def __init__(self, site: SoakSite) -> None:
        self.site = site
        self.seen: Counter[str] = Counter()
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._part = 0

    def run(self, seconds: float, kinds: Kinds, trouble: Callable[[random.Random], None] | None = None) -> None:
        """Lets the clients work for so long, or until one has a problem; meanwhile `trouble`, every RELOAD_EVERY seconds."""
        self._part += 1
        self._over.clear()
        threads = [threading.Thread(target=self._work, args=(number, kinds)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        dice = random.Random(f"{SEED} trouble {self._part}")
        until = time.monotonic() + seconds
        while not self._over.wait(min(RELOAD_EVERY, max(0.0, until - time.monotonic()))) and time.monotonic() < until:
            if trouble is not None:
                trouble(dice)
        self._over.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "a client hangs"
        assert not self.problems, self.report()

    def _work(self, number: int, kinds: Kinds) -> None:
        client = Client(self.site, random.Random(f"{SEED} {self._part} {number}"))
        while not self._over.is_set():
            kind = client.dice.choice(kinds)
            began = time.monotonic()
            try:
                kind(client)
                self._count(kind.__name__)
            except (Failed, OSError) as error:
                client.close()
                if self.site.was_away(began, time.monotonic()):
                    self._count("failed for an origin that was away")
                else:
                    self._problem(f"{kind.__name__}: {type(error).__name__} {error}, after {time.monotonic() - began:.3f} s")
            except BaseException as error:
                self._problem(f"{kind.__name__}: {error!r}")
                raise
        client.close()

    def _count(self, what: str) -> None:
        with self._lock:
            self.seen[what] += 1

    def _problem(self, text: str) -> None:
        with self._lock:
            self.problems.append(text)
        self._over.set()

    def report(self) -> str:
        """What happened, for the reader of a failure."""
        figures = ", ".join(f"{name} {count}" for name, count in sorted(self.seen.items()))
        problems = "\n".join(self.problems[:10])
        log = f"\n{self.site.log()[-4000:]}" if problems else ""
        return f"part {self._part}, seed {SEED} (PORTICO_SOAK_SEED={SEED}): {figures}\n{problems}{log}"


@pytest.mark.timeout(SECONDS * 2 + 240)
def test_everything_at_once() -> None:
    site = SoakSite()
    try:
        soak = Soak(site.ready())
        clients_alone(soak, SECONDS * 0.4)
        after_reloads(soak, SECONDS * 0.6)
        print(soak.report())
    finally:
        left = site.stop()
    assert not left, "\n".join(left[:10])
    assert all(soak.seen[kind.__name__] for kind in ALL), soak.report()


def clients_alone(soak: Soak, seconds: float) -> None:
    """Nothing but clients: the workers are the same afterwards, and have not grown."""
    soak.run(seconds / 3, ALL)
    early = soak.site.settle()
    soak.run(seconds * 2 / 3, ALL)
    late = soak.site.settle()
    assert early.keys() == late.keys(), "a worker has died"
    for pid in early:
        may_grow = SUPERVISOR_MAY_GROW if pid == soak.site.process.pid else WORKER_MAY_GROW
        has_not_grown(f"process {pid}", early[pid], late[pid], may_grow)


def after_reloads(soak: Soak, seconds: float) -> None:
    """Reloads alone, then with everything: the supervisor has not grown, and new workers are as those before."""
    site = soak.site

    def reload(_: random.Random) -> None:
        site.reload()
        soak.seen["reload"] += 1

    def reload_and_kill(dice: random.Random) -> None:
        site.reload()
        soak.seen["reload"] += 1
        if soak.seen["reload"] % 3 == 0:
            site.kill_origin(dice.randrange(2), dice.choice((0.0, 0.5)))
            soak.seen["kill"] += 1

    soak.run(seconds / 4, POLITE, reload)
    early = site.settle()
    soak.run(seconds / 4, POLITE, reload)
    soak.run(seconds / 2, ALL, reload_and_kill)
    soak.run(min(1.0, seconds / 10), POLITE)
    late = site.settle()
    has_not_grown("supervisor", early[site.process.pid], late[site.process.pid], SUPERVISOR_MAY_GROW)
    for before, after in zip(list(early.values())[1:], list(late.values())[1:], strict=True):
        has_not_grown("a worker after reloads", before, after, WORKER_MAY_GROW)


def has_not_grown(name: str, early: Use, late: Use, may_grow: int) -> None:
    """Compares what a process used, both times when all was quiet."""
    print(f"{name}: {early} then {late}")
    assert late.memory <= early.memory + may_grow, f"{name} uses {late.memory} KB, {early.memory} KB before"
    more = late.descriptors - early.descriptors
    assert more <= SPARE_DESCRIPTORS, f"{name} has {late.descriptors} descriptors, {early.descriptors} before"
