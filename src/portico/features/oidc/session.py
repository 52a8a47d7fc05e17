"""A session: what a provider said about a user, and the cookies that it is in.

    NGX_OIDC_SESSION    2.AAAA…     how many cookies it takes, and the first piece
    NGX_OIDC_SESSION_1  …           the next one

The pieces together are the session, compressed and sealed. A browser takes 4096 bytes for one cookie (RFC 6265 section 6.1).
"""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING, Final, final

from portico.jose.claims import json_object, shown
from portico.jose.token import InvalidToken, Token, unverified

if TYPE_CHECKING:
    from portico.http.request import Request

_PIECE: Final = 3800
MAX_PIECES: Final = 8
MAX_BYTES: Final = MAX_PIECES * _PIECE
_MAX_SERIALIZED: Final = 262144  # bytes of a session before it is compressed: more than three tokens and a UserInfo can take
_TEXTS: Final = ("id_token", "access_token", "refresh_token", "userinfo", "id", "sid")
_NUMBERS: Final = ("created", "expires", "refresh_at")


@final
class Session:
    """One user, signed in. Times in seconds since the epoch, `created` in milliseconds."""

    def __init__(self, id_token: str, access_token: str, refresh_token: str, userinfo: str) -> None:
        self.id_token = id_token
        self.access_token = access_token
        self.refresh_token = refresh_token
        self.userinfo = userinfo
        self.id = os.urandom(16).hex()
        self.created = 0  # when the user signed in
        self.expires = 0
        self.refresh_at = 0  # 0: never
        self.token: Token = unverified(id_token.encode())  # it was verified when it came
        self.claims: dict[str, object] = dict(json_object(userinfo.encode())) if userinfo else {}
        self.claims.update(self.token.claims)  # what is signed goes before
        sid = self.token.claims.get("sid")
        self.sid: str = sid if isinstance(sid, str) else ""  # the provider's name for its session, which a refresh does not change

    def claim(self, name: str) -> bytes | None:
        """Return a claim of the ID token, or else of the UserInfo."""
        return shown(self.claims[name]) if name in self.claims else None

    def serialized(self) -> bytes:
        """Return the session as it is sealed."""
        members: dict[str, object] = {
            "id_token": self.id_token,
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "userinfo": self.userinfo,
            "id": self.id,
            "sid": self.sid,
            "created": self.created,
            "expires": self.expires,
            "refresh_at": self.refresh_at,
        }
        return zlib.compress(json.dumps(members, separators=(",", ":")).encode())


def parse_session(data: bytes) -> Session | None:
    """Return the session that `Session.serialized` wrote; None for what is none."""
    try:
        members = json_object(zlib.decompressobj().decompress(data, _MAX_SERIALIZED))
        texts = {name: _text(members, name) for name in _TEXTS}
        numbers = {name: _number(members, name) for name in _NUMBERS}
        session = Session(texts["id_token"], texts["access_token"], texts["refresh_token"], texts["userinfo"])
    except (ValueError, zlib.error, InvalidToken):
        return None
    session.id = texts["id"]
    session.sid = texts["sid"]
    session.created = numbers["created"]
    session.expires = numbers["expires"]
    session.refresh_at = numbers["refresh_at"]
    return session


def _text(members: dict[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise ValueError(f"no {name}")
    return value


def _number(members: dict[str, object], name: str) -> int:
    value = members.get(name)
    if not isinstance(value, int) or not -(1 << 62) < value < 1 << 62:
        raise ValueError(f"no {name}")
    return value


# -- cookies


def find_cookie(request: Request, name: bytes) -> bytes | None:
    """Return a cookie of the request, None when it has none.

    Its name must be written as ours is, unlike in `$cookie_…`: to browsers `__host-a` need not be a name that only this host can set.
    """
    if request.fields.get(b"cookie") is None:
        return None
    for line in request.fields.get_all(b"cookie"):
        if name not in line:
            continue
        for pair in line.split(b";"):
            key, _, value = pair.strip(b" \t").partition(b"=")
            if key == name:
                return value
    return None


def set_cookie(name: bytes, value: bytes, secure: bool, seconds: int) -> tuple[bytes, bytes]:
    """Return a Set-Cookie field (RFC 6265). seconds: 0 deletes the cookie, less: until the browser is closed."""
    text = name + b"=" + value + b"; Path=/"
    if seconds >= 0:
        text += b"; Max-Age=%d" % seconds
    if seconds == 0:
        text += b"; Expires=Thu, 01 Jan 1970 00:00:01 GMT"
    text += b"; HttpOnly; SameSite=Lax"
    return b"Set-Cookie", text + b"; Secure" if secure else text


def _piece_name(name: bytes, number: int) -> bytes:
    return name if number == 0 else name + b"_%d" % number


def sealed_session(request: Request, name: bytes) -> bytes:
    """Return the sealed session in the request's cookies; b"" when there is none."""
    first = find_cookie(request, name)
    if first is None or len(first) < 2 or first[1:2] != b"." or not b"1" <= first[:1] <= b"%d" % MAX_PIECES:
        return b""
    count = int(first[:1])
    pieces = [first[2:]]
    for number in range(1, count):
        piece = find_cookie(request, _piece_name(name, number))
        if piece is None:
            return b""
        pieces.append(piece)
    return b"".join(pieces)


def session_cookies(request: Request, name: bytes, text: bytes, secure: bool) -> list[tuple[bytes, bytes]]:
    """Return the fields that put a sealed session into the browser, b"" none, and delete what is left of an older one."""
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    fields: list[tuple[bytes, bytes]] = []
    for number, piece in enumerate(pieces):
        value = b"%d." % len(pieces) + piece if number == 0 else piece
        fields.append(set_cookie(_piece_name(name, number), value, secure, -1))
    for number in range(len(pieces), MAX_PIECES):
        if find_cookie(request, _piece_name(name, number)) is not None:
            fields.append(set_cookie(_piece_name(name, number), b"", secure, 0))
    return fields
