"""Memory that all workers share.

The supervisor maps anonymous memory (``MAP_SHARED``) before it forks; every worker inherits the mapping at
the same address, so addresses inside it (a lock's) mean the same everywhere.  There is no file and no name
to clean up: the memory goes with the last process that has it.
"""

import ctypes
import mmap
from typing import Final

PAGE: Final = mmap.PAGESIZE


def shared_pages(size: int) -> tuple[mmap.mmap, int]:
    """Return zeroed memory of at least ``size`` bytes for this process and those forked from it, and its address."""
    memory = mmap.mmap(-1, (size + PAGE - 1) // PAGE * PAGE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))
