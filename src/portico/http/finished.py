"""Header sections that are made once.

An upstream that repeats its header section, a cached response and a small file in memory have the same fields each time, unless
something in the location changes them (`HeaderFilter.preserves`). Their fields are remembered as a `FinishedHead`; each protocol adds
the bytes that it makes from them, when it first sends them.

Made once, also with: `add_header` with whatever values; `expires` where the upstream sends neither Expires nor Cache-Control;
`userid`; `limit_req_headers`; `proxy_hide_header`, `proxy_ignore_headers`, `server_tokens`, `etag`, `if_modified_since`, `types`,
and what is about the connection; `gzip` and its kin for types not configured, lengths below the minimum, and clients that accept
none (without `gzip_vary`); `charset` and `sub_filter` for types not configured, `charset` for a response that names its own;
`gunzip` for what is not compressed.

Made each time: whatever changes the body, `charset` where it adds one, `gzip_vary` where it may add a field, `add_trailer`,
`slice`, `more_set_headers` and `more_clear_headers`; `add_header` of `ETag` and `Last-Modified`; `expires modified`, and `expires`
in place of the upstream's; a response with Location, Refresh, X-Accel-Limit-Rate, or a cookie that `proxy_cookie_*` rewrites;
Server or Date let through; HEAD, 204, 304; a body on its way into a cache or store; cached responses and files for requests with
conditions or a range; what an `error_page` that keeps its status, or X-Accel-Redirect, has asked for; files of more than 16 KB, of
`open_file_cache`, of `gzip_static` and its kin, with `max_ranges 0`, or just changed.
"""

from __future__ import annotations

from typing import final


@final
class FinishedHead:
    """The fields of a response's header section, in order, without those that are about the connection.

    Those stand behind the first `leading` fields.
    """

    def __init__(self, fields: list[tuple[bytes, bytes]], leading: int = 0, owner: object = None, reason: bytes = b"") -> None:
        self.fields = fields
        self.leading = leading
        self.owner = owner  # the handler in whose location they hold
        self.reason = reason  # the reason phrase, b"" for the standard one
        self.is_http1_made = False  # somebody has asked for the field lines of HTTP/1:
        self.http1_leading: bytes = b""
        self.http1_rest: bytes = b""
        self.http2: bytes = b""  # the fields as part of a header block of HTTP/2, once somebody has asked for it
