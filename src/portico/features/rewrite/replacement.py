"""What a `rewrite` makes of a URI: constants, variables, and captures that are escaped where nginx escapes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.diagnostics import Where
from portico.config.load import Late
from portico.http.routing.uri import ESCAPE_ARGS, escape_uri
from portico.variables.template import split_text
from portico.variables.variable import Getter, Variables

if TYPE_CHECKING:
    from portico.http.request import Request

_HEX: Final = b"0123456789abcdefABCDEF"


@final
class Piece:
    """A constant, a variable, or (`capture` >= 0) a numbered group of the regex."""

    def __init__(self, constant: bytes, get: Getter[Request] | None, capture: int) -> None:
        self.constant = constant
        self.get = get
        self.capture = capture


@final
class Replacement(Late):
    """The second word of a `rewrite`.

    `redirect`: the text is a URL; its captures are escaped, and its "?" is a character like any other. Otherwise what follows the
    first "?" as written are arguments, in which captures are escaped (ngx_http_script_copy_capture_code).
    """

    def __init__(self, text: str, where: Where, redirect: bool) -> None:
        self.where = where
        self.redirect = redirect
        self.has_args = False  # a "?" is written in it
        self.parts: list[tuple[str, bool]] = []
        self.args_from = -1  # index of the first part of the arguments
        for part, is_variable in split_text(text, where):
            at = -1 if is_variable or self.has_args else part.find("?")
            if at < 0:
                self.parts.append((part, is_variable))
                continue
            self.has_args = True
            if redirect:
                self.parts.append((part, False))
                continue
            self.parts.append((part[:at], False))
            self.args_from = len(self.parts)
            self.parts.append((part[at + 1 :], False))
        self.pieces: list[Piece] = []

    def resolve(self, environment: object) -> None:
        """Bind variables. Raises ConfigError for an unknown one."""
        assert isinstance(environment, Variables)
        self.pieces = [self._piece(environment, part, is_variable) for part, is_variable in self.parts]

    def _piece(self, variables: Variables[Request], part: str, is_variable: bool) -> Piece:
        if not is_variable:
            return Piece(part.encode("utf-8", "surrogateescape"), None, -1)
        if part.isdecimal():
            return Piece(b"", None, int(part))
        variable = variables.find(part)
        if variable is None:
            raise variables.unknown(part, self.where)
        return Piece(b"", variable.get, -1)

    def target(self, request: Request) -> bytes:
        """The new path, or the URL of a redirect."""
        end = self.args_from if self.args_from >= 0 else len(self.pieces)
        return self._text(request, 0, end, self.redirect)

    def args(self, request: Request) -> bytes:
        """The new arguments; call when `has_args`, and not for a redirect."""
        return self._text(request, self.args_from, len(self.pieces), True)

    def _text(self, request: Request, start: int, end: int, escaped: bool) -> bytes:
        escaped = escaped and (request.target.quoted or _has_plus(request))
        texts: list[bytes] = []
        for index in range(start, end):
            piece = self.pieces[index]
            if piece.capture >= 0:
                captures = request.captures
                value = captures[piece.capture] if captures is not None and piece.capture < len(captures) else None
                if value:
                    texts.append(escape_uri(value, ESCAPE_ARGS) if escaped else value)
            elif piece.get is not None:
                texts.append(piece.get(request) or b"")
            else:
                texts.append(piece.constant)
        return b"".join(texts)


def _has_plus(request: Request) -> bool:
    """nginx's plus_in_uri: a "+" in the path as the client sent it."""
    return request.target.raw.partition(b"?")[0].find(b"+") >= 0


def unescape_redirect(url: bytes) -> bytes:
    """Decode what needs no escape in a URL, up to its "?" (ngx_unescape_uri with NGX_UNESCAPE_REDIRECT)."""
    at = url.find(b"%")
    end = url.find(b"?")
    if end < 0:
        end = len(url)
    if at < 0 or at >= end:
        return url
    out = bytearray()
    at = 0
    while at < end:
        byte = url[at]
        if byte == 0x25 and at + 2 < len(url) and url[at + 1] in _HEX and url[at + 2] in _HEX:
            code = int(url[at + 1 : at + 3], 16)
            if code == 0x3F:
                return bytes(out) + b"?" + url[at + 3 :]
            out += bytes((code,)) if 0x25 < code < 0x7F else url[at : at + 3]
            at += 3
        else:
            out.append(byte)
            at += 1
    return bytes(out) + url[end:]
