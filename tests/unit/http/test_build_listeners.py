"""Which sockets there are, which servers are behind each, and what their addresses offer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features import http2
from portico.http.plan import Listener

OTHER = "} server { listen 127.0.0.1:%s; server_name other; "


def listeners(folder: Path, text: str) -> dict[str, Listener]:
    """The sockets of two servers: the first one listens on 127.0.0.1:8080, too."""
    site = Site(text, folder, (*FEATURES, http2.FEATURE))
    site.close()
    return {str(listener.spec): listener for listener in site.plan.listeners}


def test_servers_share_an_address(tmp_path: Path) -> None:
    (listener,) = listeners(tmp_path, "server_name one;" + OTHER % 8080).values()
    assert [server.name for server in listener.servers] == ["one", "other"]
    assert listener.default.name == "one" and listener.find(b"other").name == "other" and listener.find(b"x").name == "one"


def test_the_default_server_is_the_one_that_says_so(tmp_path: Path) -> None:
    (listener,) = listeners(tmp_path, "server_name one;" + OTHER % "8080 default_server").values()
    assert listener.default.name == "other" and listener.find(b"x").name == "other"


def test_an_address_beside_a_wildcard_is_served_by_its_socket(tmp_path: Path) -> None:
    found = listeners(tmp_path, "server_name one;} server { listen 8080; server_name any; ")
    (listener,) = found.values()
    assert listener.default.name == "any" and listener.for_address("127.0.0.1").default.name == "one"
    assert listener.for_address("127.0.0.2") is listener


def test_an_address_with_options_has_a_socket_of_its_own(tmp_path: Path) -> None:
    found = listeners(tmp_path, "server_name one;} server { listen 8081; } server { listen 127.0.0.1:8081 bind; ")
    assert len(found) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("listen 127.0.0.1:8080;", "a duplicate listen 127.0.0.1:8080"),
        ("} server { listen 1.2.3.4:80 default_server; } server { listen 1.2.3.4:80 default;", "a duplicate default server for"),
        ("} server { listen 1.2.3.4:80 backlog=1; } server { listen 1.2.3.4:80 backlog=1;", "duplicate listen options for"),
    ],
)
def test_contradictions(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        listeners(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "speaks", "all_do"),
    [
        ("", False, False),
        ("http2 on;", True, False),
        ("http2 off;", False, False),
        ("} server { listen 127.0.0.1:8080 http2; ", True, True),
        ("} server { listen 127.0.0.1:8080; http2 on; ", False, False),  # without TLS only the default server is asked
    ],
)
def test_http2(tmp_path: Path, text: str, speaks: bool, all_do: bool) -> None:
    (listener,) = listeners(tmp_path, text).values()
    assert (listener.http2, listener.is_http2) == (speaks, all_do)


def test_names_with_captures_are_noted(tmp_path: Path) -> None:
    found = listeners(tmp_path, r"server_name ~^(?<sub>.+)\.a$;} server { listen 127.0.0.1:8081; server_name ~^b; ")
    assert [listener.captures_names for listener in found.values()] == [True, False]
