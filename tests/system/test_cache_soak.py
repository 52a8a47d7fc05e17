"""The cache under everything at once (cache_soak.py says what is checked): ten seconds here, two minutes with `make soak`."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time

import pytest
from tests.processes import wait_until
from tests.system.cache_soak import HTTP, LOCATIONS, Soak
from tests.system.proxied import Proxied, running

SECONDS = float(os.environ.get("PORTICO_SOAK_SECONDS", "6"))
SEED = int(os.environ.get("PORTICO_SOAK_SEED") or random.SystemRandom().randrange(10**6))
CLIENTS = 8
RESTART_EVERY = 20.0


# What is mounted there is seen by nobody else, and gone with the processes.
SMALL_DISK = """
for argument; do case $argument in */) folder=$argument;; esac; done
mkdir -p "$folder/tight"
mount -t tmpfs -o size=1m tight "$folder/tight"
exec "$@"
"""


def small_disk() -> tuple[str, ...]:
    """Runs Portico with the cache `tight` on a disk of 1 MB, which is soon full; not so where that needs rights we do not have."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return ()
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return ()
    return ("unshare", "--mount", "sh", "-ec", SMALL_DISK, "sh")


@pytest.mark.timeout(SECONDS + 60)
def test_soak() -> None:
    with running(Proxied(LOCATIONS, http=HTTP, workers=3, listen="reuseport", wrap=small_disk())) as proxy:
        soak = Soak(proxy, SEED)
        soak.serve()
        clients = [threading.Thread(target=soak.client, args=(number,)) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            make_trouble(soak, proxy)
        finally:
            soak.over.set()
            for client in clients:
                client.join(20)
        print(soak.report())
        assert not soak.problems, f"{soak.report()}\n{proxy.log()[-4000:]}"
        calm(soak, proxy)


def make_trouble(soak: Soak, proxy: Proxied) -> None:
    dice = random.Random(f"{SEED} trouble")
    began = time.monotonic()
    restart = began + min(RESTART_EVERY, SECONDS / 2)
    while not soak.over.wait(dice.uniform(0.05, 0.3)):
        now = time.monotonic()
        if now - began >= SECONDS:
            return
        if now >= restart:
            restart = now + RESTART_EVERY
            start_anew(soak, proxy, dice)
        what = dice.random()
        if what < 0.6:
            soak.purge(dice)
        elif what < 0.85:
            soak.kill(dice)
        elif what < 0.93:
            soak.reload()
        soak.check_limits()


def start_anew(soak: Soak, proxy: Proxied, dice: random.Random) -> None:
    """Everything is killed, files are damaged, and it starts on what is there."""
    with soak.lock:
        soak.trouble.append((time.monotonic(), time.monotonic() + 20))
        soak.seen["start"] += 1
    proxy.start_anew(lambda: soak.damage(dice))
    with soak.lock:
        soak.trouble[-1] = (soak.trouble[-1][0], time.monotonic() + 1.5)


def calm(soak: Soak, proxy: Proxied) -> None:
    """When nothing happens any more: it serves, keeps its limits, and nothing is left over."""
    assert soak.seen["HIT"] > 100 and soak.seen["kill"] and soak.seen["purge"] and soak.seen["start"], soak.report()
    wait_until(lambda: proxy.fetch("/plain/1", "X-Language: de").status == 200, what="an answer")
    wait_until(lambda: not soak.leftovers(), what=f"the end of {soak.leftovers()}")
    soak.check_limits()
    assert not soak.problems, soak.report()
