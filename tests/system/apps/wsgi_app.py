"""A WSGI application for gunicorn: tells what it received."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

NAME = os.environ.get("APPLICATION", "gunicorn")


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    query = environ["QUERY_STRING"]
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    seen = {
        "application": NAME,
        "method": environ["REQUEST_METHOD"],
        "target": environ["RAW_URI"].partition("?")[0] + (f"?{query}" if query else ""),
        "scheme": environ["wsgi.url_scheme"],
        "client": environ["REMOTE_ADDR"],
        "headers": headers,
        "body": environ["wsgi.input"].read().decode(),
    }
    body = json.dumps(seen).encode() + b"\n"
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
