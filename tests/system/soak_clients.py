"""The clients of the soak: each asks in one manner and judges what it gets.

All but `abort` raise Failed when anything is not as it must be.
"""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Callable

from tests.parity.wire import Message, Wire
from tests.system.attack_ground import reset
from tests.system.soak_content import content, receipt
from tests.system.soak_site import FILES, SoakSite

PATIENCE = 20.0
QUIET = 0.15  # seconds for which a graceful shutdown leaves an idle connection open, less some for a busy machine
SIZES = (0, 1, 300, 9000, 40_000, 120_000, 700_000)
FRAMINGS = ("sized", "sized", "chunked", "closing")


class Failed(Exception):
    """A response that is not what it must be, or none."""


class Client:
    """One client with a plain and a TLS connection that it keeps."""

    def __init__(self, site: SoakSite, dice: random.Random) -> None:
        self.site = site
        self.dice = dice
        self._kept: dict[bool, tuple[Wire, float]] = {}

    def close(self) -> None:
        """Closes what is kept."""
        for wire, _ in self._kept.values():
            wire.sock.close()
        self._kept.clear()

    # -- exchanges -----------------------------------------------------------------------------------------------------

    def exchange(self, method: str, path: str, *fields: str, pieces: tuple[bytes, ...] = (), pause: float = 0.0) -> Message:
        """One request and its response, on a kept connection where that has not been idle for long."""
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()
        secure = self.dice.random() < 0.4
        kept = self._kept.pop(secure, None)
        if kept is not None:
            wire, since = kept
            if time.monotonic() - since < QUIET / 2:
                try:
                    message = self._talk(wire, method, head, pieces, pause)
                except OSError as error:
                    if time.monotonic() - since < QUIET or not _is_closed(error):
                        raise Failed(f"{method} {path} on a kept connection: {type(error).__name__} {error}") from None
                    message = None
                if message is not None:
                    return self._keep(secure, wire, message)
                if time.monotonic() - since < QUIET:
                    raise Failed(f"{method} {path} on a kept connection: closed without a response")
            wire.sock.close()  # it was too late: a server may close what is idle
        try:
            wire = Wire(self.site.connect(secure, PATIENCE))
            message = self._talk(wire, method, head, pieces, pause)
        except OSError as error:
            raise Failed(f"{method} {path}: {type(error).__name__} {error}") from None
        if message is None:
            raise Failed(f"{method} {path}: closed without a response")
        return self._keep(secure, wire, message)

    def _talk(self, wire: Wire, method: str, head: bytes, pieces: tuple[bytes, ...], pause: float) -> Message | None:
        wire.sock.sendall(head)
        for piece in pieces:
            wire.sock.sendall(piece)
            if pause:
                time.sleep(pause)
        try:
            return wire.response(method.encode())
        except ValueError:
            raise Failed(f"{head[:60]!r}: chunks that are none") from None

    def _keep(self, secure: bool, wire: Wire, message: Message) -> Message:
        if (message.get(b"connection") or b"") == b"close" or message.truncated or message.status == 101:
            wire.sock.close()
        else:
            self._kept[secure] = (wire, time.monotonic())
        return message


def _is_closed(error: OSError) -> bool:
    return isinstance(error, ConnectionError) or "EOF" in str(error)


def _expect(what: str, message: Message, status: int, body: bytes) -> None:
    if message.status != status:
        raise Failed(f"{what}: status {message.status} instead of {status}")
    if message.truncated:
        raise Failed(f"{what}: truncated after {len(message.body)} of {len(body)} bytes")
    if message.body != body:
        at = next((i for i, (a, b) in enumerate(zip(message.body, body, strict=False)) if a != b), -1)
        raise Failed(f"{what}: {len(message.body)} bytes instead of {len(body)}, other ones from {at} on")


def _path(client: Client, place: str) -> str:
    dice = client.dice
    return f"/{place}/{dice.choice(FRAMINGS)}-{dice.choice(SIZES)}-{dice.randrange(3)}"


# -- what they do ------------------------------------------------------------------------------------------------------


def get(client: Client) -> None:
    """A proxied resource, buffered, unbuffered or cached."""
    path = _path(client, client.dice.choice(("buffered", "direct", "cached")))
    if client.dice.random() < 0.1:
        message = client.exchange("HEAD", path)
        _expect(f"HEAD {path}", message, 200, b"")
        return
    _expect(path, client.exchange("GET", path), 200, content(path))


def get_compressed(client: Client) -> None:
    """A resource or a file, in gzip."""
    path = _path(client, "gzip") if client.dice.random() < 0.7 else f"/gzipped/{client.dice.choice(FILES)}"
    message = client.exchange("GET", path, "Accept-Encoding: gzip")
    if message.get(b"content-encoding") == b"gzip" and not message.truncated:
        try:
            message.body = gzip.decompress(message.body)
        except (OSError, EOFError) as error:
            raise Failed(f"{path}: {error}") from None
    _expect(path, message, 200, content(path))


def get_file(client: Client) -> None:
    """A file, or a range of it."""
    name = client.dice.choice(FILES)
    whole = content(name)
    if client.dice.random() < 0.5:
        _expect(name, client.exchange("GET", f"/files/{name}"), 200, whole)
        return
    start = client.dice.randrange(len(whole))
    end = min(len(whole) - 1, start + client.dice.choice((0, 50, 200_000)))
    message = client.exchange("GET", f"/files/{name}", f"Range: bytes={start}-{end}")
    _expect(f"{name} {start}-{end}", message, 206, whole[start : end + 1])


def post(client: Client) -> None:
    """A body: small, large, chunked, or in pieces with pauses; buffered by the proxy, or streamed through it."""
    dice = client.dice
    place = dice.choice(("buffered", "stream", "stream"))
    body = content(f"/body-{dice.choice((0, 10, 3000, 30_000, 400_000, 2_000_000))}-{dice.randrange(3)}")
    pause = 0.0
    size = len(body) or 1
    if dice.random() < 0.3:
        size, pause = max(1, len(body) // 5), 0.005
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    if dice.random() < 0.5:
        field = f"Content-Length: {len(body)}"
    else:
        field = "Transfer-Encoding: chunked"
        parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]
    path = f"/{place}/post"
    _expect(f"POST {path}, {field}", client.exchange("POST", path, field, pieces=tuple(parts), pause=pause), 200, receipt(body))


def pipeline(client: Client) -> None:
    """Several requests at once, on a connection of their own."""
    paths = [_path(client, client.dice.choice(("buffered", "cached", "direct"))) for _ in range(client.dice.randint(2, 6))]
    paths = [path.replace("closing", "sized") for path in paths]
    with client.site.connect(client.dice.random() < 0.4, PATIENCE) as sock:
        wire = Wire(sock)
        ended = False
        sock.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths))
        for number, path in enumerate(paths):
            message = wire.response(b"GET")
            if message is None:
                if ended:  # and said so: the others are to be asked again
                    return
                raise Failed(f"{path}, number {number} of a pipeline: closed without a response")
            _expect(f"{path}, number {number} of a pipeline", message, 200, content(path))
            ended = message.get(b"connection") == b"close"


def tunnel(client: Client) -> None:
    """A WebSocket's handshake and an echo of what is sent, for up to two seconds."""
    lines = ["GET /tunnel/echo HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    request = "\r\n".join([*lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]).encode()
    with client.site.connect(client.dice.random() < 0.4, PATIENCE) as sock:
        sock.sendall(request)
        wire = Wire(sock)
        message = wire.head()
        if message is None or message.status != 101 or message.get(b"sec-websocket-accept") != b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=":
            raise Failed(f"tunnel: {message.start if message else b'closed'!r} instead of 101")
        for number in range(client.dice.randrange(1, 8)):
            data = content(f"/tunnel-{client.dice.choice((1, 1000, 60_000))}-{number}")
            sock.sendall(data)
            if wire.exactly(len(data)) != data:
                raise Failed(f"tunnel: another echo of {len(data)} bytes, or its end")
            time.sleep(client.dice.choice((0.0, 0.02, 0.3)))


def abort(client: Client) -> None:
    """Leaves at some point: by a reset or a close, or reads no further; expects nothing."""
    dice = client.dice
    path = dice.choice((_path(client, dice.choice(("buffered", "direct", "cached", "gzip"))), f"/files/{FILES[2]}"))
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    if dice.random() < 0.4:
        place = dice.choice(("buffered", "stream"))
        head = f"POST /{place}/post HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n".encode()
        head += bytes(dice.choice((0, 100, 99_999, 100_000)))
    elif dice.random() < 0.1:
        head = b"GET /tunnel/echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    try:
        sock = client.site.connect(dice.random() < 0.4, 0.5)
        sock.sendall(head[: dice.randrange(len(head))] if dice.random() < 0.3 else head)
        for _ in range(dice.choice((0, 0, 1, 5))):
            sock.recv(dice.choice((1, 1000, 20_000)))
        if dice.random() < 0.3:
            time.sleep(dice.choice((0.001, 0.02, 0.3)))
        if dice.random() < 0.6:
            reset(sock)
        else:
            sock.close()
    except OSError:
        pass


POLITE: tuple[Callable[[Client], None], ...] = (get, get, get, get_compressed, get_file, post, post, pipeline, tunnel)
ALL = (*POLITE, abort, abort)
