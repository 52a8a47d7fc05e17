"""The two checksums of the cache, each by the fastest code that is installed.

CRC-32 detects what a disk has done to a stored response: ISA-L's, where the processor has it, takes a tenth of zlib's time. MD5 names
files: CPython's own takes half of OpenSSL's time for something as short as a key.
"""

from __future__ import annotations

import hashlib
import importlib
import zlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _hashlib import HASH


def _crc32() -> Callable[..., int]:
    try:
        found: Callable[..., int] = importlib.import_module("isal.isal_zlib").crc32
    except ImportError:
        return zlib.crc32
    return found


def _md5() -> Callable[[bytes], HASH]:
    try:
        found: Callable[[bytes], HASH] = importlib.import_module("_md5").md5
    except ImportError:
        return partial(hashlib.md5, usedforsecurity=False)
    return found


crc32: Final[Callable[..., int]] = _crc32()
md5: Final[Callable[[bytes], HASH]] = _md5()
