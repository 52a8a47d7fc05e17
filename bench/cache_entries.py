"""A cache with a million entries: what its index needs, what a lookup costs, how long finding them again takes.

`python bench/cache_entries.py` measures the installed Portico, and says whether it is compiled. A lookup takes the same steps
whatever the number of entries; what it has to wait for is memory that the processor has not at hand: one place of the directory, one
row. Files are real ones, by default 100,000 (`--files 1000000` takes about two minutes and 4 GB); what a million takes is reckoned
from them.
"""

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from portico.cache import index as index_module
from portico.cache.entry import Meta, Times
from portico.cache.index import COLUMNS, Index
from portico.cache.keeper import Keeper
from portico.cache.store import CachePath, Store, digest
from portico.zones.table import SharedTable

NOW = 1_700_000_000
ASKED = 20_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n"


def resident() -> int:
    """Bytes of memory that this process has touched."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def filled(count: int) -> tuple[Index, int, float]:
    """An index with so many entries; bytes that it takes up, and seconds to make it."""
    before = resident()
    index = Index(SharedTable(count + 1, COLUMNS))
    began = time.perf_counter()
    for number in range(count):
        first, second = digest(b"http://backend/page/%d" % number)
        index.store(first, second, 4096, NOW + 60, 0, 0, NOW, 0)
    return index, resident() - before, time.perf_counter() - began


def nanoseconds(call: Callable[[int, int], object], keys: list[tuple[int, int]]) -> float:
    """For one key, the best of some rounds."""
    best = 1e9
    for _ in range(7):
        began = time.process_time_ns()
        for first, second in keys:
            call(first, second)
        best = min(best, (time.process_time_ns() - began) / len(keys))
    return best


def lookups(counts: tuple[int, ...]) -> None:
    """What is asked of the index for a request, with few and with many entries."""
    print(f"{'entries':>10}{'memory':>12}{'bytes each':>12}{'to fill':>10}{'look':>9}{'use':>9}{'unknown':>9}")
    for count in counts:
        index, memory, seconds = filled(count)
        dice = random.Random(1)
        known = [digest(b"http://backend/page/%d" % dice.randrange(count)) for _ in range(ASKED)]
        unknown = [digest(b"http://backend/other/%d" % number) for number in range(ASKED)]
        look = nanoseconds(index.look, known)
        use = nanoseconds(lambda first, second, index=index: index.use(first, second, NOW), known)  # type: ignore[misc]
        miss = nanoseconds(index.look, unknown)
        print(
            f"{count:>10,}{memory / 2**20:>9.1f} MB{memory / count:>12.0f}{seconds:>8.2f} s"
            f"{look:>6.0f} ns{use:>6.0f} ns{miss:>6.0f} ns"
        )


def store_in(folder: str, slots: int) -> Store:
    place = CachePath(f"{folder}/cache")
    place.levels = [1, 2]
    place.use_temp_path = False
    place.loader_files = 1_000_000
    place.loader_sleep = 0.0
    return Store(place, Index(SharedTable(slots, COLUMNS)))


def files(count: int) -> None:
    """How long it takes until all of so many files are known again, in turns of 4 ms without a pause between them."""
    folder = tempfile.mkdtemp(prefix="cache-entries-", dir="/tmp")
    try:
        store = store_in(folder, count + 1)
        os.mkdir(f"{folder}/cache")
        began = time.perf_counter()
        for number in range(count):
            key = b"http://backend/page/%d" % number
            fill = store.fill(*digest(key), 0, False)
            fill.begin(Meta(key, b"", b"", b"", HEAD), Times(NOW + 60, 0, 0, NOW, 0))
            fill.write(b"x" * 100)
            fill.finish()
        made = time.perf_counter() - began
        fresh = store_in(folder, count + 1)
        began, cpu = time.perf_counter(), time.process_time()
        asyncio.run(load(fresh))
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert fresh.index.count() == count
        print(f"{count:,} files: stored in {made:.1f} s ({made / count * 1e6:.0f} µs each),", end=" ")
        print(f"found again in {took:.2f} s, CPU {cpu:.2f} s")
        if count < 1_000_000:
            print(f"a million, reckoned from that: {took * 1_000_000 / count:.1f} s")
        print("with loader_files 100 and loader_sleep 50ms, the defaults, a million takes at least 500 s, as nginx's does;")
        print("meanwhile each is found when it is asked for, and the first answer waits for none of it")
    finally:
        shutil.rmtree(folder)


async def load(store: Store) -> None:
    await Keeper(store, lambda: False)._load()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    compiled = not index_module.__file__.endswith(".py")
    print(f"the cache's index, {'compiled' if compiled else 'interpreted'}")
    lookups((1_000, 1_000_000))
    files(options.files)


if __name__ == "__main__":
    main()
