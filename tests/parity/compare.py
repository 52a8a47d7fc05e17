"""What is compared, what is masked, and how a difference is told.

Bodies with Content-Encoding gzip are compared as what they decode to, for no two libraries make the same of one text.
Masked: the Date, the server's name and version (also in error pages, of which the Content-Length follows),
ports, the server's own folder, multipart boundaries, and an Expires that counts from the Date. Nothing else.
"""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from tests.parity.backend import Received
from tests.parity.exchange import Conversation, Exchange
from tests.parity.wire import Message

SIGNATURE = re.compile(r"<center>(?:nginx|portico)(?:/[^<]*)?</center>", re.IGNORECASE)
BOUNDARY = re.compile(r"boundary=(\S+)")
THREE_YEARS = 3 * 366 * 86400
LONGEST_SHOWN = 1500


@dataclass
class Seen:
    """One message, masked, as text (latin-1, so that every byte is one character)."""

    title: str
    start: str
    status: int
    headers: list[tuple[str, str]]
    body: str
    truncated: bool
    ordered: bool = False  # the order of the header fields is compared, too

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def lines(self) -> list[str]:
        """Itself as lines that a diff can compare: headers sorted, for their order between names says
        nothing, unless the row is about that.
        """
        head = [
            f"{self.title} {self.start}",
            *(f"    {name}: {value}" for name, value in (self.headers if self.ordered else sorted(self.headers))),
        ]
        body = self.body
        if len(body) > LONGEST_SHOWN:
            body = f"{body[:200]}… ({len(body)} bytes, crc {zlib.crc32(body.encode()):08x})"
        shown = [f"    | {line!r}"[:LONGEST_SHOWN] for line in body.split("\n")] if body else []
        return head + shown + (["    (truncated)"] if self.truncated else [])


@dataclass
class Outcome:
    """Everything that one exchange with one server led to."""

    answers: list[Seen]
    closed: bool
    tunnel: bytes
    tls: str
    notes: list[str]
    received: list[Seen]
    log: list[str]

    def lines(self) -> list[str]:
        lines = [line for answer in self.answers for line in answer.lines()]
        lines += [f"tunnel {self.tunnel!r}"] if self.tunnel else []
        lines += [f"tls {self.tls}"] if self.tls else []
        lines += [f"note: {note}" for note in self.notes]
        lines.append("then closed" if self.closed else "then kept alive")
        lines += [line for request in self.received for line in request.lines()]
        return lines + [f"logged {line}" for line in self.log]

    def __str__(self) -> str:
        return "\n".join(self.lines())


class _Masks:
    """The texts to replace for one exchange with one server."""

    def __init__(self, exchange: Exchange, ports: Mapping[int, str], folder: str) -> None:
        self.ports = ports
        self.port = re.compile(r"(?<![0-9A-Za-z])(" + "|".join(map(str, ports)) + r")(?![0-9A-Za-z])")
        self.folder = folder
        self.patterns = [re.compile(pattern) for pattern in exchange.mask]

    def text(self, data: bytes | str) -> str:
        text = data.decode("latin-1") if isinstance(data, bytes) else data
        text = self.port.sub(
            lambda match: f"@{self.ports[int(match[1])]}@", text.replace(self.folder, "@PREFIX@")
        )
        for pattern in self.patterns:
            text = pattern.sub("*", text)
        return text


def outcome(
    exchange: Exchange,
    seen: Conversation,
    received: Sequence[Received],
    log: Sequence[str],
    ports: Mapping[int, str],
    folder: str,
) -> Outcome:
    """The masked account of one exchange."""
    masks = _Masks(exchange, ports, folder)
    methods = exchange.answered()
    answers = []
    turn = 0
    for message in seen.answers:
        method = methods[turn] if turn < len(methods) else b"GET"
        answer = _answer(message, method, masks)
        answer.ordered = exchange.ordered
        answers.append(answer)
        turn += message.status >= 200
    return Outcome(
        answers,
        seen.closed,
        seen.tunnel,
        seen.tls,
        seen.notes,
        [_request(item, masks) for item in received],
        [masks.text(line) for line in log],
    )


def _answer(message: Message, method: bytes, masks: _Masks) -> Seen:
    body = SIGNATURE.sub("<center>SERVER</center>", masks.text(_decoded(message)))
    boundary = BOUNDARY.search((message.get(b"content-type") or b"").decode("latin-1"))
    if boundary:
        body = body.replace(boundary[1], "BOUNDARY")
    headers = []
    for name, value in message.headers:
        text = _header(name.lower(), value, message, body, method, masks)
        headers.append((name.decode("latin-1"), text))
    for name, value in message.trailers:
        headers.append((f"(trailer) {name.decode('latin-1')}", masks.text(value)))
    return Seen("answer", masks.text(message.start), message.status, headers, body, message.truncated)


def _decoded(message: Message) -> bytes:
    """The body without its gzip; as it is when it is a part, or no whole gzip after all."""
    if message.get(b"content-encoding") != b"gzip" or message.status == 206 or not message.body:
        return message.body
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = stream.decompress(message.body)
    except zlib.error:
        return b"(broken gzip) " + message.body
    return content if stream.eof and not stream.unused_data else b"(no whole gzip) " + message.body


def _header(name: bytes, value: bytes, message: Message, body: str, method: bytes, masks: _Masks) -> str:
    if name in (b"date", b"server"):
        return "*"
    if name == b"content-length":
        if method == b"HEAD" and message.status >= 300:
            return "(of an error page)"
        right = value == b"%d" % len(message.body)
        return f"{len(body)} (as the body)" if right and body else value.decode("latin-1")
    if name == b"expires":
        return _expires(value, message.get(b"date"))
    return BOUNDARY.sub("boundary=BOUNDARY", masks.text(value))


def _expires(value: bytes, date: bytes | None) -> str:
    """`Date + N s` when it is counted from now; itself when it is a fixed date or no date."""
    text = value.decode("latin-1")
    try:
        distance = (
            parsedate_to_datetime(text) - parsedate_to_datetime((date or b"").decode())
        ).total_seconds()
    except (TypeError, ValueError):
        return text
    return text if abs(distance) > THREE_YEARS else f"Date + {round(distance / 4) * 4} s"


def _request(item: Received, masks: _Masks) -> Seen:
    message = item.message
    headers = [(masks.text(name), masks.text(value)) for name, value in message.headers]
    return Seen(
        f"{masks.text(item.backend)} got",
        masks.text(message.start),
        0,
        headers,
        masks.text(message.body),
        message.truncated,
    )


def difference(reference: Outcome, candidate: Outcome, name: str) -> str:
    """A readable diff, empty when there is none."""
    ours, theirs = candidate.lines(), reference.lines()
    if ours == theirs:
        return ""
    return "\n".join(difflib.unified_diff(theirs, ours, "nginx", name, lineterm="", n=2))


def unmet(exchange: Exchange, found: Outcome) -> str:
    """What the row expects and the outcome does not show, one per line."""
    checks: list[tuple[bool, str]] = []
    statuses = tuple(answer.status for answer in found.answers)
    if exchange.status is not None:
        wanted = exchange.status if isinstance(exchange.status, tuple) else (exchange.status,)
        checks.append((statuses == wanted, f"status {wanted}, not {statuses}"))
    last = found.answers[-1] if found.answers else Seen("answer", "", 0, [], "", False)
    for name, value in exchange.has.items():
        values = [text for key, text in last.headers if key.lower() == name.lower()]
        checks.append((value in values, f"{name}: {value}, not {values}"))
    checks += [(last.get(name) is None, f"no {name}, not {last.get(name)!r}") for name in exchange.lacks]
    if exchange.body is not None:
        checks.append((last.body == exchange.body.decode("latin-1"), f"body {exchange.body!r}"))
    checks.append((exchange.contains.decode("latin-1") in last.body, f"a body with {exchange.contains!r}"))
    if exchange.closed is not None:
        checks.append((found.closed == exchange.closed, "closed" if exchange.closed else "kept alive"))
    if exchange.tunnel is not None:
        checks.append(
            (found.tunnel == exchange.tunnel, f"tunnelled {exchange.tunnel!r}, not {found.tunnel!r}")
        )
    if exchange.reached is not None:
        checks.append((len(found.received) == exchange.reached, f"{exchange.reached} request(s) to backends"))
    sent = "\n".join(found.received[-1].lines()) if found.received else ""
    checks += [(text in sent, f"forwarded {text!r}") for text in exchange.forwarded]
    checks += [
        (bool(found.received) and text not in sent, f"not forwarded {text!r}") for text in exchange.withheld
    ]
    if exchange.logged is not None:
        checks.append((exchange.logged in "\n".join(found.log), f"logged {exchange.logged!r}"))
    checks.append((not any("nothing came" in note for note in found.notes), "no hang"))
    return "\n".join(f"  expected {text}" for met, text in checks if not met)
