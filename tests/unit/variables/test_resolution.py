"""Texts are resolved with the variables of the outermost block that they stand in: `http` and `stream` have different ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.unit.variables.sessions import Served

from portico.config import values
from portico.config.build import build
from portico.config.directive import HTTP, MAIN, SERVER, STREAM, STREAM_SERVER, Directive
from portico.config.load import Load
from portico.config.reader import read_text
from portico.variables.session import Session
from portico.variables.template import Template, template, template_of
from portico.variables.variable import Variable, Variables


def _block(name: str, context: int, opens: int) -> Directive[None]:
    return Directive[None](name, context, values.nothing, args="0", default=None, doc="", example="", block=opens)


HTTP_BLOCK: Final = _block("http", MAIN, HTTP)
STREAM_BLOCK: Final = _block("stream", MAIN, STREAM)
SERVERS: Final = (_block("server", HTTP, SERVER), _block("server", STREAM, STREAM_SERVER))
TEXT: Final = Directive[Template | None](
    "text", SERVER | STREAM_SERVER, template, args="1", default=None, doc="", example=""
)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    served = Served("", tmp_path)
    yield served.session()
    served.close()


def _constant(name: str, value: bytes) -> Variable[Session]:
    return Variable(name, lambda session: value)


class Loaded:
    """A configuration with one `text` in a server of each block."""

    def __init__(self, text: str) -> None:
        self.load = Load("/srv", "/srv/x.conf")
        self.root = build(read_text(text, "x.conf", self.load), (HTTP_BLOCK, STREAM_BLOCK, *SERVERS, TEXT), self.load)

    def resolve(self, block: str, *names: str) -> None:
        """Do what a service of that block does; each variable's value is the block's name and its own."""
        self.load.block = block
        variables: Variables[Session] = Variables()
        for name in names:
            variables.add(_constant(name, f"{block}'s {name}".encode()))
        self.load.resolve_all(variables)
        self.load.block = ""

    def text(self, block: Directive[None]) -> Template:
        (scope,) = self.root.blocks(block)
        (server,) = scope.children
        found = server.get(TEXT)
        assert found is not None
        return found

    def mistakes(self) -> list[str]:
        return [str(error) for error in self.load.diagnostics.errors]


def test_each_block_has_variables_of_its_own(session: Session) -> None:
    loaded = Loaded("http { server { text $a; } }\nstream { server { text $a; } }")
    loaded.resolve("stream", "a")
    loaded.resolve("http", "a")
    assert loaded.text(HTTP_BLOCK).render(session) == b"http's a"
    assert loaded.text(STREAM_BLOCK).render(session) == b"stream's a"


def test_a_variable_of_another_block_is_unknown() -> None:
    loaded = Loaded("http { server { text $a; } }\nstream { server { text $a; } }")
    loaded.resolve("http", "a")
    loaded.resolve("stream", "b")
    assert loaded.mistakes() == ['unknown "a" variable in x.conf:2']


def test_what_is_made_while_a_service_is_built_belongs_to_its_block(session: Session) -> None:
    loaded = Loaded("stream { server { text x; } }")
    (stream,) = loaded.root.blocks(STREAM_BLOCK)
    assert stream.statement is not None
    loaded.load.block = "stream"
    made = template_of("$a", stream.statement)
    loaded.resolve("http", "b")
    assert loaded.mistakes() == []
    loaded.resolve("stream", "a")
    assert made.render(session) == b"stream's a"


def test_what_is_resolved_is_not_resolved_again() -> None:
    loaded = Loaded("http { server { text $a; } }")
    loaded.resolve("http", "b")
    loaded.resolve("http", "b")
    assert loaded.mistakes() == ['unknown "a" variable in x.conf:1']
