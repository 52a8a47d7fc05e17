"""Marks and options that all tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.processes import exempt_from_collections

HERE = Path(__file__).parent

# How long an example takes says something about the machine, and nothing about what is tested.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

# Under `nohup`, or in the background of a script, a shell has its programs ignore these, and what tests start would inherit that:
# Portico respects it (see `test_without_a_terminal_a_hangup_is_a_reload`).
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--candidate",
        choices=("portico", "nginx"),
        default="portico",
        help="what parity tests compare with nginx; `nginx` compares it with itself, which proves the rows",
    )


def pytest_collection_finish() -> None:
    exempt_from_collections()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`tests/system` and `tests/parity` carry the marks of the same name."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        if folder in ("system", "parity"):
            item.add_marker(folder)
