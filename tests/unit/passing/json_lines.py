"""A second upstream protocol: `lines_pass GROUP`, messages of JSON lines. Nothing that exists knows of it.

    request     {"method": "GET", "target": "/a", "fields": {"X": "1"}}, then the body
    response    {"status": 200, "fields": {"X": "1"}}, then the body; {"status": 103, …} before it is an interim response
    body        strings, a line each, then `null`
"""

from __future__ import annotations

import json
from typing import Final

from portico.balancing.pool import PeerConnection
from portico.codec.errors import ProtocolError
from portico.codec.http1_response import ResponseHead, parse_response_head
from portico.config.directive import LOCATION, Directive
from portico.http.feature import Feature, HttpBuild, LocationBuild
from portico.passing.cached.attach import CACHE_VARIABLES, open_caches, with_cache
from portico.passing.cached.settings import CacheDirectives
from portico.passing.directives import ResponseFieldDirectives, ResponseFieldSettings
from portico.passing.families import Prefix
from portico.passing.fields import RequestFieldRules
from portico.passing.groups import groups_of
from portico.passing.handler import ProxyHandler
from portico.passing.protocol import ResponseBodyReader, UpstreamProtocol, UpstreamRequest, UpstreamStream
from portico.passing.response import ResponseRules
from portico.passing.rewrite import Rewriter
from portico.passing.settings import BufferingDirectives, ExchangeDirectives, RequestDirectives, RetryDirectives, upstream_settings
from portico.passing.store_settings import StoreDirectives
from portico.passing.target import Lookup, Target, Url
from portico.variables.template import Template, template


def line_of(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


class LinesReader(ResponseBodyReader):
    def __init__(self) -> None:
        super().__init__(-1)
        self.line = b""

    def feed(self, data: bytes) -> bytes:
        content = b""
        *lines, self.line = (self.line + data).split(b"\n")
        while lines and not self.done:
            piece = json.loads(lines.pop(0))
            self.done = piece is None
            content += (piece or "").encode()
        if self.done:
            self.remainder = b"\n".join([*lines, self.line])
        return content


class LinesStream(UpstreamStream):
    def begin(self, asked: UpstreamRequest, encoded: bytes, limit: int) -> bytes:
        self.limit, self.stopped = limit, False
        self.reader: LinesReader | None = None
        return encoded

    def encode_piece(self, data: bytes) -> bytes:
        return line_of(data.decode())

    def encode_end(self) -> bytes:
        return line_of(None)

    def has_begun(self, data: bytes) -> bool:
        self.rest += data
        return True

    def stop_sending(self) -> None:
        self.stopped = True

    def read_head(self, data: bytes) -> ResponseHead | None:
        self.rest += data
        line, newline, rest = self.rest.partition(b"\n")
        if len(line) > self.limit:
            raise ProtocolError(502, "upstream sent too long a line")
        if not newline:
            return None
        self.rest = rest
        try:
            found = json.loads(line)
            fields = "".join(f"{name}: {value}\r\n" for name, value in found["fields"].items())
            return parse_response_head(f"HTTP/1.1 {found['status']} \r\n{fields}\r\n".encode())
        except (ValueError, KeyError, TypeError):
            raise ProtocolError(502, "upstream sent no JSON line") from None

    def body_reader(self) -> ResponseBodyReader:
        self.reader = LinesReader()
        return self.reader

    def is_reusable(self) -> bool:
        return self.reader is not None and self.reader.done and not self.reader.remainder and not self.stopped


class LinesProtocol(UpstreamProtocol):
    def __init__(self, rules: RequestFieldRules) -> None:
        super().__init__(can_upgrade=False, needs_length=False)
        self.rules = rules

    def encode(self, asked: UpstreamRequest) -> bytes:
        lines = self.rules.lines_of(asked.request.fields)
        fields = dict(line.decode().split(": ", 1) for line in lines)
        head = line_of({"method": asked.method.decode(), "target": asked.uri.decode(), "fields": fields})
        if asked.body is None:
            return head + line_of(None)
        return head if asked.body.data is None else head + line_of(asked.body.data.decode()) + line_of(None)

    def stream_of(self, connection: PeerConnection) -> UpstreamStream:
        stream = connection.state = connection.state or LinesStream(connection.transport)
        assert isinstance(stream, LinesStream)
        return stream


_LINES: Final = Prefix("lines", "the server of lines")
_EXCHANGE: Final = ExchangeDirectives(_LINES)
_BUFFERING: Final = BufferingDirectives(_EXCHANGE)
_UPSTREAM: Final = (_EXCHANGE, RetryDirectives(_LINES), _BUFFERING, RequestDirectives(_LINES))
_FIELDS: Final = ResponseFieldDirectives(_LINES, ())
_CACHE: Final = CacheDirectives(_LINES, "the target", converts_head=False)
_STORE: Final = StoreDirectives(_LINES)
PASS: Final = Directive[Template | None]("lines_pass", LOCATION, template, args="1", default=None, doc=".", example="lines_pass app;")


class LinesFeature(Feature):
    def http(self, build: HttpBuild) -> None:
        open_caches(build, _CACHE, _BUFFERING.temp_directory(build.scope))

    def location(self, build: LocationBuild) -> None:
        url = build.scope.own(PASS)
        if url is None:
            return
        settings = upstream_settings(_UPSTREAM, build.scope)
        sent = RequestFieldRules([], True, False)
        found = ResponseFieldSettings(_FIELDS, build.scope)
        rules = ResponseRules(found.hidden, found.passed, found.ignored, Rewriter([], [], [], []), False)
        groups = groups_of(build.http)
        target = Target(Url("http://" + url.text), groups[url.text])
        handler = ProxyHandler(settings, LinesProtocol(sent), sent, rules, target, url, Lookup(groups), None)
        build.set_content(with_cache(build, handler, _CACHE, _STORE, _FIELDS))
        build.on_finish(handler.settle)


_ALL: Final = [d for family in (*_UPSTREAM, _FIELDS, _CACHE, _STORE) for d in family.all()]
FEATURE: Final = LinesFeature("lines", (PASS, *_ALL), CACHE_VARIABLES)
