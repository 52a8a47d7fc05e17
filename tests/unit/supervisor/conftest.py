"""Configurations of the main context, and errors as nginx words them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
