"""`gunzip`: what came compressed goes out plain to clients that do not take gzip. (nginx: ngx_http_gunzip_filter_module.c.)

A body is decompressed a piece at a time, as fast as the client takes it, so memory stays what it is however large the result. Ten
kilobytes can become ten megabytes, though: a body that grows beyond `gunzip_max_ratio` or `gunzip_max_size` is an attack, or a
mistake, and cut. So is one that is no gzip, or ends too early: the client sees that by the connection, which is closed.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, final

from portico.codec.accept_encoding import GZIP
from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.errorlog import ERR
from portico.http.compression import AcceptedCodings, CompressionRules, accepted_codings, say_vary
from portico.http.errors import BodyCutShort
from portico.http.feature import Feature, LocationBuild
from portico.http.filtered import ORDER_GUNZIP, weaken_etag
from portico.http.handler import HeaderFilter
from portico.http.response import NO_RANGES, STREAM, Body

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.http.server.stream import ClientStream

_ALL: Final = HTTP | SERVER | LOCATION
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS  # with gzip's header and checksum, and nothing else
_INPUT: Final = 16384  # bytes given to zlib at once: what it does not use is copied
_LARGEST_PIECE: Final = 1 << 18
_TURNS: Final = 64  # calls of zlib for one piece: members may be tiny
_EMPTY_MEMBERS: Final = 1000  # 20 bytes each, and work that leads to nothing
_SMALL: Final = 1 << 20  # bytes of a result whose ratio is nobody's concern


def _ratio(statement: Statement) -> int:
    number = values.number(statement)
    if number == 1:
        raise values.invalid(statement)
    return number


GUNZIP: Final = Directive[bool](
    "gunzip", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Decompresses answers with `Content-Encoding: gzip` for clients that do not take gzip, or to whom `gzip_proxied`, "
    "`gzip_disable` or `gzip_http_version` deny it.",
    example="gunzip on;",
)
GUNZIP_BUFFERS: Final = Directive[tuple[int, int]](
    "gunzip_buffers", _ALL, values.buffers, args="2", default=(32, 4096), default_text="32 4k",
    syntax="NUMBER SIZE",
    doc="How much is decompressed at a time: NUMBER times SIZE bytes, at most 256k.", example="gunzip_buffers 16 8k;",
)
GUNZIP_MAX_RATIO: Final = Directive[int](
    "gunzip_max_ratio", _ALL, _ratio, args="1", default=200, default_text="200", beyond=True,
    syntax="NUMBER",
    doc="How many times as long as it came a decompressed body may be. One that is longer, and longer than 1 MB, is cut, with a line "
    "in the error log: it is a bomb. Text is seldom above 20, gzip can reach 1030. 0 is no limit, as in nginx.",
    example="gunzip_max_ratio 100;",
)
GUNZIP_MAX_SIZE: Final = Directive[int](
    "gunzip_max_size", _ALL, values.offset, args="1", default=0, default_text="0", beyond=True,
    syntax="SIZE",
    doc="How long a decompressed body may be. One that is longer is cut, with a line in the error log. 0 is no limit.",
    example="gunzip_max_size 100m;",
)


@final
class GunzipLimits:
    """The limits of one location: bytes at a time, the ratio, bytes in all; 0 for the last two is no limit."""

    def __init__(self, piece: int, ratio: int, size: int) -> None:
        self.piece = min(piece, _LARGEST_PIECE)
        self.ratio = ratio
        self.size = size

    def exceeded(self, given: int, made: int) -> str:
        """Return what is said when `given` bytes have become `made` bytes and that is too much; "" when it is not."""
        if 0 < self.size < made:
            return f"decompressed to more than {self.size} bytes (gunzip_max_size)"
        if self.ratio and made > _SMALL and made > given * self.ratio:
            return f"{given} bytes decompressed to more than {made} (gunzip_max_ratio is {self.ratio})"
        return ""


def _limits(scope: Scope) -> GunzipLimits:
    count, size = scope.get(GUNZIP_BUFFERS)
    return GunzipLimits(count * size, scope.get(GUNZIP_MAX_RATIO), scope.get(GUNZIP_MAX_SIZE))


@final
class GunzipBody(Body):
    """The plain form of `source`, which it owns. Several gzip members one after the other are one body (RFC 1952 section 2.2)."""

    def __init__(self, source: Body, limits: GunzipLimits, request: Request) -> None:
        self.kind = STREAM
        self.length = -1
        self.source = source
        self.limits = limits
        self.request = request
        self.held: bytes = b""  # compressed bytes, used up to `at`
        self.at = 0
        self.given = 0
        self.made = 0
        self.more = False  # zlib has something to say without being given anything
        self.tired = False  # there may be more, but it was enough for one turn
        self.ended = False
        self.member_ended = False
        self.empty_members = 0  # one after the other
        self._decoder = zlib.decompressobj(_GZIP_FORMAT)

    def take(self) -> bytes | None:
        made = b""
        turns = 0
        while True:
            if self.at == len(self.held) and not self.more:
                data = b"" if self.ended else self.source.take()
                if data is None:
                    return made or None
                if not data:
                    self.ended = True
                    if not made and not self.member_ended:
                        self._fail("inflate() returned -5 on response end: the compressed body is cut short")
                    return made
                self.held = data
                self.at = 0
            made += self._inflate(self.limits.piece - len(made))
            turns += 1
            if len(made) == self.limits.piece or turns >= _TURNS:
                self.tired = not made  # gzip can be long and come to nothing: others have their turn
                return made or None

    def _inflate(self, most: int) -> bytes:
        if self.member_ended:
            self.member_ended = False
            self._decoder = zlib.decompressobj(_GZIP_FORMAT)
        decoder = self._decoder
        given = self.held[self.at : self.at + _INPUT]
        try:
            made = decoder.decompress(given, most)
        except zlib.error as error:
            self._fail(f"inflate() failed: {error}")
        self.member_ended = decoder.eof
        used = len(given) - len(decoder.unused_data if decoder.eof else decoder.unconsumed_tail)
        self.at += used
        self.given += used
        self.made += len(made)
        self.more = len(made) == most and not decoder.eof
        if made:
            self.empty_members = 0
        elif decoder.eof:
            self.empty_members += 1
            if self.empty_members > _EMPTY_MEMBERS:
                self._fail(f"more than {_EMPTY_MEMBERS} empty gzip members one after the other")
        exceeded = self.limits.exceeded(self.given, self.made)
        if exceeded:
            self._fail(exceeded)
        return made

    def _fail(self, reason: str) -> None:
        """Always raises BodyCutShort."""
        self.request.log_error(ERR, reason)
        raise BodyCutShort

    async def wait(self) -> None:
        if self.tired:
            self.tired = False
        else:
            await self.source.wait()

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        await self.source.absorb(client, seconds)

    def close(self) -> None:
        self.source.close()


@final
class GunzipFilter(HeaderFilter):
    """`gunzip` of one location."""

    def __init__(self, rules: CompressionRules, codings: AcceptedCodings, limits: GunzipLimits) -> None:
        self.rules = rules
        self.codings = codings
        self.limits = limits

    def concerns_subrequests(self) -> bool:
        return True

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        return b"content-encoding" not in head.first

    def apply(self, request: Request, response: Response) -> None:
        unmodified = response.unmodified
        if response.status == 304 and unmodified is not None and unmodified.encoding.lower() == GZIP:
            # Its ETag and Vary are those of the 200.
            if self.rules.vary:
                say_vary(response)
            if not self._takes(request, response):
                weaken_etag(response)
            return
        place = _content_encoding(response)
        if place < 0 or response.fields[place][1].lower() != GZIP:
            return
        if self.rules.vary:
            say_vary(response)
        if self._takes(request, response):
            return
        del response.fields[place]
        response.finished = None
        response.content_length = -1
        response.ranges = NO_RANGES
        response.replace(b"accept-ranges", b"", b"")
        weaken_etag(response)
        response.body = GunzipBody(response.body, self.limits, request)

    def _takes(self, request: Request, response: Response) -> bool:
        return self.rules.allow(request, response) and self.codings.of(request).weight(GZIP) > 0


def _content_encoding(response: Response) -> int:
    """Return where in the fields the last Content-Encoding is; -1: there is none."""
    fields = response.fields
    for place in range(len(fields) - 1, -1, -1):
        key = fields[place][0]
        if len(key) == 16 and key.lower() == b"content-encoding":
            return place
    return -1


class GunzipFeature(Feature):
    """Adds the filter where `gunzip` is on."""

    def location(self, build: LocationBuild) -> None:
        if build.scope.get(GUNZIP):
            rules = CompressionRules(build.scope)
            build.add_header_filter(GunzipFilter(rules, accepted_codings(build.http), _limits(build.scope)), ORDER_GUNZIP)


FEATURE: Final = GunzipFeature(
    "http_gunzip", (GUNZIP, GUNZIP_BUFFERS, GUNZIP_MAX_RATIO, GUNZIP_MAX_SIZE), configure="--with-http_gunzip_module"
)
