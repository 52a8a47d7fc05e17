"""The directives of `gzip`, `brotli` and `zstd`, with the names and defaults of the modules that nginx users know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from portico.config import values
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.features.compression.codings import MissingLibrary, brotli_library, zstd_library
from portico.features.compression.forms import Forms
from portico.http.content.media_types import MediaTypes, media_types

_ALL: Final = HTTP | SERVER | LOCATION
_HTML: Final = MediaTypes(frozenset((b"text/html",)))
_CACHE_SIZE: Final = 32 << 20
_WINDOWS: Final[dict[str, int]] = {
    "1k": 10, "2k": 11, "4k": 12, "8k": 13, "16k": 14, "32k": 15, "64k": 16, "128k": 17, "256k": 18, "512k": 19, "1m": 20,
    "2m": 21, "4m": 22, "8m": 23, "16m": 24,
}  # fmt: skip


def _level(low: int, high: int) -> Callable[[Statement], int]:
    """Return a number in a range, with the words of ngx_conf_check_num_bounds."""

    def parse(statement: Statement) -> int:
        level = values.number(statement)
        if level < low:
            raise statement.fail(f'"{statement.name}" directive value must be equal to or greater than {low}', statement.args[0])
        if level > high:
            raise statement.fail(f'"{statement.name}" directive value must be equal to or less than {high}', statement.args[0])
        return level

    return parse


def _with_library(look: Callable[[], object]) -> Callable[[Statement], bool]:
    """`on` needs a library, which is looked for at once."""

    def parse(statement: Statement) -> bool:
        on = values.flag(statement)
        if on:
            try:
                look()
            except MissingLibrary as missing:
                message = f'"{statement.name}" needs the Python package {missing}, which is not there'
                raise statement.fail(message, statement.args[0], f"pip install {missing}") from None
        return on

    return parse


def _cache(statement: Statement) -> Forms | None:
    text = statement.args[0].text.lower()
    if text == "off":
        return None
    size = _CACHE_SIZE if text == "on" else values.size_of(text)
    if not size:
        raise statement.fail('"compression_cache" directive invalid value', statement.args[0], "on, off, or a size such as 64m")
    return Forms(size)


def _types(name: str, what: str) -> Directive[MediaTypes]:
    return Directive[MediaTypes](
        name, _ALL, media_types, args="1+", joins=True, default=_HTML, default_text="text/html",
        syntax="TYPE ...",
        doc=f"Media types of answers that `{what}` compresses besides text/html; `*` is every type.",
        example=f"{name} text/css text/plain application/javascript application/json image/svg+xml;",
    )  # fmt: skip


def _min_length(name: str, what: str) -> Directive[int]:
    return Directive[int](
        name, _ALL, values.size, args="1", default=20, default_text="20",
        doc=f"Answers whose Content-Length is below this many bytes are not worth `{what}`; any without Content-Length is.",
        example=f"{name} 1000;",
    )  # fmt: skip


def _buffers(name: str, default: tuple[int, int], default_text: str) -> Directive[tuple[int, int]]:
    return Directive[tuple[int, int]](
        name, _ALL, values.buffers, args="2", default=default, default_text=default_text,
        doc="Number and size of nginx's buffers for what comes out of the compression. Portico makes one piece at a time and sends "
        "it before the next: checked, then of no effect.",
        example=f"{name} 16 8k;",
    )  # fmt: skip


GZIP: Final = Directive[bool](
    "gzip", _ALL | IF_LOCATION, values.flag, args="1", default=False, default_text="off",
    doc="Compresses answers with status 200, 403 or 404 for clients that take gzip (RFC 1952): those of `gzip_types` and at least "
    "`gzip_min_length`, unless they are compressed already or say `Cache-Control: no-transform`. They lose their length and can "
    "not be had in parts; a strong ETag becomes a weak one. See `gzip_vary`, and mind what is said of BREACH in the guide.",
    example="gzip on;",
)
GZIP_COMP_LEVEL: Final = Directive[int](
    "gzip_comp_level", _ALL, _level(1, 9), args="1", default=1, default_text="1",
    syntax="1 .. 9",
    doc="How hard gzip tries: 1 is quick, 9 is slow. With the `isal` library levels 1 to 3 take a fraction of the time and make "
    "answers no longer than zlib's. Levels above 6 work on a thread.",
    example="gzip_comp_level 5;",
)
GZIP_TYPES: Final = _types("gzip_types", "gzip")
GZIP_MIN_LENGTH: Final = _min_length("gzip_min_length", "gzip")
GZIP_BUFFERS: Final = _buffers("gzip_buffers", (32, 4096), "32 4k")

BROTLI: Final = Directive[bool](
    "brotli", _ALL | IF_LOCATION, _with_library(brotli_library), args="1", default=False, default_text="off", beyond=True,
    syntax="on | off",
    doc="Compresses answers for clients that take br (RFC 7932), under the conditions of `gzip`, with `brotli_types` and "
    "`brotli_min_length`. Needs the Python package brotli. Directives as in google/ngx_brotli.",
    example="brotli on;",
)
BROTLI_COMP_LEVEL: Final = Directive[int](
    "brotli_comp_level", _ALL, _level(0, 11), args="1", default=6, default_text="6", beyond=True,
    syntax="0 .. 11",
    doc="How hard Brotli tries: 4 costs about what gzip does at 5, 11 some hundred times as much. Levels above 3 work on a thread.",
    example="brotli_comp_level 4;",
)
BROTLI_TYPES: Final = _types("brotli_types", "brotli")
BROTLI_MIN_LENGTH: Final = _min_length("brotli_min_length", "brotli")
BROTLI_WINDOW: Final = Directive[int](
    "brotli_window", _ALL, values.choice(_WINDOWS), args="1", default=19, default_text="512k", beyond=True,
    syntax="SIZE",
    doc="How far back Brotli looks: 1k, 2k, 4k and so on up to 16m. It is memory of every answer under way, here and at the client; "
    "an answer that is known to be shorter gets a smaller one.",
    example="brotli_window 256k;",
)
BROTLI_BUFFERS: Final = _buffers("brotli_buffers", (32, 4096), "32 4k")

ZSTD: Final = Directive[bool](
    "zstd", _ALL | IF_LOCATION, _with_library(zstd_library), args="1", default=False, default_text="off", beyond=True,
    syntax="on | off",
    doc="Compresses answers for clients that take zstd (RFC 8878), under the conditions of `gzip`, with `zstd_types` and "
    "`zstd_min_length`. Needs Python 3.14 or the package backports.zstd. Directives as in the zstd-nginx-module.",
    example="zstd on;",
)
ZSTD_COMP_LEVEL: Final = Directive[int](
    "zstd_comp_level", _ALL, _level(1, 22), args="1", default=1, default_text="1", beyond=True,
    syntax="1 .. 22",
    doc="How hard Zstandard tries: 3 is quicker than gzip at 1 and makes less of the same, 19 takes some hundred times as long. "
    "Levels above 5 work on a thread. The window is 512 KB whatever the level.",
    example="zstd_comp_level 3;",
)
ZSTD_TYPES: Final = _types("zstd_types", "zstd")
ZSTD_MIN_LENGTH: Final = _min_length("zstd_min_length", "zstd")
ZSTD_BUFFERS: Final = _buffers("zstd_buffers", (32, 4096), "32 4k")

COMPRESSION_CACHE: Final = Directive[Forms | None](
    "compression_cache", _ALL, _cache, args="1", default=None, default_text="off", beyond=True,
    syntax="on | off | SIZE",
    doc="Keeps, in each worker, the compressed forms of files that were asked for, so that a file is compressed once: up to SIZE "
    "bytes (32m for `on`), the form used longest ago leaves first, and one that would take more than an eighth is not kept. A form "
    "is that of one file as it was: device, inode, size and times of change and modification must agree. Answers from the cache "
    "have a length.",
    example="compression_cache 64m;",
)
