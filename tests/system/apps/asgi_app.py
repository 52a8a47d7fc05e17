"""An ASGI application for uvicorn: tells what it received, echoes WebSocket messages, waits where asked to."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NAME = os.environ.get("APPLICATION", "uvicorn")


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
    elif scope["type"] == "http":
        await http(scope, receive, send)


async def http(scope: Message, receive: Receive, send: Send) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await slow(receive, send)
        return
    await answer(send, json.dumps(received(scope, body)).encode() + b"\n")


def received(scope: Message, body: bytes) -> dict[str, object]:
    fields: Iterable[tuple[bytes, bytes]] = scope["headers"]
    query = scope["query_string"].decode()
    return {
        "application": NAME,
        "method": scope["method"],
        "target": scope["raw_path"].decode() + (f"?{query}" if query else ""),
        "scheme": scope["scheme"],
        "client": scope["client"][0],
        "headers": {name.decode(): value.decode() for name, value in fields},
        "body": body.decode(),
    }


async def answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def slow(receive: Receive, send: Send) -> None:
    """Says its name at once, and ends only when the client goes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"{NAME}\n".encode(), "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)


async def websocket(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text == "where":
            await send({"type": "websocket.send", "text": f"{scope['path']} {dict(scope['headers'])[b'host'].decode()}"})
        elif text == "bye":
            await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
            return
        elif text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
