"""Variables of the response, and how its sending went.

`$sent_http_…` are read from the `Response` as it was sent: from its attributes and `fields`, or, when its header section is made
once for many responses, from `finished` and `appended`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.config.values import size_of
from portico.variables.variable import PER_REQUEST, Getter, Variable, VariableFamily

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

_OF_THE_CONNECTION: Final[tuple[bytes, ...]] = (b"connection", b"keep-alive", b"transfer-encoding")


def _body_bytes_sent(request: Request) -> bytes | None:
    return b"%d" % request.body_bytes


def _request_completion(request: Request) -> bytes | None:
    return b"OK" if request.complete else b""


def _limit_rate(request: Request) -> bytes | None:
    values = request.values
    if values is not None:
        given = values.get("limit_rate")  # by `set $limit_rate`
        if given is not None:
            return given
    response = request.response
    if response is None:
        return b"0"
    part = response.upstream
    if part is not None and part.limit_rate >= 0:
        return b"%d" % part.limit_rate
    rate = request.location.core.limit_rate
    if rate is None:
        return b"0"
    return b"%d" % (size_of(rate.render(request).decode("ascii", "replace")) or 0)


# -- fields


def _sent_content_length(request: Request, response: Response) -> bytes | None:
    if response.content_length < 0 or response.status == 304:
        return None
    return b"%d" % response.content_length


def _sent_family(name: str) -> Getter[Request]:
    wanted = name.encode().replace(b"_", b"-")

    def get(request: Request) -> bytes | None:
        response = request.response
        return None if response is None else sent_field(request, response, wanted)

    return get


def sent_field(request: Request, response: Response, name: bytes) -> bytes | None:
    """Return the value of a field of the response, `name` in lower case; several are joined by ", ".

    Server and Date only when an upstream's were passed on, as in nginx.
    """
    found: bytes | None = None
    if name in _OF_THE_CONNECTION:
        if request.stream is None or request.parent is not None:
            return None  # the response to a subrequest has no frame of its own
        return request.stream.framing_field(name, response)
    if name == b"content-length":
        found = _sent_content_length(request, response)
    elif name == b"content-type":
        found = response.content_type
    elif name == b"last-modified":
        found = response.last_modified_text
    elif name == b"location":
        found = response.location
    elif name == b"etag":
        found = response.etag
    elif name == b"server":
        found = None if response.upstream is None else response.upstream.server
    elif name == b"date":
        found = None if response.upstream is None else response.upstream.date
    elif name == b"accept-ranges" and response.ranges and response.status == 200:
        found = b"bytes"
    if found:
        return found
    values: list[bytes] = []
    for block in (response.finished, response.appended):
        if block is not None:
            values += [value for key, value in block.fields if same_name(key, name)]
    values += [value for key, value in response.fields if same_name(key, name)]
    return b", ".join(values) if values else None


def same_name(key: bytes, name: bytes) -> bool:
    """Return whether `key`, a field's name as sent, is `name` (lower case, "-" for "_")."""
    return len(key) == len(name) and key.lower().replace(b"_", b"-") == name


def _trailer_family(name: str) -> Getter[Request]:
    wanted = name.encode().replace(b"_", b"-")

    def get(request: Request) -> bytes | None:
        response = request.response
        if response is None or not response.trailers:
            return None
        values = [value for key, value in response.trailers if same_name(key, wanted)]
        return b", ".join(values) if values else None

    return get


RESPONSE_VARIABLES: Final[tuple[Variable[Request], ...]] = (
    Variable("body_bytes_sent", _body_bytes_sent, PER_REQUEST, "Bytes sent to the client without the head."),
    Variable(
        "limit_rate", _limit_rate, PER_REQUEST, "Bytes a second that the answer is sent with; 0 is no limit."
    ),
    Variable(
        "request_completion",
        _request_completion,
        PER_REQUEST,
        "`OK` when the whole answer was sent, else empty.",
    ),
)

RESPONSE_FAMILIES: Final[tuple[VariableFamily[Request], ...]] = (
    VariableFamily(
        "sent_http_",
        _sent_family,
        PER_REQUEST,
        "A header field of the answer: name in lower case, `_` for `-`; several are joined by `, `.",
    ),
    VariableFamily("sent_trailer_", _trailer_family, PER_REQUEST, "A trailer field of the answer."),
)
