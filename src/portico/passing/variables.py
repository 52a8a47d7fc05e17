"""`$upstream_…`: what each upstream server that was tried for a request did.

Every server tried has its value: joined by ", " while they were tried one after the other, by " : " where an
internal redirect (`X-Accel-Redirect`, `error_page`) led to the next group. A "-" stands for what an attempt
has no value for.

Source of names and meanings: https://nginx.org/en/docs/http/ngx_http_upstream_module.html#variables
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from portico.http.set_cookies import join_cookies
from portico.http.variables.response import same_name
from portico.variables.clock import seconds_text
from portico.variables.variable import PER_REQUEST, Getter, Variable, VariableFamily

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.upstream_state import Attempt


def _of_attempts(text: Callable[[Attempt], bytes]) -> Getter[Request]:
    """Return a getter that joins `text` of every attempt; it finds nothing when there was none."""

    def get(request: Request) -> bytes | None:
        attempts = request.attempts()
        if not attempts:
            return None
        if len(attempts) == 1:
            return text(attempts[0])
        joined = b""
        for attempt in attempts:
            if joined:
                joined += b" : " if attempt.after_redirect else b", "
            joined += text(attempt)
        return joined

    return get


def _time(seconds: float) -> bytes:
    return b"-" if seconds < 0.0 else seconds_text(seconds)


def _peer(attempt: Attempt) -> bytes:
    return attempt.peer


def _status(attempt: Attempt) -> bytes:
    return b"%d" % attempt.status if attempt.status else b"-"


def _connect_time(attempt: Attempt) -> bytes:
    return _time(attempt.connect_time)


def _header_time(attempt: Attempt) -> bytes:
    return _time(attempt.header_time)


def _response_time(attempt: Attempt) -> bytes:
    return _time(attempt.response_time)


def _response_length(attempt: Attempt) -> bytes:
    return b"%d" % attempt.length


def _bytes_sent(attempt: Attempt) -> bytes:
    return b"%d" % attempt.bytes_sent


def _bytes_received(attempt: Attempt) -> bytes:
    return b"%d" % attempt.bytes_received


# -- what the last upstream sent


def _set_cookie(request: Request) -> bytes | None:
    head = None if request.upstream is None else request.upstream.fields
    cookies = [] if head is None else head.get_all(b"set-cookie")
    if len(cookies) < 2:
        return cookies[0] if cookies else None
    return join_cookies(request, cookies)


def _header_family(name: str) -> Getter[Request]:
    wanted = name.encode().replace(b"_", b"-")
    if wanted == b"set-cookie":
        return _set_cookie

    def get(request: Request) -> bytes | None:
        head = None if request.upstream is None else request.upstream.fields
        if head is None:
            return None
        if b"-" not in wanted:
            return head.joined(wanted)
        values = [head.values[index] for index, key in enumerate(head.names) if same_name(key, wanted)]
        return b", ".join(values) if values else None

    return get


def _cookie_family(name: str) -> Getter[Request]:
    wanted = name.encode().lower()

    def get(request: Request) -> bytes | None:
        head = None if request.upstream is None else request.upstream.fields
        if head is None:
            return None
        for line in head.get_all(b"set-cookie"):
            key, equals, value = line.partition(b";")[0].partition(b"=")
            if equals and key.rstrip(b" ").lower() == wanted:
                return value.lstrip(b" ")
        return None

    return get


def _trailer_family(name: str) -> Getter[Request]:
    wanted = name.encode().replace(b"_", b"-")

    def get(request: Request) -> bytes | None:
        response = request.response
        if response is None or response.upstream is None or not response.trailers:
            return None
        values = [value for key, value in response.trailers if same_name(key, wanted)]
        return b", ".join(values) if values else None

    return get


UPSTREAM_VARIABLES: Final[tuple[Variable[Request], ...]] = (
    Variable(
        "upstream_addr", _of_attempts(_peer), PER_REQUEST, "Address and port, or the path of a Unix socket."
    ),
    Variable(
        "upstream_bytes_received", _of_attempts(_bytes_received), PER_REQUEST, "Bytes received from it."
    ),
    Variable("upstream_bytes_sent", _of_attempts(_bytes_sent), PER_REQUEST, "Bytes sent to it."),
    Variable(
        "upstream_connect_time",
        _of_attempts(_connect_time),
        PER_REQUEST,
        "Seconds with milliseconds that connecting took, TLS included.",
    ),
    Variable(
        "upstream_header_time",
        _of_attempts(_header_time),
        PER_REQUEST,
        "Seconds with milliseconds until its response head was there.",
    ),
    Variable(
        "upstream_response_length",
        _of_attempts(_response_length),
        PER_REQUEST,
        "Bytes of its response's body.",
    ),
    Variable(
        "upstream_response_time",
        _of_attempts(_response_time),
        PER_REQUEST,
        "Seconds with milliseconds until its response was received whole.",
    ),
    Variable(
        "upstream_status",
        _of_attempts(_status),
        PER_REQUEST,
        "Its status; 502 when it could not be reached, 504 when it was too slow.",
    ),
)

UPSTREAM_FAMILIES: Final[tuple[VariableFamily[Request], ...]] = (
    VariableFamily(
        "upstream_http_",
        _header_family,
        PER_REQUEST,
        "A header field of the last upstream's response: name in lower case, `_` for `-`.",
    ),
    VariableFamily(
        "upstream_cookie_", _cookie_family, PER_REQUEST, "A cookie that the last upstream's response sets."
    ),
    VariableFamily(
        "upstream_trailer_", _trailer_family, PER_REQUEST, "A trailer field of the last upstream's response."
    ),
)
