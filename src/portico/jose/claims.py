"""Values of a JSON object as bytes, for variables."""

from __future__ import annotations

import json


def json_object(data: bytes) -> dict[str, object]:
    """Return the JSON object in `data`. Raises ValueError for anything else: also for the numbers that JSON does not have, and for
    texts that are not UTF-8 (RFC 8259 section 8.1), where two readers could see two things.
    """
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def member(found: dict[str, object], path: list[str]) -> bytes | None:
    """Return the value at the end of `path`, a name for each level; None when there is none."""
    value: object = found
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return shown(value)


def shown(value: object) -> bytes | None:
    """Return a text as it is, an array with commas, an object as JSON; None for null, or when it is nested too deeply."""
    try:
        return _shown(value)
    except RecursionError:
        return None


def _shown(value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, list):
        return b",".join([_shown(element) or b"" for element in value])
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
