"""Portico in front of one file, with whatever guards it: for tests of access."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from tests.processes import children, free_port, portico, text_of

from portico import cli

CONF = """\
daemon off;
worker_processes {workers};
user root;
pid {folder}/run.pid;
error_log {folder}/error.log debug;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    default_type text/plain;
    {http}
    server {{
        listen 127.0.0.1:{port};
        root {folder};
        {server}
    }}
}}
"""


def basic(user: str, password: str) -> dict[str, str]:
    """The header of Basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Answer:
    """Status, header and body of an answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


class Guarded:
    """One running Portico; `@FOLDER@` in its configuration is the folder with its files, `@PORT@` its port."""

    def __init__(self, folder: Path, server: str, http: str = "", workers: int = 1) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "index.html").write_text("the file\n")
        self.conf = folder / "portico.conf"
        text = CONF.format(folder=folder, port=self.port, server=server, http=http, workers=workers)
        self.conf.write_text(text.replace("@FOLDER@", str(folder)).replace("@PORT@", str(self.port)))
        self.process = portico(folder, self.conf)
        self.process.wait_listening(self.port)

    def connect(self) -> http.client.HTTPConnection:
        """A connection to it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def get(self, target: str = "/index.html", headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            connection.request("GET", target, headers=dict(headers or {}))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def log(self) -> str:
        """Everything that it has written."""
        logs = [self.folder / "error.log", self.folder / "access.log"]
        return "".join(text_of(log) for log in logs) + self.process.output()

    def workers(self) -> list[int]:
        """The workers' pids."""
        return children(self.process.pid)

    def stop(self) -> None:
        """End it; nothing unexpected may have happened."""
        self.process.stop()
        assert "internal error" not in self.log()
        assert "Traceback" not in self.log()


@contextmanager
def folder_of(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder with these files."""
    folder = Path(tempfile.mkdtemp(prefix="guarded-", dir="/tmp"))
    try:
        for name, text in files.items():
            (folder / name).write_text(text)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def guarded(files: Mapping[str, str], server: str, http: str = "", workers: int = 1) -> Iterator[Guarded]:
    """Portico with these files beside its configuration."""
    with folder_of(files) as folder:
        running = Guarded(folder, server, http, workers)
        try:
            yield running
        finally:
            running.stop()


def checked(files: Mapping[str, str], server: str, http: str = "") -> tuple[int, str]:
    """What `-t` says. In this process, as a new one would take longer to start than to read a configuration."""
    with folder_of(files) as folder:
        conf = folder / "portico.conf"
        conf.write_text(CONF.format(folder=folder, port=free_port(), server=server, http=http, workers=1))
        with stderr_in(folder / "said"):
            code = cli.main(["-t", "-p", f"{folder}/", "-c", str(conf)])
        return code, (folder / "said").read_text().replace(str(folder), "FOLDER")


@contextmanager
def stderr_in(path: Path) -> Iterator[None]:
    """What this process writes to stderr, by Python or by its number, goes to a file."""
    number = os.dup(2)
    try:
        with path.open("w", buffering=1) as file, redirect_stderr(file):
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(number, 2)
        os.close(number)
