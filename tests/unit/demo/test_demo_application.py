"""The demo applications: what they understand of a request, and what they say of it."""

from __future__ import annotations

import asyncio
import html
import json

import pytest
from tests.processes import free_port

from portico.demo import page
from portico.demo.page import Asked, answer
from portico.demo.server import Application


def asked(target: str = "/", headers: dict[str, str] | None = None, body: bytes = b"") -> Asked:
    made = Asked("GET", target, "HTTP/1.1", headers or {})
    made.body = body
    return made


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, 0),
        ({"content-length": "0"}, 0),
        ({"content-length": "12"}, 12),
        ({"content-length": ""}, -1),
        ({"content-length": "-1"}, -1),
        ({"content-length": "1 2"}, -1),
        ({"transfer-encoding": "chunked"}, -1),
        ({"content-length": "12", "transfer-encoding": "chunked"}, -1),
    ],
)
def test_the_length_of_a_body(headers: dict[str, str], length: int) -> None:
    assert asked("/", headers).body_length() == length


def test_what_an_application_received_comes_back_as_json() -> None:
    found = answer("one", asked("/hello?x=1", {"host": "a", "x-real-ip": "192.0.2.1"}, b"b\xff\n"))
    assert (found.status, found.content_type) == ("200 OK", "application/json")
    assert json.loads(found.body) == {
        "application": "one", "method": "GET", "target": "/hello?x=1", "headers": {"host": "a", "x-real-ip": "192.0.2.1"},
        "body": "b\ufffd\n",
    }  # fmt: skip


@pytest.mark.parametrize("target", ["/", "/?x=1"])
def test_the_page(target: str) -> None:
    found = answer("one", asked(target, {"host": "a.example", "x-forwarded-proto": "https"}))
    assert found.content_type == "text/html; charset=utf-8"
    text = found.body.decode()
    assert "<dd>https</dd>" in text and "<dd>a.example</dd>" in text and f"<dd>GET {target} HTTP/1.1</dd>" in text
    assert text.count("<dd>(not told)</dd>") == 2  # the address, and for whom it was forwarded


def test_nothing_that_a_client_sends_is_markup_on_the_page() -> None:
    evil = "<script>alert(\"1\")</script>&'"
    fields = ("host", "x-forwarded-proto", "x-real-ip", "x-forwarded-for")
    text = answer(evil, asked(f"/?{evil}", dict.fromkeys(fields, evil))).body.decode()
    assert "<script>alert" not in text
    assert text.count(html.escape(evil)) >= 5


def test_a_name_is_no_template() -> None:
    assert "$facts" in answer("$facts", asked()).body.decode()


def test_the_files_that_the_page_names_are_there() -> None:
    text = answer("one", asked()).body.decode()
    names = [part.partition('"')[0] for part in text.split('"/assets/')[1:]]
    assert names and all((page.ASSETS / name).is_file() for name in names)


# -- the connection


CHUNKED = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 3, [200, 200, 200]),
        (b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n" * 2, [200]),
        (b"GET /a HTTP/1.1\r\nConnection: Close\r\n\r\n" * 2, [200]),
        (b"GET /a HTTP/1.0\r\n\r\n" * 2, [200]),
        (b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n", [200, 200]),
        (b"GET /a\r\n\r\nGET /a HTTP/1.1\r\n\r\n", [400]),
        (CHUNKED + b"GET /a HTTP/1.1\r\n\r\n", [400]),
        (b"POST /a HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", [400]),
        (b"GET /ws/ HTTP/1.1\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n", [101]),
        (b"GET /ws/ HTTP/1.1\r\n\r\n", [200]),
        (b"GET /a HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", []),
        (b"GET /a", []),
        (b"", []),
    ],
)
def test_a_conversation(data: bytes, statuses: list[int]) -> None:
    async def talk() -> bytes:
        application = Application("one")
        port = free_port()
        await application.listen("127.0.0.1", port)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            writer.write_eof()
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()
        finally:
            await application.close()

    received = asyncio.run(talk())
    assert [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()] == statuses


def test_a_head_has_no_body() -> None:
    async def talk() -> bytes:
        application = Application("one")
        port = free_port()
        await application.listen("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HEAD /a HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = await reader.read()
        writer.close()
        await application.close()
        return received

    head, _, body = asyncio.run(talk()).partition(b"\r\n\r\n")
    assert body == b"" and b"Content-Length: 0" not in head
