"""The response header fields that steer a proxy, as `proxy_ignore_headers` and its like can name them: one bit each."""

from __future__ import annotations

from typing import Final

IGNORE_REDIRECT: Final = 1
IGNORE_ACCEL_EXPIRES: Final = 2
IGNORE_LIMIT_RATE: Final = 4
IGNORE_BUFFERING: Final = 8
IGNORE_CHARSET: Final = 16
IGNORE_EXPIRES: Final = 32
IGNORE_CACHE_CONTROL: Final = 64
IGNORE_SET_COOKIE: Final = 128
IGNORE_VARY: Final = 256

IGNORABLE: Final[dict[str, int]] = {
    "X-Accel-Redirect": IGNORE_REDIRECT,
    "X-Accel-Expires": IGNORE_ACCEL_EXPIRES,
    "X-Accel-Limit-Rate": IGNORE_LIMIT_RATE,
    "X-Accel-Buffering": IGNORE_BUFFERING,
    "X-Accel-Charset": IGNORE_CHARSET,
    "Expires": IGNORE_EXPIRES,
    "Cache-Control": IGNORE_CACHE_CONTROL,
    "Set-Cookie": IGNORE_SET_COOKIE,
    "Vary": IGNORE_VARY,
}
