"""A backend that never does anything wrong, on two ports: when a request to it fails, it was not the backend's fault.

It notes the first line of every request. `/large…` is answered with 300 KB, any other path with itself.
"""

from __future__ import annotations

import threading

from tests.parity.wire import Message
from tests.processes import free_port
from tests.system.proxied import End, Upstream, answer, chunked, pattern

LARGE = pattern(300_000)


class HonestBackend:
    """Two upstreams and what they were asked."""

    def __init__(self) -> None:
        self.ports = {"one": free_port(), "two": free_port()}
        self.upstreams = [Upstream(("127.0.0.1", port)).serve(self._say) for port in self.ports.values()]
        self._lock = threading.Lock()
        self._seen: list[Message] = []

    def take_seen(self) -> list[Message]:
        """The requests since the last call."""
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    def _say(self, end: End, request: Message) -> None:
        with self._lock:
            self._seen.append(request)
        words = request.start.split(b" ")
        target = words[1] if len(words) > 1 else b""
        body = LARGE if b"large" in target else target
        if words[0] == b"HEAD":
            end.send(answer(b"", length=len(body)))
        elif b"chunked" in target:
            end.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body))
        else:
            end.send(answer(body, "Cache-Control: max-age=1", "Content-Type: text/plain"))

    def close(self) -> None:
        for upstream in self.upstreams:
            upstream.close()
