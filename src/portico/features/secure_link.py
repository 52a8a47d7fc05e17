"""`secure_link`: links that only this site can have made. (nginx: ngx_http_secure_link_module.c.)

Two ways: `secure_link` and `secure_link_md5` compare a hash, and a time if there is one, that stand anywhere in the request; with
`secure_link_secret` the URI itself is `/prefix/HASH/link`. MD5 is what nginx's links are made with; the secret is what protects them.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.http.feature import Feature, LocationBuild
from portico.http.plan import LocationSlot
from portico.variables.template import Template, template
from portico.variables.variable import PER_REQUEST, Variable

if TYPE_CHECKING:
    from portico.http.request import Request

_ALL: Final = HTTP | SERVER | LOCATION
_URL_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_HEX: Final = b"0123456789abcdefABCDEF"
_HEX_LENGTH: Final = 32
_UNTIL: Final = "secure_link until"  # among the request's values; no variable can have this name
_LONGEST_HASH: Final = 24
_LONGEST_TIME: Final = 18  # digits of a 63-bit number of seconds

SECURE_LINK: Final = Directive[Template | None](
    "secure_link", _ALL, template, args="1", default=None,
    syntax="EXPRESSION",
    doc="Where the hash of a link is, and behind a comma the time until which it holds (seconds since 1970), if it has one. With "
    "`secure_link_md5` it sets `$secure_link`: empty when the hash is wrong, `0` when the time is over, else `1`.",
    example='location /s/ { secure_link $arg_md5,$arg_expires; secure_link_md5 "$secure_link_expires$uri secret"; '
    'if ($secure_link != "1") { return 403; } }',
)
SECURE_LINK_MD5: Final = Directive[Template | None](
    "secure_link_md5", _ALL, template, args="1", default=None,
    syntax="EXPRESSION",
    doc="The text whose MD5, in base64url, is the right hash for `secure_link`. It should hold a secret.",
    example='secure_link_md5 "$secure_link_expires$uri$remote_addr secret";',
)
SECURE_LINK_SECRET: Final = Directive[str](
    "secure_link_secret", _ALL, values.text, args="1", default="",
    syntax="WORD",
    doc="URIs of this location are `/prefix/HASH/link`, where HASH is the MD5 of `link` and this word in hexadecimal. `$secure_link` "
    "is `link` when the hash is right, else empty. Cannot be mixed with `secure_link`.",
    example='location /p/ { secure_link_secret word; if ($secure_link = "") { return 403; } rewrite ^ /secure/$secure_link; }',
)


@final
class SecureLink:
    """The checks of one location: either a secret, or where the hash is and what it is made of."""

    def __init__(self, secret: bytes, link: Template | None, text: Template | None) -> None:
        self.secret = secret
        self.link = link
        self.text = text

    def value(self, request: Request) -> bytes | None:
        """$secure_link."""
        if self.secret:
            return linked(request.target.raw, self.secret)
        if self.link is None or self.text is None:
            return None
        given, comma, until = self.link.render(request).partition(b",")
        expires = 0
        if comma:
            expires = time_in(until)
            if expires <= 0:
                return None
            _keep(request, _UNTIL, until)
        wanted = decoded(given)
        if wanted is None:
            return None
        made = hashlib.md5(self.text.render(request), usedforsecurity=False).digest()
        if not hmac.compare_digest(wanted, made):
            return None
        return b"0" if expires and expires < request.reactor.wall() else b"1"


def decoded(text: bytes) -> bytes | None:
    """Return the 16 bytes of a hash in base64url, whose padding may be missing; None when it is none."""
    if len(text) > _LONGEST_HASH:
        return None
    digits = text.partition(b"=")[0]
    if len(digits) != 22 or digits.translate(None, _URL_ALPHABET):
        return None
    return binascii.a2b_base64(digits.replace(b"-", b"+").replace(b"_", b"/") + b"==")


def time_in(text: bytes) -> int:
    """Seconds since 1970, 0 when it is not a number."""
    return int(text) if text.isdigit() and len(text) <= _LONGEST_TIME else 0


def linked(uri: bytes, secret: bytes) -> bytes | None:
    """Return the link in `/prefix/HASH/link` when HASH fits it, else None. The link is all that follows, arguments too."""
    parts = uri[1:].split(b"/", 2)
    if len(parts) < 3:
        return None
    given, link = parts[1], parts[2]
    if len(given) != _HEX_LENGTH or not link or given.translate(None, _HEX):
        return None
    made = hashlib.md5(link + secret, usedforsecurity=False).digest()
    return link if hmac.compare_digest(binascii.a2b_hex(given), made) else None


def _keep(request: Request, name: str, value: bytes | None) -> None:
    if request.values is None:
        request.values = {}
    request.values[name] = value


_SECURE_LINK: Final = LocationSlot[SecureLink]()


def _secure_link(request: Request) -> bytes | None:
    known = request.values
    if known is not None and "secure_link" in known:
        return known["secure_link"]
    settings = _SECURE_LINK.of(request.location)
    if settings is None:
        return None
    value = settings.value(request)
    _keep(request, "secure_link", value)
    return value


def _secure_link_expires(request: Request) -> bytes | None:
    known = request.values
    if known is not None and "secure_link_expires" in known:
        return known["secure_link_expires"]
    value = None if known is None else known.get(_UNTIL)
    _keep(request, "secure_link_expires", value)  # nginx: asked for before $secure_link, it stays unknown
    return value


class SecureLinkFeature(Feature):
    """Leaves its settings with each location, for the variables."""

    def location(self, build: LocationBuild) -> None:
        scope = build.scope
        own = scope.own_settings(SECURE_LINK) or scope.own_settings(SECURE_LINK_MD5)
        secret = scope.own(SECURE_LINK_SECRET)
        if secret and own and scope.statement is not None:
            message = '"secure_link_secret" cannot be mixed with "secure_link" and "secure_link_md5"'
            raise scope.statement.fail(message)
        link, text = scope.get(SECURE_LINK), scope.get(SECURE_LINK_MD5)
        if secret:
            link = text = None
        elif link is None and text is None:
            secret = scope.get(SECURE_LINK_SECRET)
        if secret or (link is not None and text is not None):
            given = (secret or "").encode("utf-8", "surrogateescape")
            _SECURE_LINK.put(build.location, SecureLink(given, link, text))


FEATURE: Final = SecureLinkFeature(
    "http_secure_link",
    (SECURE_LINK, SECURE_LINK_MD5, SECURE_LINK_SECRET),
    (
        Variable("secure_link", _secure_link, PER_REQUEST, "What the check of `secure_link` came to."),
        Variable("secure_link_expires", _secure_link_expires, PER_REQUEST, "The time until which the link holds."),
    ),
    configure="--with-http_secure_link_module",
)
