"""What a demo application responds: its page at /, and for every other path what it received, as JSON."""

from __future__ import annotations

import html
import json
from pathlib import Path
from string import Template
from typing import Final, final

FOLDER: Final = Path(__file__).parent
ASSETS: Final = FOLDER / "assets"  # what the proxy serves under /assets/

_UNTOLD: Final = "(not told)"


@final
class Asked:
    """A request as it came from the proxy; header names in lower case."""

    def __init__(self, method: str, target: str, version: str, headers: dict[str, str]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.path: str = target.partition("?")[0]
        self.body = b""

    def body_length(self) -> int:
        """Return the bytes of the body; -1 when it is sent in a way that is not understood here."""
        length = self.headers.get("content-length", "0")
        return int(length) if length.isdigit() and "transfer-encoding" not in self.headers else -1


@final
class Answer:
    """`status` with its reason: "200 OK"."""

    def __init__(self, status: str, content_type: str, body: bytes) -> None:
        self.status = status
        self.content_type = content_type
        self.body = body


def answer(name: str, asked: Asked) -> Answer:
    """Return the response of the application called `name`."""
    if asked.path == "/":
        return Answer("200 OK", "text/html; charset=utf-8", _page(name, asked).encode())
    return Answer("200 OK", "application/json", _received(name, asked).encode())


def _page(name: str, asked: Asked) -> str:
    headers = asked.headers
    rows = (
        ("Scheme", headers.get("x-forwarded-proto", _UNTOLD)),
        ("Host", headers.get("host", _UNTOLD)),
        ("Your address", headers.get("x-real-ip", _UNTOLD)),
        ("Forwarded for", headers.get("x-forwarded-for", _UNTOLD)),
        ("Request to the application", f"{asked.method} {asked.target} {asked.version}"),
    )
    facts = "\n".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(value)}</dd>" for term, value in rows)
    template = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
    return template.substitute(name=html.escape(name), facts=facts)


def _received(name: str, asked: Asked) -> str:
    seen = {
        "application": name,
        "method": asked.method,
        "target": asked.target,
        "headers": asked.headers,
        "body": asked.body.decode("utf-8", "replace"),
    }
    return json.dumps(seen, indent=2) + "\n"
