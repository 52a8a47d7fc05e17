"""The rows of the other files of this folder once more, over HTTP/2: nginx and Portico, the same requests, compared.

A row is carried over when all that it sends are whole requests of HTTP/1.1 in origin form, which HTTP/2 can say. What nginx and
Portico do otherwise in HTTP/1.1 (`differs`) is not asked again, nor what is about connections, TLS, pauses and bytes.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.parity.exchange import Age, Exchange
from tests.parity.harness import Group, Servers
from tests.parity.over_http2 import requests_of

HERE = Path(__file__).parent
LISTEN = re.compile(r"(\blisten\s+(?:127\.0\.0\.1:|\[::1\]:)?@PORT\w*@)([^;]*);")
# Files whose rows are about the bytes of HTTP/1, about TLS, or about what stands before HTTP.
NOT_CARRIED_OVER = {
    "test_parsing", "test_tls", "test_proxy_protocol", "test_repeated_heads", "test_header_order", "test_repeats", "test_http2",
}  # fmt: skip


def groups() -> list[tuple[str, Group, list[Exchange]]]:
    """The groups with the rows that can be carried over."""
    found: list[tuple[str, Group, list[Exchange]]] = []
    for path in sorted(HERE.glob("test_*.py")):
        if path.stem in NOT_CARRIED_OVER:
            continue
        module = importlib.import_module(f"tests.parity.{path.stem}")
        for name, test in vars(module).items():
            marks = {mark.args[0]: mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"}
            if not name.startswith("test_") or "exchange" not in marks or "servers" not in marks:
                continue
            group = marks["servers"].args[1][0]
            rows = [row for row in marks["exchange"].args[1] if can_be_carried_over(row)]
            asks_itself = "@PORT" in LISTEN.sub("", group.http)  # in HTTP/1, which nginx 1.22 does not take then
            if rows and LISTEN.search(group.http) and " ssl" not in group.http and not asks_itself:
                found.append((f"{path.stem}-{name}", group, rows))
    return found


def can_be_carried_over(row: Exchange) -> bool:
    if row.differs or row.tls or row.tunnel is not None or row.methods:
        return False
    try:
        return bool(requests_of(row))
    except ValueError:
        return False


def over_http2(group: Group) -> Group:
    return replace(group, http=LISTEN.sub(r"\1\2 http2;", group.http))


GROUPS = groups()
CASES = [pytest.param(over_http2(group), rows, id=name) for name, group, rows in GROUPS]


@pytest.mark.parametrize(("servers", "rows"), CASES, indirect=["servers"])
def test_rows(servers: Servers, rows: list[Exchange]) -> None:
    carried = [replace(row, http2=True) for row in rows]
    servers.begin(*[row for row in carried if any(isinstance(act, Age) for act in row.acts())])
    found = [(row.id, servers.difference(row)) for row in carried]
    different = [f"{name}:\n{text}" for name, text in found if text]
    if different:
        pytest.fail(f"{len(different)} of {len(found)} rows differ\n" + "\n\n".join(different), pytrace=False)


def test_most_rows_are_carried_over() -> None:
    assert sum(len(rows) for _, _, rows in GROUPS) > 1000
