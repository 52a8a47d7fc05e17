"""The body of a page: its text, what its commands put there, and the pages that it includes, in their order.

    source ──► parser ──► page ──► parts: text, inclusions (each with a task of its own) ──► what is sent

The page is read ahead of what is sent, so that the inclusions which follow one another are asked for at once; but it is not read on
beyond a number of them, beyond a number of bytes, or beyond one that it has to wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ERR
from portico.features.ssi.inclusion import Inclusion
from portico.features.ssi.page import Order, Page
from portico.features.ssi.parser import COMMAND, NOTHING, TEXT, Parser
from portico.features.ssi.shared import SsiMistake
from portico.http.errors import HTTPError
from portico.http.response import STREAM, Body

if TYPE_CHECKING:
    from portico.http.server.stream import ClientStream

_MOST_AHEAD: Final = 65536  # bytes of text that wait behind an inclusion
_MOST_OPEN: Final = 64  # inclusions of one page at once


@final
class SsiBody(Body):
    """What the commands in `source`, which it owns, make of it."""

    def __init__(self, source: Body, page: Page, parser: Parser, silent: bool) -> None:
        self.kind = STREAM
        self.length = -1
        self.source = source
        self.page = page
        self.parser = parser
        self.silent = silent  # mistakes are not shown in the page
        self.parts: list[bytes | Inclusion] = []
        self.held = 0  # bytes of text in `parts`
        self.open = 0  # inclusions in `parts`
        self.waits_for: Inclusion | None = None  # the page goes on behind it when it is there
        self.ended = False
        self.tired = False  # there may be more, but it was enough for one turn

    def take(self) -> bytes | None:
        while True:
            self._read_ahead()
            if not self.parts:
                return b"" if self.ended else None
            first = self.parts[0]
            if isinstance(first, bytes):
                return self._take_text()
            data = first.take()
            if data is None or data:
                return data
            self._end_inclusion(first)

    def _take_text(self) -> bytes:
        pieces: list[bytes] = []
        while self.parts:
            part = self.parts[0]
            if not isinstance(part, bytes):
                break
            pieces.append(part)
            self.parts.pop(0)
        self.held = 0 if not self.parts else self.held - sum(map(len, pieces))
        return b"".join(pieces)

    def _end_inclusion(self, inclusion: Inclusion) -> None:
        self.parts.pop(0)
        self.open -= 1
        if self.waits_for is inclusion:
            self.waits_for = None

    # -- reading the page --------------------------------------------------------------------------------------------

    def _read_ahead(self) -> None:
        """Carry out commands, as far as the page is here and may be read on."""
        reactor = self.page.request.reactor
        while not self.ended and self.waits_for is None and self.held < _MOST_AHEAD and self.open < _MOST_OPEN:
            found = self.parser.next()
            if found == NOTHING:
                if not self._read_more():
                    return
            elif found == TEXT:
                self._add_page_text(self.parser.text)
            elif found == COMMAND:
                self._run_command()
            else:
                self._complain(self.parser.message)
            if reactor.is_turn_over():
                self.tired = True
                return

    def _read_more(self) -> bool:
        """Give the parser more of the page; return whether there is more now."""
        data = self.source.take()
        if data is None:
            return False
        if data:
            self.parser.feed(data)
            return True
        self.ended = True
        self._add_page_text(self.parser.finish())
        return False

    def _add_page_text(self, text: bytes) -> None:
        try:
            self._add(self.page.text(text))
        except SsiMistake as mistake:
            self._complain(str(mistake))

    def _run_command(self) -> None:
        page = self.page
        try:
            order = page.run(self.parser)
            if order is None:
                self._add(page.made)
            else:
                self._include(order)
        except SsiMistake as mistake:
            self._complain(str(mistake))
        except HTTPError as error:
            self._complain(error.reason)

    def _include(self, order: Order) -> None:
        """Ask for what a command includes. Raises SsiMistake, and HTTPError when pages include each other without end."""
        page = self.page
        page.shared.check_count()
        inclusion = Inclusion(page.request, order, page.shared)
        page.shared.included += 1
        if order.waits or order.variable is not None:
            self.waits_for = inclusion
        self.parts.append(inclusion)
        self.open += 1
        inclusion.start()

    def _complain(self, message: str) -> None:
        self.page.request.log_error(ERR, message)
        if not self.silent:
            self._add(self.page.error_text)

    def _add(self, text: bytes) -> None:
        if text:
            self.parts.append(text)
            self.held += len(text)

    # -- for whoever sends it ----------------------------------------------------------------------------------------

    async def wait(self) -> None:
        first = self.parts[0] if self.parts else None
        if self.tired:
            self.tired = False
        elif isinstance(first, Inclusion):
            await first.wait()
        else:
            await self.source.wait()

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        first = self.parts[0] if self.parts else None
        if isinstance(first, Inclusion):
            await first.absorb(client, seconds)
        else:
            await self.source.absorb(client, seconds)

    def is_buffered(self) -> bool:
        return self.source.is_buffered()

    def close(self) -> None:
        self.ended = True
        for part in self.parts:
            if isinstance(part, Inclusion):
                part.close()
        self.parts = []
        self.source.close()
