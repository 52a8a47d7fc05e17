"""Several `Set-Cookie` fields in one variable, and the way back.

`$upstream_http_set_cookie` joins them by `, `, as any field of which there are several. But a cookie may have that in its date, and
no client splits it: `add_header Set-Cookie $auth_cookie` has to make as many fields again. So what was joined is noted with the
request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.http.request import RequestSlot

if TYPE_CHECKING:
    from portico.http.request import Request

_JOINED: Final = RequestSlot[dict[bytes, list[bytes]]]()


def join_cookies(request: Request, cookies: list[bytes]) -> bytes:
    """Return several values as one; for the client's request, which may show what its subrequest was answered."""
    text = b", ".join(cookies)
    main = request
    while main.parent is not None:
        main = main.parent
    noted = _JOINED.of(main)
    if noted is None:
        noted = {}
        _JOINED.put(main, noted)
    noted[text] = cookies
    return text


def split_cookies(request: Request, text: bytes) -> list[bytes]:
    """Return the values that a text was joined of; itself alone if it was not."""
    noted = _JOINED.of(request)
    return [text] if noted is None else noted.get(text, [text])
