"""Header sections that a worker has met before: what clients repeat is parsed once.

A browser repeats its header section with every request of a connection; load balancers, monitors and scripts that make a connection
for each request repeat it on every one. The same bytes lead to the same fields, the same virtual server and the same host, so they
may be answered from a table. Only what was accepted is in it, when it comes a second time. The table is bounded in sections and in
bytes, and begins anew when it is full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.cache.recent import Recent
from portico.codec.fields import HeaderOptions, RequestFields
from portico.codec.http1_request import parse_request_fields, valid_host
from portico.http.server.limits import check_number_of_fields

if TYPE_CHECKING:
    from portico.http.plan import Listener, VirtualServer

MOST: Final = 128
LONGEST: Final = 2048  # bytes
MOST_FIELDS: Final = 50  # each is some objects: with all bounds a full table takes about a megabyte


@final
class Section:
    """A header section that has come to a listener with an HTTP version, and where it leads."""

    def __init__(self, listener: Listener, version: int, fields: RequestFields, host: bytes, server: VirtualServer) -> None:
        self.listener = listener
        self.version = version  # 10 or 11
        self.fields = fields
        self.host = host  # in lower case, without its port; b"" when the client names none
        self.server = server


@final
class Sections:
    """The header sections that one listening socket has met in one worker."""

    def __init__(self) -> None:
        self._known: dict[bytes, Section] = {}
        self._recent = Recent()  # met once

    def read(self, block: bytes, version: int, listener: Listener) -> Section:
        """Return the section that these bytes are, without its empty line. Raises ProtocolError; RegexFailed of a server_name."""
        known = self._known.get(block)
        if known is not None and known.version == version and known.listener is listener:
            return known
        core = listener.default.core
        fields = parse_request_fields(block, version, HeaderOptions(core.underscores_in_headers, core.ignore_invalid_headers))
        host = b"" if fields.host is None else valid_host(fields.host)[0]
        server = listener.find(host)
        count = len(fields.names)
        if count > core.max_headers and (fields.host is None or fields.names.index(b"host") >= core.max_headers):
            check_number_of_fields(count, core)  # the server that Host names may allow more, but its name came too late
        check_number_of_fields(count, server.core)
        section = Section(listener, version, fields, host, server)
        if len(block) <= LONGEST and len(fields.names) <= MOST_FIELDS and self._recent.is_again(hash(block), MOST):
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[block] = section
        return section
