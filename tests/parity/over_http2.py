"""Rows that were written for HTTP/1.1, carried out over HTTP/2."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.http2_client import Field, Http2Client, Reply, request_fields
from tests.parity.exchange import Age, Conversation, Exchange
from tests.parity.wire import Message, parse_head

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OF_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te", b"expect"}

Asked = tuple[list[Field], bytes | None]


def requests_of(exchange: Exchange) -> list[Asked | Age]:
    """What the row asks, request by request. Raises ValueError for what HTTP/2 cannot say."""
    found: list[Asked | Age] = []
    for act in exchange.acts():
        if isinstance(act, Age):
            found.append(act)
        elif isinstance(act, bytes):
            found.append(_request(act))
        else:
            raise ValueError
    return found


def _request(data: bytes) -> Asked:
    head, end, body = data.partition(b"\r\n\r\n")
    message = parse_head(head)
    words = message.start.split(b" ")
    if not end or len(words) != 3 or words[2] != b"HTTP/1.1" or not words[1].startswith(b"/") or b"\n" in head.replace(b"\r\n", b""):
        raise ValueError
    hosts = [value for name, value in message.headers if name.lower() == b"host"]
    names = [name.lower() for name, _ in message.headers]
    if len(hosts) != 1 or set(names) & OF_CONNECTION or not all(TOKEN.fullmatch(name) for name in names) or b"\t" in head:
        raise ValueError
    length = message.get(b"content-length")
    if (b"%d" % len(body) != length if length is not None else body) or names.count(b"content-length") > 1:
        raise ValueError
    if not hosts[0] or not words[0].isalpha() or not words[0].isupper() or words[0] in (b"CONNECT", b"TRACE"):
        raise ValueError
    fields = [(name.lower(), value) for name, value in message.headers if name.lower() != b"host"]
    method, path = words[0].decode(), words[1].decode("latin-1")
    return request_fields(method, path, *fields, host=hosts[0].decode("latin-1")), body if length is not None else None


def converse(exchange: Exchange, port: int, seen: Conversation) -> Iterator[None]:
    """Carry one exchange out on a connection of its own, and note in `seen` what came; yields at every `Age`."""
    try:
        with Http2Client(port, check=False) as client:
            seen.client_port = client.sock.getsockname()[1]
            for asked in requests_of(exchange):
                if isinstance(asked, Age):
                    yield
                else:
                    seen.answers += _messages(client.ask(*asked), seen)
    except TimeoutError:
        seen.notes.append(f"nothing came after {len(seen.answers)} answer(s)")
    except OSError as error:
        seen.notes.append(f"socket: {error.strerror}")


def _messages(reply: Reply, seen: Conversation) -> list[Message]:
    for interim in reply.interim:
        seen.notes.append(f"interim {interim}")
    if reply.reset is not None:
        seen.notes.append("reset")  # the code is each one's own
    fields = [(name, value) for name, value in reply.fields if not name.startswith(b":")]
    return [Message(b"HTTP/2 %d" % reply.status, fields, reply.body, reply.trailers, not reply.ended)]
