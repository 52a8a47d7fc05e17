"""Why an attempt at a peer failed, in the terms of `proxy_next_upstream`."""

from __future__ import annotations

from typing import Final, final

ERROR: Final = 1
TIMEOUT: Final = 2
INVALID_HEADER: Final = 4
HTTP_500: Final = 8
HTTP_502: Final = 16
HTTP_503: Final = 32
HTTP_504: Final = 64
HTTP_403: Final = 128
HTTP_404: Final = 256
HTTP_429: Final = 512
NON_IDEMPOTENT: Final = 1024
OFF: Final = 2048

CONDITIONS: Final = {
    "error": ERROR,
    "timeout": TIMEOUT,
    "invalid_header": INVALID_HEADER,
    "http_500": HTTP_500,
    "http_502": HTTP_502,
    "http_503": HTTP_503,
    "http_504": HTTP_504,
    "http_403": HTTP_403,
    "http_404": HTTP_404,
    "http_429": HTTP_429,
    "non_idempotent": NON_IDEMPOTENT,
    "off": OFF,
}
BY_STATUS: Final = {
    500: HTTP_500,
    502: HTTP_502,
    503: HTTP_503,
    504: HTTP_504,
    403: HTTP_403,
    404: HTTP_404,
    429: HTTP_429,
}


TIMED_OUT: Final = "upstream timed out (110: Connection timed out)"


@final
class AttemptFailed(Exception):
    """One attempt has failed. The client gets `status` when it was the last one."""

    def __init__(self, condition: int, status: int, reason: str, sent: bool) -> None:
        super().__init__(reason)
        self.condition = condition
        self.status = status
        self.reason = reason
        self.sent = sent  # the request, or a part of it, was sent
        self.unprocessed = False  # … on a connection on which the upstream did not process it: not the peer's fault


def failed_reading(condition: int, status: int, what: str) -> AttemptFailed:
    """Return the failure of an attempt whose response did not come, with nginx's words for it."""
    return AttemptFailed(condition, status, f"{what} while reading response header from upstream", True)
