"""Request lines that a worker has met before: what is asked for often is taken apart once.

Sites have pages that many ask for, so most request lines repeat, on one connection or on many. The line decides about method,
target, version and normal path, and about nothing else; so the same bytes may be answered from a table. Only what was accepted is
in it, when it comes a second time. It is bounded in lines and in bytes, and begins anew when it is full.
"""

from __future__ import annotations

from typing import Final, final

from portico.cache.recent import Recent
from portico.codec.http1_request import RequestLine, parse_request_line
from portico.http.routing.target import RequestTarget
from portico.http.routing.uri import normalise

MOST: Final = 1024
LONGEST: Final = 200  # bytes


@final
class KnownLine:
    """A request line taken apart. `target` is None when it is not in origin form (RFC 9112 section 3.2.1)."""

    def __init__(self, parsed: RequestLine, target: RequestTarget | None) -> None:
        self.parsed = parsed
        self.target = target


@final
class RequestLines:
    """The request lines that one listening socket has met in one worker. `merge_slashes`: how their paths are made normal."""

    def __init__(self, merge_slashes: bool) -> None:
        self._merge_slashes = merge_slashes
        self._known: dict[bytes, KnownLine] = {}
        self._recent = Recent()  # met once

    def read(self, line: bytes) -> KnownLine:
        """The line (without its CRLF) taken apart. Raises ProtocolError; ValueError when the path cannot be decoded."""
        known = self._known.get(line)
        return known if known is not None else self._read(line)

    def _read(self, line: bytes) -> KnownLine:
        parsed = parse_request_line(line)
        if parsed.target[:1] != b"/":
            return KnownLine(parsed, None)
        known = KnownLine(parsed, normalise(parsed.target, self._merge_slashes))
        if len(line) <= LONGEST and self._recent.is_again(hash(line), MOST):
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[line] = known
        return known
