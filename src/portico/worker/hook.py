"""What is started and stopped with a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.worker.runtime import Runtime


class WorkerHook:
    """Something that lives in each worker: a feature's state of its own, upkeep, logs."""

    def start(self, runtime: Runtime) -> None:
        """Start in the worker, before it serves."""

    def every_second(self) -> None:
        """Do what is due about once a second while the worker serves."""

    def stop(self) -> None:
        """Stop in the worker, when it ends."""
