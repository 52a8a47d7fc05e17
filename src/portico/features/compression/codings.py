"""The libraries behind the content encodings, looked for when a configuration asks for them.

How quick they are on bad data, such as random letters of an alphabet of two or four, was measured (CPU time, one core); it says what
is compressed in one go, and what is worked on a thread because one step of it may take longer than others should wait. A step is what
a library does at once however little it is given: Zstandard collects 128 KB, Brotli from level 4 on writes blocks of half a megabyte.

    gzip     isal 0.3 ms a step; zlib up to 6: 1 ms
    br       0-3: 0.4 ms; 4: 5 ms; 9: 15 ms; 11: 200 ms
    zstd     1-5: 2 ms; 9: 4 ms; 19: 80 ms
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final, final

from portico.codec.accept_encoding import BROTLI, GZIP, ZSTD

_GZIP_FORMAT: Final = 16  # added to zlib's wbits
_MAX_WBITS: Final = 15
_ISAL_LEVELS: Final = (0, 1, 3, 3)  # isal's 1 makes less than zlib's 1, its 3 no more than zlib's 2 and 3
_STEP: Final = 65536
_ZLIB_STEP: Final = 8192
_AT_ONCE: Final = 131072  # bytes at most
# Bytes that take 2 ms at most, in KB, by level.
_GZIP_QUICK: Final = (0, 108, 100, 88, 104, 52, 20, 8, 2, 1)
_BROTLI_QUICK: Final = (128, 128, 128, 128, 128, 64, 48, 32, 16, 16, 1, 1)
_ZSTD_QUICK: Final = (0, 128, 128, 128, 128, 128, 96, 64, 64, 64, 32, 32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 4, 4)
_SMALL_WINDOW: Final = 19  # 512 KB: what Zstandard gets, so that a response under way costs 2 MB at most


@final
class MissingLibrary(Exception):
    """What is to be installed for a content encoding."""


@final
class Coder:
    """The compression of one response: three calls of a library's object."""

    def __init__(self, feed: Callable[[bytes], bytes], flush: Callable[[], bytes], finish: Callable[[], bytes]) -> None:
        self.feed = feed
        self.flush = flush
        self.finish = finish


@final
class Coding:
    """A content encoding at a level. `make` gets the length of what is to be compressed, -1 when nobody knows."""

    def __init__(
        self, name: bytes, level: int, window: int, make: Callable[[int], Coder], step: int, at_once: int, heavy: bool
    ) -> None:
        self.name = name
        self.key = (name, level, window)  # in a cache of compressed forms
        self.make = make
        self.step = step  # bytes that are worked on without a look at the clock
        self.at_once = at_once  # bytes of a whole body that are compressed in one go
        self.heavy = heavy  # to be worked on a thread


def gzip_coding(level: int) -> Coding:
    """gzip by isal as far as it goes, where there is one for the processor; else by zlib."""
    if level < len(_ISAL_LEVELS):
        try:
            isal: Any = importlib.import_module("isal.isal_zlib")
        except ImportError:
            pass
        else:
            return Coding(GZIP, level, 0, partial(_isal, isal, _ISAL_LEVELS[level]), _STEP, _AT_ONCE, False)
    return Coding(GZIP, level, 0, partial(_zlib, level), _ZLIB_STEP, _GZIP_QUICK[level] << 10, level > 6)


def _isal(isal: Any, level: int, length: int) -> Coder:
    stream = isal.compressobj(level, zlib.DEFLATED, _GZIP_FORMAT + _MAX_WBITS)
    return Coder(stream.compress, partial(stream.flush, zlib.Z_SYNC_FLUSH), stream.flush)


def _zlib(level: int, length: int) -> Coder:
    """A short response gets a small window and little memory, as in nginx (ngx_http_gzip_filter_memory)."""
    bits = _MAX_WBITS
    memory = 8
    while length >= 0 and bits > 9 and memory > 1 and length < (1 << (bits - 1)) - 262:
        bits -= 1
        memory -= 1
    stream = zlib.compressobj(level, zlib.DEFLATED, _GZIP_FORMAT + bits, memory)
    return Coder(stream.compress, partial(stream.flush, zlib.Z_SYNC_FLUSH), stream.flush)


def brotli_library() -> Any:
    """Raises MissingLibrary."""
    try:
        return importlib.import_module("brotli")
    except ImportError:
        raise MissingLibrary("brotli") from None


def brotli_coding(level: int, window: int) -> Coding:
    """Brotli. `window` is a power of two. Raises MissingLibrary."""
    make = partial(_brotli, brotli_library(), level, window)
    return Coding(BROTLI, level, window, make, _STEP, _BROTLI_QUICK[level] << 10, level > 3)


def _brotli(brotli: Any, level: int, window: int, length: int) -> Coder:
    while length >= 0 and window > 10 and length < (1 << (window - 1)):
        window -= 1
    # blocks of 64 KB: at level 9 and above they would be of 256 KB
    stream = brotli.Compressor(quality=level, lgwin=window, lgblock=16)
    return Coder(stream.process, stream.flush, stream.finish)


def zstd_library() -> Any:
    """Python 3.14's, or its backport. Raises MissingLibrary."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingLibrary("backports.zstd")


def zstd_coding(level: int) -> Coding:
    """Zstandard. Raises MissingLibrary."""
    zstd = zstd_library()
    parameter: Any = zstd.CompressionParameter
    options: dict[int, int] = {parameter.compression_level: level}
    if level > 1:
        options[parameter.window_log] = _SMALL_WINDOW
    if level > 4:  # the tables that these levels would have for a window of megabytes
        options[parameter.chain_log] = _SMALL_WINDOW - 2
        options[parameter.hash_log] = _SMALL_WINDOW - 1
    return Coding(ZSTD, level, 0, partial(_zstd, zstd, options), _STEP, _ZSTD_QUICK[level] << 10, level > 5)


def _zstd(zstd: Any, options: dict[int, int], length: int) -> Coder:
    stream = zstd.ZstdCompressor(options=options)
    if length >= 0:
        stream.set_pledged_input_size(length)
    return Coder(stream.compress, partial(stream.flush, stream.FLUSH_BLOCK), stream.flush)
