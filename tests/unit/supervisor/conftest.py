"""Configurations of the main context, and errors as nginx words them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.supervisor import plans

from portico.config.build import build
from portico.config.directive import Scope
from portico.config.load import Load
from portico.config.reader import read_text
from portico.supervisor.settings import MAIN_DIRECTIVES

Configure = Callable[[str], Scope]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Read a text as the main context; its mistakes are in `scope.load.diagnostics`."""

    def read(text: str) -> Scope:
        load = Load(str(tmp_path), "conf")
        return build(read_text(text, load.conf_path, load), MAIN_DIRECTIVES, load)

    return read


@pytest.fixture(autouse=True)
def logs_are_closed() -> Iterator[None]:
    """Each test opens several, and select(2) takes no more than 1024 descriptors."""
    yield
    for log in plans.made:
        log.files.close()
    plans.made.clear()
