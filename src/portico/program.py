"""A configuration as a running program: from the text of `nginx.conf` to the plan that the supervisor runs."""

from __future__ import annotations

import os
from typing import final

from portico import catalogue, errorlog
from portico.config.build import build
from portico.config.diagnostics import COMMAND_LINE, ConfigError
from portico.config.directive import Scope
from portico.config.load import Load
from portico.config.reader import read, read_text
from portico.errorlog import LogFiles, failed_call
from portico.http.build import build_http
from portico.http.service import HttpService
from portico.supervisor.plan import LoadFailed, Plan, WorkerContext
from portico.supervisor.settings import ProcessSettings
from portico.worker.service import Service
from portico.worker.worker import Worker
from portico.zones.zone import Zones


@final
class Source:
    """What the command line says about the configuration."""

    def __init__(self, prefix: str, conf: str, error_log: str, globals_text: str) -> None:
        self.prefix = prefix
        self.conf = conf
        self.error_log = error_log  # -e: the error log where the configuration names none
        self.globals_text = globals_text  # -g


@final
class Program(Plan):
    """One configuration, loaded."""

    def __init__(
        self, load: Load, settings: ProcessSettings, error_log: errorlog.ErrorLog, files: LogFiles, services: list[Service],
        zones: Zones,
    ) -> None:  # fmt: skip
        super().__init__(settings, error_log, files)
        self.load = load
        self.services = services
        self.zones = zones
        self.diagnostics = load.diagnostics
        self.listens = [spec for service in services for spec in service.specs]

    def open(self) -> None:
        """Make the directories for temporary files."""
        for path in (path for service in self.services for path in service.temp_paths):
            try:
                os.makedirs(path, 0o700, exist_ok=True)
                if os.geteuid() == 0:
                    os.chown(path, self.settings.user.uid, -1)
            except OSError as error:
                raise ConfigError(failed_call(f'mkdir() "{path}"', error)) from None

    def run_worker(self, worker: WorkerContext) -> None:
        """Serve in this process until told to stop."""
        hooks = [hook for service in self.services for hook in service.hooks]
        runner = Worker(hooks, worker.log, worker.worker_connections, worker.number)
        of_key = {spec.key: service for service in self.services for spec in service.specs}
        for spec, sock in worker.listeners:
            runner.listening.append(of_key[spec.key].listen(runner.runtime, spec, sock, worker.multi_accept))

        def quit_gracefully() -> None:
            runner.quit(worker.shutdown_timeout)

        worker.on_quit = quit_gracefully
        worker.on_term = runner.terminate
        worker.on_reopen = self.reopen
        runner.start()
        worker.attach(runner.loop)
        runner.run()

    def reopen(self, user: int = -1) -> None:
        """Open the log files anew on USR1: what is buffered belongs to the old ones."""
        for service in self.services:
            service.reopen_logs()
        super().reopen(user)

    def close(self) -> None:
        """Close nothing: nothing is held that the process's end or the supervisor does not release."""


def load_program(source: Source, running: Plan | None) -> Program:
    """Read, check and build. Raises LoadFailed with everything that is wrong."""
    load = Load(source.prefix, source.conf)
    statements = read_text(source.globals_text, COMMAND_LINE, load) if source.globals_text else []
    statements = statements + read(load.conf_path, load)
    if load.conf_path not in load.files:  # it could not be read: what it lacks is not known
        raise LoadFailed(load.diagnostics)
    files = LogFiles()
    root = build(statements, catalogue.directives(), load)
    diagnostics = load.diagnostics
    zones = Zones(running.zones if isinstance(running, Program) else None)
    services = _services(root, zones, files, source.error_log)
    zones.settle()  # what is taken over was: what is not goes with the plan that runs
    settings: ProcessSettings | None = None
    try:
        settings = ProcessSettings(root)
    except ConfigError as error:
        if error.where is not None or not diagnostics.errors:  # what is missing may stand in what could not be read
            diagnostics.error(error)
    if diagnostics.errors or settings is None:
        raise LoadFailed(diagnostics)
    log = errorlog.error_log(root, files, source.error_log)
    return Program(load, settings, log, files, services, zones)


def _services(root: Scope, zones: Zones, files: LogFiles, default_log: str) -> list[Service]:
    """Build what the configuration serves: one service for each kind of listeners that it has. A new kind is added here.

    Mistakes are collected in the load's diagnostics.
    """
    http = build_http(root, catalogue.FEATURES, zones, files, default_log)
    return [HttpService(http)] if http is not None else []
