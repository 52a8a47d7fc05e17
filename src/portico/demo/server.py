"""One demo application: HTTP/1.1 over asyncio streams, keepalive, a WebSocket echo under /ws/.

It trusts its proxy to send correct HTTP, and responds 400 and closes where it does not understand.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from typing import Final, final

from portico.demo import page
from portico.demo.page import Answer, Asked
from portico.demo.websocket import accept_key, echo

IDLE_SECONDS: Final = 75.0  # longer than the proxy keeps an unused connection (60 s): the proxy closes first
LARGEST_BODY: Final = 1 << 20

_BAD_REQUEST: Final = Answer("400 Bad Request", "text/plain", b"not understood\n")


@final
class Application:
    """Listens, responds, and says its name in each response."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> None:
        """Listen on the address. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._accept, host, port)

    async def close(self) -> None:
        """Stop listening, and end what is still open."""
        if self._server is not None:
            self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._client(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _client(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the proxy closed, or never said anything
        finally:
            writer.close()

    async def _exchange(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Serve one request; return whether another may follow."""
        async with asyncio.timeout(IDLE_SECONDS):
            section = await reader.readuntil(b"\r\n\r\n")
        asked = _parse(section)
        length = asked.body_length() if asked is not None else -1
        if asked is None or not 0 <= length <= LARGEST_BODY:
            await _send(writer, _BAD_REQUEST, "GET", False)
            return False
        asked.body = await reader.readexactly(length)
        if asked.path.startswith("/ws/") and asked.headers.get("upgrade", "").lower() == "websocket":
            await self._websocket(asked, reader, writer)
            return False
        keep = asked.headers.get("connection", "").lower() != "close" and asked.version == "HTTP/1.1"
        await _send(writer, page.answer(self.name, asked), asked.method, keep)
        return keep

    async def _websocket(self, asked: Asked, reader: StreamReader, writer: StreamWriter) -> None:
        key = asked.headers.get("sec-websocket-key", "")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
        )
        await echo(reader, writer)


def _parse(section: bytes) -> Asked | None:
    """Return the request line and the header fields; None when they make no sense."""
    first, *lines = section.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(words[0], words[1], words[2], headers)


async def _send(writer: StreamWriter, answer: Answer, method: str, keep: bool) -> None:
    section = (
        f"HTTP/1.1 {answer.status}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nCache-Control: no-store\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    writer.write(section.encode("latin-1") + (b"" if method == "HEAD" else answer.body))
    await writer.drain()
