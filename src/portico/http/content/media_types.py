"""Lists of media types that a filter works on: `gzip_types`, `sub_filter_types`, `addition_types`, `charset_types`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.reader import Statement

if TYPE_CHECKING:
    from portico.http.response import Response

_CHARSET: Final = b"charset="


def split_charset(content_type: bytes) -> tuple[bytes, bytes]:
    """Return what stands before the `charset` parameter, and its value with all that follows.

    As ngx_http_upstream_copy_content_type.
    """
    semicolon = content_type.find(b";")
    while semicolon >= 0:
        start = semicolon + 1
        while content_type[start : start + 1] == b" ":
            start += 1
        if content_type[start : start + 8].lower() == _CHARSET:
            charset = content_type[start + 8 :]
            return content_type[:semicolon], charset.removeprefix(b'"').removesuffix(b'"')
        semicolon = content_type.find(b";", start)
    return content_type, b""


@final
class MediaTypes:
    """A set of types, lower case; `every` stands for `*`."""

    def __init__(self, types: frozenset[bytes], every: bool = False) -> None:
        self.types = types
        self.every = every

    def include(self, response: Response) -> bool:
        """Return whether the response's type is one of them."""
        return self.has(response.content_type)

    def has(self, content_type: bytes) -> bool:
        """Return whether a Content-Type is one of them. A charset does not matter, any other parameter makes it another type
        (ngx_http_test_content_type).
        """
        if self.every:
            return True  # also a response without a type
        if not content_type:
            return False
        if content_type.find(b";") >= 0:
            content_type = split_charset(content_type)[0]
        return content_type.lower() in self.types


def media_types(statement: Statement) -> MediaTypes:
    """Return the types of a directive such as `gzip_types`; text/html is always one of them (ngx_http_types_slot)."""
    found: set[bytes] = {b"text/html"}
    every = False
    for argument in statement.args:
        if argument.text == "*":
            every = True
            continue
        name = argument.text.lower().encode("utf-8", "surrogateescape")
        if name in found:
            statement.warn(f'duplicate MIME type "{argument.text}"', argument)
        found.add(name)
    return MediaTypes(frozenset(found), every)
