"""Whole small sites in the style of those that projects publish, beside nginx: `sites.conf` has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.parity.backend import reply
from tests.parity.exchange import Exchange, Tls, request
from tests.parity.harness import Group, Servers

TEXT = Path(__file__).with_name("sites.conf").read_text()
LINE = re.compile(r"(?P<words>[^<]*?)(?:\s*<< (?P<body>.*))?")


def _fields(text: str) -> list[str]:
    return [field.strip() for field in text.split(" | ") if field.strip()]


def _answer(line: str) -> bytes:
    """What the backend answers, from `STATUS [Field: value | …] [<< BODY]`."""
    match = LINE.fullmatch(line)
    assert match is not None, line
    status, _, fields = match["words"].partition(" ")
    return reply(int(status), match["body"] or "", *_fields(fields))


def _row(number: int, line: str, answer: bytes) -> Exchange:
    """A request, from `[tls] METHOD TARGET [Field: value | …] [<< BODY]`."""
    tls = line.startswith("tls ")
    match = LINE.fullmatch(line.removeprefix("tls "))
    assert match is not None, line
    method, target, *rest = match["words"].split(" ", 2)
    fields = _fields(rest[0]) if rest else []
    hosts = [field[6:] for field in fields if field.startswith("Host: ")]
    data = request(
        method, target, *[field for field in fields if not field.startswith("Host: ")],
        host=hosts[0] if hosts else "localhost", body=(match["body"] or "").encode(),
    )  # fmt: skip
    return Exchange(f"{number}: {line}", data, tls=Tls() if tls else None, backend=answer)


def sites() -> list[tuple[str, Group, list[Exchange]]]:
    """Each site with its name and the requests to it."""
    found: list[tuple[str, Group, list[Exchange]]] = []
    for part in TEXT.split("\n#### ")[1:]:
        name, _, rest = part.partition("\n")
        files: dict[str, bytes] = {}
        rows: list[Exchange] = []
        answer = reply()
        lines = rest.splitlines()
        for line in lines:
            kind, text = line[:3], line[3:]
            if kind == "#f ":
                path, _, content = text.partition(" ")
                files[path] = content.encode()
            elif kind == "#b ":
                answer = _answer(text)
            elif kind == "#> ":
                rows.append(_row(len(rows) + 1, text, answer))
        text = "\n".join(line for line in lines if not line.startswith("#"))
        found.append((name, Group(text, files), rows))
    return found


SITES = sites()


@pytest.mark.parametrize(
    ("servers", "rows"), [pytest.param(group, rows, id=name) for name, group, rows in SITES], indirect=["servers"]
)
def test_site(servers: Servers, rows: list[Exchange]) -> None:
    different = [f"{row.id}:\n{text}" for row in rows if (text := servers.difference(row))]
    if different:
        pytest.fail("\n\n".join(different), pytrace=False)


def test_there_are_sixty() -> None:
    assert len(SITES) >= 60 and all(rows for _, _, rows in SITES)
