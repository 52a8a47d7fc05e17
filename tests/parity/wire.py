"""HTTP/1 messages as bytes on a socket, read without any opinion about what is right.

Both ends use it: the client that reads what a server answers, and the backend that reads what a proxy sends.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

Header = tuple[bytes, bytes]


@dataclass
class Message:
    """One request or response: its first line, its header fields as sent, its decoded body."""

    start: bytes
    headers: list[Header]
    body: bytes = b""
    trailers: list[Header] = field(default_factory=list)
    truncated: bool = False  # the peer closed before the announced end

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def status(self) -> int:
        words = self.start.split(b" ", 2)
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def parse_head(head: bytes) -> Message:
    """Split at CRLF; a field's value loses the blanks around it, its name keeps its case."""
    lines = head.split(b"\r\n")
    return Message(lines[0], [_field(line) for line in lines[1:] if line])


def _field(line: bytes) -> Header:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


class Wire:
    """A socket with what was read from it and not used yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.ended = False

    def fill(self) -> bool:
        """Read once more; False at the end of the stream (a reset counts as an end)."""
        if self.ended:
            return False
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return False
        self.buffer += data
        return True

    def until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`; everything there was when the stream ends before it."""
        while mark not in self.buffer:
            if not self.fill():
                return self.take(len(self.buffer))
        return self.take(self.buffer.index(mark) + len(mark))

    def take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def exactly(self, size: int) -> bytes:
        """`size` bytes, or fewer when the stream ends."""
        while len(self.buffer) < size:
            if not self.fill():
                break
        return self.take(size)

    def rest(self) -> bytes:
        """Everything to the end of the stream."""
        while self.fill():
            pass
        return self.take(len(self.buffer))

    def head(self) -> Message | None:
        """The next message's head, None when the stream ends first."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                return None
        return parse_head(self.until(b"\r\n\r\n")[:-4])

    def chunked(self, message: Message) -> None:
        """Read a chunked body into the message."""
        while True:
            line = self.until(b"\r\n")
            if not line.endswith(b"\r\n"):
                message.truncated = True
                return
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            data = self.exactly(size)
            message.body += data
            if len(data) < size or self.exactly(2) != b"\r\n":
                message.truncated = True
                return
        while line := self.until(b"\r\n")[:-2]:
            message.trailers.append(_field(line))

    def sized(self, message: Message, size: int) -> None:
        """Read a body of known length into the message."""
        message.body = self.exactly(size)
        message.truncated = len(message.body) < size

    def request(self) -> Message | None:
        """The next request with its body."""
        message = self.head()
        if message is None:
            return None
        if (message.get(b"transfer-encoding") or b"").lower() == b"chunked":
            self.chunked(message)
        elif length := message.get(b"content-length"):
            self.sized(message, int(length))
        return message

    def response(self, method: bytes) -> Message | None:
        """The next response (interim ones too) to a request of that method, with its body."""
        message = self.head()
        if message is None:
            return None
        if method == b"HEAD" or message.status in (204, 304) or message.status < 200:
            return message
        if (message.get(b"transfer-encoding") or b"").lower() == b"chunked":
            self.chunked(message)
        elif (length := message.get(b"content-length")) is not None:
            self.sized(message, int(length))
        else:
            message.body = self.rest()
        return message
