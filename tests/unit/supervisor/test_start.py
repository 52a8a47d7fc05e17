"""From a text to a plan that can be served: whatever fails is told, gives back what was open, and leaves what runs alone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.processes import free_port, open_descriptors
from tests.unit.supervisor.plans import Log, NotedPlan, mistake, prepared

from portico.config.diagnostics import Diagnostics
from portico.net.listen import ListenSpec
from portico.supervisor import start
from portico.supervisor.plan import LoadFailed
from portico.supervisor.start import StartFailed, prepare


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path, "early").open()


def tcp(port: int) -> ListenSpec:
    return ListenSpec(socket.AF_INET, ("127.0.0.1", port))


def failed(*mistakes: tuple[str, str]) -> LoadFailed:
    diagnostics = Diagnostics()
    for message, level in mistakes:
        diagnostics.error(mistake(message, level))
    return LoadFailed(diagnostics)


def test_a_start_opens_logs_then_memory_then_sockets(tmp_path: Path, log: Log) -> None:
    plan = NotedPlan(tmp_path)
    plan.listens.append(tcp(free_port()))
    found = prepare(lambda running: plan, None, None, log.report)
    assert plan.life == ["open"]
    assert log.report.log is plan.error_log  # from now on it reports there
    assert len(found.sockets.all()) == 1
    found.sockets.close(unlink=True)
    start.close(plan)
    assert plan.life == ["open", "close"]


def test_a_reload_gets_the_plan_that_runs_and_takes_its_sockets(tmp_path: Path, log: Log) -> None:
    port = free_port()
    old, new = NotedPlan(tmp_path), NotedPlan(tmp_path)
    old.listens.append(tcp(port))
    new.listens.append(tcp(port))
    running = prepare(lambda running: old, None, None, log.report)
    given: list[object] = []
    fresh = prepare(lambda plan: given.append(plan) or new, running, None, log.report)
    assert given == [old]
    assert fresh.sockets.all() == running.sockets.all()
    assert log.report.log is old.error_log  # until the new one takes over, which is not decided here
    fresh.sockets.close(unlink=True)


def test_with_master_process_off_there_is_one_worker_whatever_is_configured(tmp_path: Path, log: Log) -> None:
    spec = tcp(free_port())
    spec.reuseport = True
    plan = NotedPlan(tmp_path, "worker_processes 4; master_process off;")
    plan.listens.append(spec)
    found = prepare(lambda running: plan, None, None, log.report)
    assert len(found.sockets.all()) == 1
    found.sockets.close(unlink=True)


def test_all_mistakes_of_a_configuration_are_told_each_at_its_level(tmp_path: Path, log: Log) -> None:
    def load(running: object) -> NotedPlan:
        raise failed(("first", "emerg"), ("second", "crit"))

    with pytest.raises(StartFailed):
        prepare(load, None, None, log.report)
    assert log.lines() == [("emerg", "first"), ("crit", "second")]


def test_what_the_plan_cannot_open_closes_it(tmp_path: Path, log: Log) -> None:
    for error in (mistake("no memory"), OSError("no memory")):
        plan = NotedPlan(tmp_path, fails=error)
        with pytest.raises(StartFailed):
            prepare(lambda running, plan=plan: plan, None, None, log.report)  # type: ignore[misc]
        assert plan.life == ["open", "close"]
        assert all(file.fd < 0 for file in plan.log_files.files.values())
        assert plan.made.lines()[-1] == ("emerg", "no memory")


def test_a_log_that_cannot_be_opened(tmp_path: Path, log: Log) -> None:
    plan = NotedPlan(tmp_path)
    plan.log_files.get("/nonexistent/log")
    with pytest.raises(StartFailed):
        prepare(lambda running: plan, None, None, log.report)
    assert plan.life == ["close"]
    assert log.lines() == [("emerg", 'open() "/nonexistent/log" failed (2: No such file or directory)')]


def test_a_mistake_of_ours_is_not_hidden_at_a_start(tmp_path: Path, log: Log) -> None:
    def load(running: object) -> NotedPlan:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        prepare(load, None, None, log.report)
    with pytest.raises(ZeroDivisionError):
        prepare(lambda running: NotedPlan(tmp_path, fails=ZeroDivisionError("ours")), None, None, log.report)


def test_a_mistake_of_ours_does_not_end_what_runs(tmp_path: Path, log: Log) -> None:
    """Its traceback is in the log; the configuration that runs goes on."""
    running = prepared(NotedPlan(tmp_path))

    def load(plan: object) -> NotedPlan:
        raise ZeroDivisionError("ours")

    with pytest.raises(StartFailed):
        prepare(load, running, None, log.report)
    fresh = NotedPlan(tmp_path, fails=ZeroDivisionError("ours"))
    with pytest.raises(StartFailed):
        prepare(lambda plan: fresh, running, None, log.report)
    assert fresh.life == ["open", "close"]
    told = log.lines()
    assert {level for level, _ in told} == {"alert"}
    assert [message for _, message in told if message.startswith("ZeroDivisionError")] == ["ZeroDivisionError: ours"] * 2


def test_a_reload_whose_socket_cannot_be_bound_leaves_the_running_ones(tmp_path: Path, log: Log) -> None:
    port = free_port()
    old, new = NotedPlan(tmp_path), NotedPlan(tmp_path)
    old.listens.append(tcp(port))
    new.listens += [tcp(port), ListenSpec(socket.AF_UNIX, "/nonexistent/s")]
    running = prepare(lambda plan: old, None, None, log.report)
    with pytest.raises(StartFailed):
        prepare(lambda plan: new, running, None, log.report)
    assert new.life == ["open", "close"] and old.life == ["open"]
    assert old.made.lines()[-1] == ("emerg", "bind() to unix:/nonexistent/s failed (2: No such file or directory)")
    assert all(opened.fileno() >= 0 for opened in running.sockets.all())
    running.sockets.close(unlink=True)


# -- `-t`


def test_a_test_gives_everything_back_and_writes_no_pid_file(tmp_path: Path, log: Log) -> None:
    plan = NotedPlan(tmp_path, f"pid {tmp_path}/run.pid;")
    path = tmp_path / "socket"
    plan.listens += [tcp(free_port()), ListenSpec(socket.AF_UNIX, str(path))]
    before = open_descriptors()
    assert start.test(plan, log.report)
    assert plan.life == ["open", "close"]
    assert open_descriptors() == before
    assert not path.exists() and not (tmp_path / "run.pid").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pid /nonexistent/run.pid;", 'open() "/nonexistent/run.pid" failed (2: No such file or directory)'),
        ("pid /;", 'open() "/" failed (21: Is a directory)'),
    ],
)
def test_a_test_fails_for_a_pid_file_that_could_not_be_written(tmp_path: Path, log: Log, text: str, message: str) -> None:
    plan = NotedPlan(tmp_path, text)
    assert not start.test(plan, log.report)
    assert plan.life == ["open", "close"]
    assert log.lines() == [("emerg", message)]


def test_a_test_fails_for_what_the_plan_cannot_open(tmp_path: Path, log: Log) -> None:
    plan = NotedPlan(tmp_path, fails=mistake("no memory"))
    assert not start.test(plan, log.report)
    assert plan.life == ["open", "close"]
    assert log.lines() == [("emerg", "no memory")]
