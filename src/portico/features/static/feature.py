"""The directives of files from disk, and which handler a location gets."""

from __future__ import annotations

from typing import Final

from portico.codec.accept_encoding import BROTLI, GZIP, ZSTD
from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.features.static.handler import StaticHandler
from portico.features.static.precompressed import Form, PrecompressedHandler
from portico.features.static.remembered import RememberedFiles
from portico.http.compression import COMPRESSION_ORDER, CompressionRules, accepted_codings
from portico.http.content.files import FILE_DIRECTIVES, NO_ALIAS, Files
from portico.http.content.links import LINKS
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import CONTENT

_ALL: Final = HTTP | SERVER | LOCATION
_OFF: Final = 0
_ON: Final = 1
_ALWAYS: Final = 2
_MODES: Final = {"off": _OFF, "on": _ON, "always": _ALWAYS}

GZIP_STATIC: Final = Directive[int](
    "gzip_static", _ALL, values.choice(_MODES), args="1", default=_OFF, default_text="off",
    syntax="on | off | always",
    doc="Answers with the file of the same name and `.gz` behind, when there is one: `on` to clients that take gzip and to which "
    "`gzip_http_version`, `gzip_proxied` and `gzip_disable` do not deny it, `always` to all (which makes sense with `gunzip on`, or "
    "when there is nothing but the compressed file). It is not checked whether the two files fit. With `gzip_vary` the answer says "
    "that there is another form.",
    example="gzip_static on;",
)  # fmt: skip
BROTLI_STATIC: Final = Directive[int](
    "brotli_static", _ALL, values.choice(_MODES), args="1", default=_OFF, default_text="off", beyond=True,
    syntax="on | off | always",
    doc="The same for Brotli, with `.br` behind. Needs no library. Which file a client gets that takes several codings equally "
    "gladly, `compression_order` says. Directive as in google/ngx_brotli.",
    example="brotli_static on;",
)
ZSTD_STATIC: Final = Directive[int](
    "zstd_static", _ALL, values.choice(_MODES), args="1", default=_OFF, default_text="off", beyond=True,
    syntax="on | off | always",
    doc="The same for Zstandard, with `.zst` behind. Needs no library. Directive as in the zstd-nginx-module.",
    example="zstd_static on;",
)


def _memory(statement: Statement) -> int:
    """Bytes; 0 for off. Raises ConfigError."""
    text = statement.args[0].text
    size = 0 if text == "off" else values.size_of(text)
    if size is None:
        raise statement.fail('"static_memory" directive invalid value', statement.args[0], "off, or a size such as 64m")
    return size


STATIC_MEMORY: Final = Directive[int](
    "static_memory", HTTP, _memory, args="1", default=4 << 20, default_text="4m", beyond=True,
    syntax="off | SIZE",
    doc="How much memory each worker may use to keep the content of small files (up to 16k) that were served lately. Such a file is "
    "looked at with every request all the same, by one system call in place of four: a change of its content, name, owner or "
    "permissions counts at once. Turn it off where files are written through memory mappings, or lie on a network file system "
    "that is slow to tell of changes. `open_file_cache` goes before it.",
    example="static_memory 64m;",
)
_STATIC: Final = {GZIP: (GZIP_STATIC, b".gz"), BROTLI: (BROTLI_STATIC, b".br"), ZSTD: (ZSTD_STATIC, b".zst")}


def _files_in_memory(build: HttpBuild) -> RememberedFiles | None:
    room = build.scope.get(STATIC_MEMORY)
    return RememberedFiles(room) if room else None


_REMEMBERED: Final = BuildSlot[RememberedFiles | None](_files_in_memory)


class StaticFeature(Feature):
    """Tells each location its root, and puts a handler into those without content of their own."""

    def location(self, build: LocationBuild) -> None:
        scope = build.scope
        files = Files(scope)
        build.location.root = files.directory
        build.location.alias = files.kind != NO_ALIAS
        if files.links is not None:
            LINKS.put(build.location, files.links)
        if build.has_content:
            return
        plain = StaticHandler(files, _REMEMBERED.of(build.http) if files.links is None else None)
        forms: list[Form] = []
        for coding in scope.get(COMPRESSION_ORDER):
            directive, suffix = _STATIC[coding]
            mode = scope.get(directive)
            if mode != _OFF:
                forms.append(Form(coding, suffix, mode == _ALWAYS))
        if forms:
            build.add_handler(CONTENT, PrecompressedHandler(plain, forms, CompressionRules(scope), accepted_codings(build.http)))
        else:
            build.add_handler(CONTENT, plain)
            if build.location.core.max_ranges:  # else no response may say that there are ranges
                build.on_finish(plain.settle)


FEATURE: Final = StaticFeature("http_static", (*FILE_DIRECTIVES, STATIC_MEMORY))
GZIP_STATIC_FEATURE: Final = Feature("http_gzip_static", (GZIP_STATIC,), configure="--with-http_gzip_static_module")
BROTLI_STATIC_FEATURE: Final = Feature("http_brotli_static", (BROTLI_STATIC,))
ZSTD_STATIC_FEATURE: Final = Feature("http_zstd_static", (ZSTD_STATIC,))
