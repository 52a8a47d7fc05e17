"""Backends that do as they are told and remember every byte that they were sent.

A script says how one request is answered: raw bytes, or a list of bytes and of the steps below. `Turns`
gives the first, second, … request of an exchange different scripts, whichever backend of the set it reaches.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.parity.wire import Message, Wire


@dataclass(frozen=True)
class Wait:
    """Say nothing for that long."""

    seconds: float


@dataclass(frozen=True)
class Close:
    """End the connection in order."""


@dataclass(frozen=True)
class Notify:
    """End TLS in order; `Close` just ends the connection below it."""


@dataclass(frozen=True)
class Reset:
    """End the connection with a reset."""


@dataclass(frozen=True)
class Echo:
    """Send everything back until the peer ends its side, then end ours."""


Step = bytes | Wait | Close | Notify | Reset | Echo
Script = bytes | Sequence[Step]


@dataclass(frozen=True)
class Turns:
    """One script for each request, in order; the last one for all that follow."""

    scripts: tuple[Script, ...]


Answer = Script | Turns
Answers = Answer | Mapping[str, Answer]


def reply(status: int = 200, body: str | bytes = "hello", *headers: str, reason: str = "OK") -> bytes:
    """A complete response with a Content-Length."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def raw_reply(*lines: str, body: bytes = b"") -> bytes:
    """A response whose whole head is given."""
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    """The chunks in chunked coding, with the last chunk."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def filled(answers: Answers, fill: Callable[[bytes], bytes]) -> Answers:
    """The same answers with `fill` done to all their bytes."""
    if isinstance(answers, Mapping):
        return {name: _filled(answer, fill) for name, answer in answers.items()}
    return _filled(answers, fill)


def _filled(answer: Answer, fill: Callable[[bytes], bytes]) -> Answer:
    if isinstance(answer, Turns):
        return Turns(tuple(_filled_script(script, fill) for script in answer.scripts))
    return _filled_script(answer, fill)


def _filled_script(script: Script, fill: Callable[[bytes], bytes]) -> Script:
    if isinstance(script, bytes):
        return fill(script)
    return [fill(step) if isinstance(step, bytes) else step for step in script]


def common_name(sock: ssl.SSLSocket) -> str:
    """The CN of the peer's certificate, "none" without one."""
    subject = (sock.getpeercert() or {}).get("subject", ())
    names = [pair[1] for group in subject if isinstance(group, tuple) for pair in group]
    return str(names[-1]) if names else "none"


@dataclass
class Received:
    """One request as a backend got it."""

    backend: str
    message: Message


class Play:
    """What the backends answer in one exchange, and what they got in it."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.turn = 0
        self.received: list[Received] = []


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the peer was first


class Backends:
    """A set of backends behind one server: one play at a time."""

    def __init__(self) -> None:
        self._play = Play(reply())
        self._lock = threading.Lock()
        self._listeners: list[socket.socket] = []
        self._open: set[socket.socket] = set()

    def start(self, name: str, address: tuple[str, int] | str, tls: ssl.SSLContext | None = None) -> None:
        """Listen on an address or the path of a Unix socket."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(name, listener, tls), daemon=True).start()

    def play(self, play: Play) -> None:
        """Answer like this from now on, or go on with it (a mapping: by the backend's name).

        Connections that a proxy keeps are ended, so that no exchange meets what the one before left behind.
        """
        with self._lock:
            for sock in self._open:
                _shut(sock)
            self._play = play

    def stop(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)  # close() alone does not wake a thread in accept()
            listener.close()

    def _script(self, name: str, message: Message) -> Script:
        with self._lock:
            play = self._play
            play.received.append(Received(name, message))
            answer = play.answers
            if isinstance(answer, Mapping):
                answer = answer.get(name.partition(" ")[0], reply(200, name))
            if isinstance(answer, Turns):
                answer = answer.scripts[min(play.turn, len(answer.scripts) - 1)]
                play.turn += 1
            return answer

    def _accept(self, name: str, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(name, sock, tls), daemon=True).start()

    def _serve(self, name: str, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        with self._lock:
            self._open.add(sock)
        plain = sock
        try:
            sock.settimeout(20)
            if tls is not None:
                secure = tls.wrap_socket(sock, server_side=True)
                sock = secure  # the plain one is detached
                name = f"{name} (client certificate: {common_name(secure)})"
            wire = Wire(sock)
            while (message := wire.request()) is not None:
                if not self._perform(wire, self._script(name, message)):
                    break
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(plain)
            sock.close()

    def _perform(self, wire: Wire, script: Script) -> bool:
        """Whether the connection goes on."""
        for step in [script] if isinstance(script, bytes) else script:
            if isinstance(step, bytes):
                wire.sock.sendall(step)
            elif isinstance(step, Wait):
                time.sleep(step.seconds)
            elif isinstance(step, Echo):
                while wire.buffer or wire.fill():
                    wire.sock.sendall(wire.take(len(wire.buffer)))
                return False
            elif isinstance(step, Notify):
                assert isinstance(wire.sock, ssl.SSLSocket)
                wire.sock.unwrap()
                return False
            elif isinstance(step, Reset):
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            else:
                return False
        return True
