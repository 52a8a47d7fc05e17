"""`stub_status`: how many connections and requests there are, over all workers. (nginx: ngx_http_stub_status_module.c.)

Each worker has a row in shared memory, which it writes when a request is over and once a second; who is asked adds up. What a
worker counted outlives it: whoever takes over its row adds it to row 0. Workers write only where the configuration names
`stub_status` or one of its variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import LOCATION, SERVER, Directive
from portico.http.errors import wrong_method
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import Handler, Logger
from portico.http.response import Response, text_response
from portico.variables.variable import PER_REQUEST, Variable
from portico.worker.hook import WorkerHook
from portico.worker.runtime import Runtime
from portico.zones.owner import is_alive, own_identity
from portico.zones.table import SharedTable

if TYPE_CHECKING:
    from portico.http.request import Request

_MODULE: Final = "http_stub_status"
_ZONE: Final = " stub_status"  # no zone of a configuration can have this name
_ROWS: Final = 1024  # workers of all configurations that are still at work
_COLUMNS: Final = 6
_OWNER: Final = 0
_ACCEPTED: Final = 1
_REQUESTS: Final = 2
_ACTIVE: Final = 3
_WRITING: Final = 4
_WAITING: Final = 5
_USED: Final = _OWNER  # of row 0: how many rows have ever been somebody's


@final
class Totals:
    """The sums over all workers."""

    def __init__(self) -> None:
        self.accepted = 0
        self.requests = 0
        self.active = 0
        self.writing = 0
        self.waiting = 0

    def reading(self) -> int:
        """Connections whose request header section is being read."""
        return max(0, self.active - self.writing - self.waiting)


@final
class Board:
    """The workers' rows, as one of them sees them."""

    def __init__(self) -> None:
        self.table: SharedTable | None = None
        self.runtime: Runtime | None = None  # of this worker
        self.row = 0  # this worker's; 0: it has none
        self.owner = 0

    def join(self, runtime: Runtime) -> None:
        """Begin with the worker: acquire a row, and add up what workers that are gone left."""
        table = self.table
        assert table is not None
        self.runtime = runtime
        self.owner = own_identity()
        table.lock()
        try:
            used = table.get(0, _USED)
            self.row = 0
            for row in range(1, used + 1):
                owner = table.get(row, _OWNER)
                if owner and not is_alive(owner):
                    self._fold(row)
                    owner = 0
                if owner == 0 and self.row == 0:
                    self.row = row
            if self.row == 0 and used + 1 < _ROWS:
                self.row = used + 1
                table.set(0, _USED, self.row)
            if self.row:
                table.set(self.row, _OWNER, self.owner)
        finally:
            table.unlock()
        self.publish()

    def leave(self) -> None:
        """End with the worker: release its row."""
        table = self.table
        if table is not None and self.row:
            self.publish()
            table.lock()
            try:
                self._fold(self.row)
            finally:
                table.unlock()
            self.row = 0

    def publish(self) -> None:
        """Write this worker's row."""
        runtime = self.runtime
        table = self.table
        if runtime is None or table is None or self.row == 0:
            return
        table.write(
            self.row,
            (self.owner, runtime.accepted, runtime.requests, len(runtime.connections), runtime.serving, len(runtime.idle)),
        )

    def totals(self) -> Totals:
        """Return what all workers have written, and this one's numbers of now."""
        self.publish()
        sums = Totals()
        table = self.table
        if table is None:
            return sums
        gone = table.read(0, _COLUMNS)
        sums.accepted = gone[_ACCEPTED]
        sums.requests = gone[_REQUESTS]
        for row in range(1, gone[_USED] + 1):
            cells = table.read(row, _COLUMNS)
            sums.accepted += cells[_ACCEPTED]
            sums.requests += cells[_REQUESTS]
            sums.active += cells[_ACTIVE]
            sums.writing += cells[_WRITING]
            sums.waiting += cells[_WAITING]
        return sums

    def _fold(self, row: int) -> None:
        """Nobody's row any more: what it counted goes into row 0."""
        table = self.table
        assert table is not None
        table.set(0, _ACCEPTED, table.get(0, _ACCEPTED) + table.get(row, _ACCEPTED))
        table.set(0, _REQUESTS, table.get(0, _REQUESTS) + table.get(row, _REQUESTS))
        table.write(row, (0,) * _COLUMNS)


@final
class BoardHook(WorkerHook):
    """Takes a row for the worker's life."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def start(self, runtime: Runtime) -> None:
        _WORKER.board = self.board
        self.board.join(runtime)

    def stop(self) -> None:
        self.board.leave()


@final
class BoardLogger(Logger):
    """Writes the row after each request, and once a second for what has changed without one."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def log(self, request: Request) -> None:
        self.board.publish()

    def flush(self) -> None:
        self.board.publish()


@final
class StubStatusHandler(Handler):
    """Responds with nginx's five numbers and three more."""

    def __init__(self, board: Board) -> None:
        self.is_async = False
        self.board = board

    def handle(self, request: Request) -> Response | None:
        if request.method != b"GET" and request.method != b"HEAD":
            raise wrong_method(request.method, "stub_status")
        sums = self.board.totals()
        text = (
            f"Active connections: {sums.active} \n"
            f"server accepts handled requests\n {sums.accepted} {sums.accepted} {sums.requests} \n"
            f"Reading: {sums.reading()} Writing: {sums.writing} Waiting: {sums.waiting} \n"
        )
        return text_response(200, b"text/plain", text.encode())

    def describe(self) -> str:
        return "stub_status"


STUB_STATUS: Final = Directive[bool](
    "stub_status", SERVER | LOCATION, values.present, args="0-1", many=True, default=False, syntax="[WORD]",
    doc="Answers with the number of connections now, of connections and requests since the start, and of connections that are "
    "reading a request, writing an answer, and waiting for a request. The sums over all workers; what other workers have "
    "counted since their last request may lack up to a second. An argument, as old versions of nginx wanted it, means "
    "nothing.",
    example="location = /status { stub_status; }",
)

# -- attaching


@final
class _Worker:
    """The board of the configuration that this worker serves: a worker serves one."""

    def __init__(self) -> None:
        self.board: Board | None = None


_WORKER: Final = _Worker()


def _totals() -> Totals:
    board = _WORKER.board
    return Totals() if board is None else board.totals()


def _active(request: Request) -> bytes | None:
    return b"%d" % _totals().active


def _reading(request: Request) -> bytes | None:
    return b"%d" % _totals().reading()


def _writing(request: Request) -> bytes | None:
    return b"%d" % _totals().writing


def _waiting(request: Request) -> bytes | None:
    return b"%d" % _totals().waiting


def _is_used(build: HttpBuild) -> bool:
    """Return whether any file of the configuration names it."""
    load = build.scope.load
    return load.names("stub_status") or load.names("connections_")


def _new_board(build: HttpBuild) -> BoardLogger | None:
    if not _is_used(build):
        return None
    board = Board()
    logger = BoardLogger(board)
    zone = build.zones.add(_ZONE, _ROWS * _COLUMNS * 8, _MODULE)
    board.table = zone.open(_COLUMNS)
    build.workers.append(BoardHook(board))
    build.loggers.append(logger)
    return logger


_BOARD: Final = BuildSlot[BoardLogger | None](_new_board)


class StubStatusFeature(Feature):
    """nginx's http_stub_status module."""

    def http(self, build: HttpBuild) -> None:
        _BOARD.of(build)

    def location(self, build: LocationBuild) -> None:
        logger = _BOARD.of(build.http)
        if logger is None:
            return
        build.loggers.append(logger)
        if build.scope.own(STUB_STATUS):
            build.set_content(StubStatusHandler(logger.board))


FEATURE: Final = StubStatusFeature(
    _MODULE,
    (STUB_STATUS,),
    (
        Variable("connections_active", _active, PER_REQUEST, "Client connections, those that wait for a request included."),
        Variable("connections_reading", _reading, PER_REQUEST, "Connections whose request head is being read."),
        Variable("connections_writing", _writing, PER_REQUEST, "Connections whose request is being worked on or answered."),
        Variable("connections_waiting", _waiting, PER_REQUEST, "Connections that wait for a request."),
    ),
    configure="--with-http_stub_status_module",
)
