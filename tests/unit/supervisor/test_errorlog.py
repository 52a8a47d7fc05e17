"""The error log: levels, lines, files that fail, syslog."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
from tests.processes import open_descriptors
from tests.unit.supervisor.conftest import Configure

from portico.config.diagnostics import ConfigError
from portico.errorlog import (
    CRIT,
    DEBUG,
    ERR,
    INFO,
    NOTICE,
    WARN,
    ErrorLog,
    LogFiles,
    LogTarget,
    early,
    error_log,
)
from portico.syslog import Syslog, parse_target

STAMP = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d"


def log_to(path: Path, level: int = ERR) -> tuple[ErrorLog, LogFiles]:
    files = LogFiles()
    log = ErrorLog([LogTarget(level, str(path), None, None)], files)
    files.open()
    return log, files


def test_a_line_is_as_in_nginx(tmp_path: Path) -> None:
    log, files = log_to(tmp_path / "log")
    log.write(
        ERR, 'connect() failed (111: Connection refused), client: 127.0.0.1, request: "GET / HTTP/1.1"', 7
    )
    log.write(CRIT, "no connection")
    first, second = (tmp_path / "log").read_text().splitlines()
    pid = os.getpid()
    assert re.fullmatch(rf"{STAMP} \[error\] {pid}#\d+: \*7 connect\(\) failed .*", first)
    assert re.fullmatch(rf"{STAMP} \[crit\] {pid}#\d+: no connection", second)
    files.close()


def test_levels(tmp_path: Path) -> None:
    files = LogFiles()
    targets = [
        LogTarget(WARN, str(tmp_path / "warn"), None, None),
        LogTarget(INFO, str(tmp_path / "info"), None, None),
    ]
    log = ErrorLog(targets, files)
    files.open()
    assert log.enabled(INFO) and not log.enabled(DEBUG)
    for level, message in ((ERR, "e"), (NOTICE, "n"), (DEBUG, "d")):
        log.write(level, message)
    assert [line[-1] for line in (tmp_path / "warn").read_text().splitlines()] == ["e"]
    assert [line[-1] for line in (tmp_path / "info").read_text().splitlines()] == ["e", "n"]
    files.close()


def test_what_a_client_sent_cannot_forge_a_line(tmp_path: Path) -> None:
    log, files = log_to(tmp_path / "log")
    log.write(
        ERR, b"x\n2026/01/01 00:00:00 [emerg] \x1b[31m\x7f \xff\xc3\xa9".decode("utf-8", "surrogateescape")
    )
    log.write(ERR, "y" * 5000)
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert lines[0].endswith(b": x\\x0A2026/01/01 00:00:00 [emerg] \\x1B[31m\\x7F \xff\xc3\xa9")
    assert len(lines) == 2 and len(lines[1]) + 1 <= 2048
    files.close()


def test_reopen(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log, files = log_to(path)
    number = next(iter(files.files.values())).fd
    log.write(ERR, "one")
    path.rename(tmp_path / "old")
    files.reopen(-1, log)
    log.write(ERR, "two")
    assert path.read_text().endswith("two\n")
    assert (tmp_path / "old").read_text().endswith("one\n")
    assert next(iter(files.files.values())).fd == number
    assert not os.get_inheritable(number)
    files.close()


def test_a_path_gone_bad_keeps_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log, files = log_to(folder / "log")
    folder.rename(tmp_path / "away")
    files.reopen(-1, log)
    log.write(ERR, "still here")
    text = (tmp_path / "away" / "log").read_text()
    assert f"[emerg] {os.getpid()}#" in text
    assert f'open() "{folder}/log" failed (2: No such file or directory)' in text
    assert text.endswith("still here\n")
    files.close()


def test_what_cannot_be_opened_at_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r'open\(\) "/nonexistent/x" failed \(2: No such file or directory\)'
    ):
        log_to(Path("/nonexistent/x"))


def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    log, files = log_to(Path("/dev/full"))
    log.write(ERR, "lost")
    log.write(ERR, "lost too, without asking the disk")
    files.close()
    log.write(ERR, "closed")


def test_a_path_is_opened_once(tmp_path: Path, configure: Configure) -> None:
    scope = configure("error_log a.log; error_log a.log debug; error_log stderr crit;")
    files = LogFiles()
    log = error_log(scope, files)
    assert list(files.files) == [f"{tmp_path}/a.log"]
    assert log.level == DEBUG
    assert log.uses_stderr()


def test_the_default(tmp_path: Path, configure: Configure) -> None:
    files = LogFiles()
    assert error_log(configure(""), files).level == ERR
    assert list(files.files) == [f"{tmp_path}/logs/error.log"]
    assert error_log(configure(""), LogFiles(), "stderr").uses_stderr()


def test_early_goes_on_without_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    early("/nonexistent/x").write(ERR, "nowhere")
    told = 'portico: [alert] could not open error log file: open() "/nonexistent/x" failed (2: No such'
    assert capfd.readouterr().err.startswith(told)
    early("stderr").write(ERR, "here")
    assert capfd.readouterr().err.endswith(": here\n")


def test_early_file_whose_name_is_not_utf_8(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    early("/nonexistent/\udcff")
    assert b'open() "/nonexistent/\xff" failed' in capfdbinary.readouterr().err


def test_syslog_over_udp(configure: Configure) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        port = server.getsockname()[1]
        scope = configure(f"error_log syslog:server=127.0.0.1:{port},facility=daemon,tag=web info;")
        log = error_log(scope, LogFiles())
        log.write(ERR, "one")
        log.write(DEBUG, "not this")
        log.write(INFO, "two")
        first, second = (server.recv(2048).decode() for _ in range(2))
        host = socket.gethostname()
        # daemon is 3, error 3, info 6 (RFC 3164 4.1.1); the day is padded with a space (4.1.2).
        assert re.fullmatch(
            rf"<27>[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d {host} web: {STAMP} \[error\] \d+#\d+: one", first
        )
        assert second.startswith("<30>")
        log.close()


def test_syslog_over_a_unix_socket_that_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "dev-log"
    peer = Syslog(parse_target(f"server=unix:{path},nohostname"))
    peer.send(b"nobody listens")
    for turn in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            server.settimeout(5)
            peer.send(b"finds that the old one is gone")
            peer.send(b"text")
            received = server.recv(2048)
            assert received.startswith(b"<190>") and b" nginx: " in received, turn
        path.unlink()
    peer.close()


def test_addresses_of_syslog_servers() -> None:
    assert parse_target("server=[::1]").address == ("::1", 514)
    assert parse_target("server=[::1]:1514").address == ("::1", 1514)
    assert parse_target("server=127.0.0.1:1514").address == ("127.0.0.1", 1514)
    for wrong in ("server=127.0.0.1:x", "server=nosuch.invalid", "server=127.0.0.1,server=127.0.0.1"):
        with pytest.raises(ValueError):
            parse_target(wrong)


def test_the_early_log_gives_its_file_back(tmp_path: Path) -> None:
    before = open_descriptors()
    log = early(str(tmp_path / "log"))
    log.write(NOTICE, "signal process started")
    log.close()
    assert open_descriptors() == before
    assert (tmp_path / "log").read_text().endswith("signal process started\n")
