"""A cache with a million entries: what its index needs, what a lookup costs, how long finding them again takes.

`python bench/cache_entries.py` measures the installed Portico, and says whether it is compiled. A lookup takes the same steps
whatever the number of entries; what it has to wait for is memory that the processor has not at hand: one place of the directory, one
row. `open` is all that a hit asks of the cache when the worker has not got it at hand: the key's digest, the lookup, the file opened,
read and compared with its checksums; of a thousand files, whatever else the index holds. Files are real ones, by default 100,000
(`--files 1000000` takes about two minutes and 4 GB); what a million takes is reckoned from them.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from portico.cache import index as index_module
from portico.cache.entry import Meta, Times
from portico.cache.fill import Fill
from portico.cache.index import COLUMNS, Index
from portico.cache.keeper import Keeper
from portico.cache.store import CachePath, Store, digest
from portico.zones.table import SharedTable

NOW = 1_700_000_000
ASKED = 20_000
OPENED = 1_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n"


def resident() -> int:
    """Bytes of memory that this process has touched."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def key_of(number: int) -> bytes:
    return b"http://backend/page/%d" % number


def filled(count: int) -> tuple[Index, int, float]:
    """An index with so many entries; bytes that it takes up, and seconds to make it."""
    before = resident()
    index = Index(SharedTable(count + 100, COLUMNS))
    began = time.perf_counter()
    for number in range(count):
        first, second = digest(key_of(number))
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


def opening(index: Index, folder: str) -> float:
    """For one hit that is opened, nanoseconds; its files are stored first."""
    store = store_in(folder, index)
    store.short_memory = 0  # nothing is kept at hand
    store.most_open = 1
    keys = [key_of(number) for number in range(OPENED)]
    for key in keys:
        put(store, key)

    def hit(number: int, _: int) -> None:
        key = keys[number]
        first, second = digest(key)
        row, _, generation, _, _ = index.use(first, second, NOW)
        entry = store.read(key, key, None, first, second, row, generation)
        assert entry is not None and entry.sound
        entry.close()

    return nanoseconds(hit, [(number, 0) for number in range(OPENED)])


def lookups(counts: tuple[int, ...], folder: str) -> None:
    """What is asked of the index for a request, with few and with many entries."""
    print(f"{'entries':>10}{'memory':>12}{'bytes each':>12}{'to fill':>10}{'look':>9}{'use':>9}{'unknown':>9}{'open':>11}")
    for count in counts:
        index, memory, seconds = filled(count)
        dice = random.Random(1)
        known = [digest(key_of(dice.randrange(count))) for _ in range(ASKED)]
        unknown = [digest(b"http://backend/other/%d" % number) for number in range(ASKED)]
        look = nanoseconds(index.look, known)
        use = nanoseconds(lambda first, second, index=index: index.use(first, second, NOW), known)  # type: ignore[misc]
        miss = nanoseconds(index.look, unknown)
        print(
            f"{count:>10,}{memory / 2**20:>9.1f} MB{memory / count:>12.0f}{seconds:>8.2f} s"
            f"{look:>6.0f} ns{use:>6.0f} ns{miss:>6.0f} ns{opening(index, folder):>8.0f} ns"
        )


def store_in(folder: str, index: Index) -> Store:
    os.makedirs(f"{folder}/cache", exist_ok=True)
    place = CachePath(f"{folder}/cache")
    place.levels = [1, 2]
    place.use_temp_path = False
    place.loader_files = 1_000_000
    place.loader_sleep = 0.0
    return Store(place, index)


def put(store: Store, key: bytes) -> None:
    """Store an answer of 100 bytes."""
    fill = Fill(store, *digest(key), 0, False)
    fill.begin(Meta(key, b"", b"", b"", HEAD), Times(NOW + 60, 0, 0, NOW, 0))
    fill.write(b"x" * 100)
    fill.finish()


def files(count: int, folder: str) -> None:
    """How long it takes until all of so many files are known again, in turns of 4 ms without a pause between them."""
    store = store_in(folder, Index(SharedTable(count + 100, COLUMNS)))
    began = time.perf_counter()
    for number in range(count):
        put(store, key_of(number))
    made = time.perf_counter() - began
    fresh = store_in(folder, Index(SharedTable(count + 100, COLUMNS)))
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


async def load(store: Store) -> None:
    await Keeper(store, lambda: False)._load()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    compiled = not index_module.__file__.endswith(".py")
    print(f"the cache's index, {'compiled' if compiled else 'interpreted'}")
    with tempfile.TemporaryDirectory(prefix="cache-entries-", dir="/tmp") as folder:
        lookups((1_000, 1_000_000), f"{folder}/few")
        files(options.files, f"{folder}/many")


if __name__ == "__main__":
    main()
