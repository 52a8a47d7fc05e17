"""A user file: `name:password` lines as htpasswd writes them."""

from __future__ import annotations

import re
from typing import Final

_PASSWORD_END: Final = re.compile(rb"[:\r]")


def parse_users(data: bytes) -> dict[bytes, bytes]:
    """Stored passwords by name; of several lines with one name the first counts.

    As ngx_http_auth_basic_handler reads it: a line that begins with `#` is a comment, what follows a second `:` too.
    """
    users: dict[bytes, bytes] = {}
    for line in data.split(b"\n"):
        name, colon, stored = line.partition(b":")
        if not colon or not name or name.startswith((b"#", b"\r")) or name in users:
            continue
        end = _PASSWORD_END.search(stored)
        users[name] = stored if end is None else stored[: end.start()]
    return users
