"""`auto_reload`: a database whose file has changed is read again by a thread, and then replaced between two requests."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, final

from portico.errorlog import ERR, INFO
from portico.features.geoip.database import Content, Database, DatabaseFailed, Stamp, read, stamp_of
from portico.worker.hook import WorkerHook

if TYPE_CHECKING:
    from portico.errorlog import ErrorLog
    from portico.worker.runtime import Runtime


@final
class Reloading(WorkerHook):
    """Looks after one database in one worker, every `interval` seconds."""

    def __init__(self, database: Database, interval: float) -> None:
        self.database = database
        self.interval = interval
        self._log: ErrorLog | None = None
        self._failed: Stamp | None = None  # of a file that could not be used: it is not tried again until it changes
        self._reads: Stamp | None = None  # of the file that the thread reads
        self._reading: Future[Content] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def start(self, runtime: Runtime) -> None:
        self._log = runtime.error_log

    def every_second(self) -> None:
        if self._reading is not None:
            if self._reading.done():
                self._take(self._reading)
                self._reading = None
            return
        now = time.time()
        if 0 <= now - self.database.last_check < self.interval:
            return
        self.database.last_check = now
        try:
            stamp = stamp_of(self.database.path)
        except OSError as error:
            self._say(ERR, f'stat() "{self.database.path}" failed ({error.errno}: {error.strerror}), the database stays as it was')
            return
        if stamp not in (self.database.content.stamp, self._failed):
            self._reads = stamp
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "geoip2")
            self._reading = self._pool.submit(read, self.database.path, self.database.edition)

    def _take(self, reading: Future[Content]) -> None:
        path = self.database.path
        try:
            content = reading.result()
        except DatabaseFailed as failure:
            self._failed = self._reads
            self._say(ERR, f'the database "{path}" has changed and cannot be used, the one before stays: {failure.reason}')
            return
        self.database.content = content
        self.database.last_change = content.stamp[0] / 1e9
        self._failed = None
        self._say(INFO, f'the database "{path}" has changed and was read again')

    def _say(self, level: int, message: str) -> None:
        if self._log is not None and self._log.enabled(level):
            self._log.write(level, message, 0)

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
