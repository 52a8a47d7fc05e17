"""Attaches what is on to each location; the variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.accept_encoding import BROTLI as BR
from portico.codec.accept_encoding import GZIP as GZ
from portico.codec.accept_encoding import ZSTD as ZST
from portico.config.directive import Scope
from portico.features.compression import directives as d
from portico.features.compression.body import CompressedSource, Threads
from portico.features.compression.codings import Coding, brotli_coding, gzip_coding, zstd_coding
from portico.features.compression.filter import CompressionFilter, Offer
from portico.http.compression import COMPRESSION_ORDER, SHARED_DIRECTIVES, CompressionRules, accepted_codings
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.filtered import ORDER_COMPRESS
from portico.variables.variable import PER_REQUEST, Getter, Variable

if TYPE_CHECKING:
    from portico.http.request import Request


@final
class Shared:
    """What all locations of a configuration share."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self._codings: dict[tuple[bytes, int, int], Coding] = {}

    def gzip(self, level: int) -> Coding:
        """gzip at a level."""
        return self._codings.get((GZ, level, 0)) or self._keep(gzip_coding(level))

    def brotli(self, level: int, window: int) -> Coding:
        """Brotli at a level."""
        return self._codings.get((BR, level, window)) or self._keep(brotli_coding(level, window))

    def zstd(self, level: int) -> Coding:
        """Zstandard at a level."""
        return self._codings.get((ZST, level, 0)) or self._keep(zstd_coding(level))

    def _keep(self, coding: Coding) -> Coding:
        self._codings[coding.key] = coding
        return coding


def _new_shared(build: HttpBuild) -> Shared:
    shared = Shared(Threads())
    build.workers.append(shared.threads)
    return shared


_SHARED: Final = BuildSlot[Shared](_new_shared)


def _ratio(name: bytes) -> Getter[Request]:
    """nginx's `%ui.%02ui`, rounded (ngx_http_gzip_ratio_variable)."""

    def get(request: Request) -> bytes | None:
        response = request.response
        body = None if response is None else response.body
        if not isinstance(body, CompressedSource) or body.coding.name != name or not body.after:
            return None
        hundredths = (body.before * 1000 // body.after + 5) // 10
        return b"%d.%02d" % (hundredths // 100, hundredths % 100)

    return get


def _variable(name: str, coding: bytes) -> Variable[Request]:
    doc = "How many times longer the body was before it was compressed: `3.14`. Known when it has been sent."
    return Variable(name, _ratio(coding), PER_REQUEST, doc)


class CompressionFeature(Feature):
    """Adds the filter where a content encoding is on."""

    def location(self, build: LocationBuild) -> None:
        scope = build.scope
        if not (scope.get(d.GZIP) or scope.get(d.BROTLI) or scope.get(d.ZSTD)):
            return
        shared = _SHARED.of(build.http)
        offers = [offer for coding in scope.get(COMPRESSION_ORDER) for offer in _offers(scope, shared, coding)]
        rules = CompressionRules(scope)
        forms = scope.get(d.COMPRESSION_CACHE)
        accepted = accepted_codings(build.http)
        build.add_header_filter(CompressionFilter(offers, rules, accepted, forms, shared.threads), ORDER_COMPRESS)


def _offers(scope: Scope, shared: Shared, name: bytes) -> list[Offer]:
    """Return a content encoding, if it is on."""
    if name == GZ and scope.get(d.GZIP):
        return [Offer(shared.gzip(scope.get(d.GZIP_COMP_LEVEL)), scope.get(d.GZIP_TYPES), scope.get(d.GZIP_MIN_LENGTH))]
    if name == BR and scope.get(d.BROTLI):
        coding = shared.brotli(scope.get(d.BROTLI_COMP_LEVEL), scope.get(d.BROTLI_WINDOW))
        return [Offer(coding, scope.get(d.BROTLI_TYPES), scope.get(d.BROTLI_MIN_LENGTH))]
    if name == ZST and scope.get(d.ZSTD):
        return [Offer(shared.zstd(scope.get(d.ZSTD_COMP_LEVEL)), scope.get(d.ZSTD_TYPES), scope.get(d.ZSTD_MIN_LENGTH))]
    return []


GZIP: Final = Feature(
    "http_gzip",
    (d.GZIP, d.GZIP_COMP_LEVEL, d.GZIP_TYPES, d.GZIP_MIN_LENGTH, d.GZIP_BUFFERS, *SHARED_DIRECTIVES),
    (_variable("gzip_ratio", GZ),),
)
BROTLI: Final = Feature(
    "http_brotli",
    (d.BROTLI, d.BROTLI_COMP_LEVEL, d.BROTLI_TYPES, d.BROTLI_MIN_LENGTH, d.BROTLI_WINDOW, d.BROTLI_BUFFERS),
    (_variable("brotli_ratio", BR),),
)
ZSTD: Final = Feature(
    "http_zstd",
    (d.ZSTD, d.ZSTD_COMP_LEVEL, d.ZSTD_TYPES, d.ZSTD_MIN_LENGTH, d.ZSTD_BUFFERS),
    (_variable("zstd_ratio", ZST),),
)
FEATURE: Final = CompressionFeature("http_compression", (COMPRESSION_ORDER, d.COMPRESSION_CACHE))
