"""Rewriting of what an upstream says about itself: redirects, and domain, path and flags of cookies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from portico.config.regex import Regex
from portico.variables.template import Template

if TYPE_CHECKING:
    from portico.http.request import Request

_SECURE: Final = 1
_NOSECURE: Final = 2
_HTTPONLY: Final = 4
_NOHTTPONLY: Final = 8
_NOSAMESITE: Final = 16
_STRICT: Final = 32
_LAX: Final = 64
_NONE: Final = 128
FLAGS: Final[dict[bytes, int]] = {
    b"secure": _SECURE, b"nosecure": _NOSECURE, b"httponly": _HTTPONLY, b"nohttponly": _NOHTTPONLY,
    b"samesite=strict": _STRICT, b"samesite=lax": _LAX, b"samesite=none": _NONE, b"nosamesite": _NOSAMESITE,
}  # fmt: skip
_SAMESITE: Final[tuple[tuple[int, bytes], ...]] = ((_STRICT, b"SameSite=Strict"), (_LAX, b"SameSite=Lax"), (_NONE, b"SameSite=None"))


@final
class Rule:
    """`pattern replacement`: a prefix (or whole name, for domains), or a regex after "~" or "~*"."""

    def __init__(self, pattern: Template | None, regex: Regex | None, replacement: Template | None, word: str) -> None:
        self.pattern = pattern
        self.regex = regex
        self.replacement = replacement
        self.word = word  # "off", "default", or ""

    def matched(self, request: Request, value: bytes) -> bool:
        """Return whether the regex matches; its captures are there for the replacement then."""
        assert self.regex is not None
        captures = self.regex.match(value)
        if captures is None:
            return False
        request.captures = captures
        named = self.regex.named_values(captures)
        if named is not None:
            request.keep_names(named)
        return True


@final
class FlagRule:
    """One `proxy_cookie_flags`: for which cookies, and which flags."""

    def __init__(self, name: Template | None, regex: Regex | None, flags: list[Template], off: bool) -> None:
        self.name = name
        self.regex = regex
        self.flags = flags  # words of FLAGS; what variables come to otherwise is passed over, as in nginx
        self.off = off

    def bits(self, request: Request) -> int:
        """Return the flags for one request."""
        found = 0
        for flag in self.flags:
            found |= FLAGS.get(flag.render(request).lower(), 0)
        return found


@final
class Rewriter:
    """The rewriting rules of one location."""

    def __init__(self, redirects: list[Rule], domains: list[Rule], paths: list[Rule], flags: list[FlagRule]) -> None:
        self.redirects = redirects
        self.domains = [rule for rule in domains if not rule.word]
        self.paths = [rule for rule in paths if not rule.word]
        self.flags = [rule for rule in flags if not rule.off]
        self.cookies = bool(self.domains or self.paths or self.flags)

    def location(self, request: Request, value: bytes) -> bytes | None:
        """Return the new value of a Location, None when no rule applies."""
        return _replaced(self.redirects, request, value, _take_prefix)

    def refresh(self, request: Request, value: bytes) -> bytes:
        """Return a Refresh with its URL rewritten: `5; url=http://…`."""
        at = value.lower().find(b"url=")
        if at < 0:
            return value
        changed = self.location(request, value[at + 4 :])
        return value if changed is None else value[: at + 4] + changed

    def cookie(self, request: Request, value: bytes) -> bytes:
        """Return a Set-Cookie with domain, path and flags rewritten."""
        parts = value.split(b";")
        attributes = [part.strip(b" ") for part in parts[1:]]
        changed = False
        for index, attribute in enumerate(attributes):
            name, equals, text = attribute.partition(b"=")
            lower = name.strip(b" ").lower()
            new: bytes | None = None
            if equals and lower == b"domain":
                new = _replaced(self.domains, request, text, _take_domain)
            elif equals and lower == b"path":
                new = _replaced(self.paths, request, text, _take_prefix)
            if new is not None:
                attributes[index] = name + b"=" + new
                changed = True
        if self.flags:
            changed = self._flagged(request, parts[0], attributes) or changed
        return b"; ".join([parts[0], *attributes]) if changed else value

    def _flagged(self, request: Request, pair: bytes, attributes: list[bytes]) -> bool:
        """Apply the first rule for this cookie to its attributes; whether there was one."""
        name = pair.partition(b"=")[0].strip(b" ")
        for rule in self.flags:
            if rule.regex is not None:
                if rule.regex.match(name) is None:
                    continue
            elif rule.name is None or name.lower() != rule.name.render(request).lower():
                continue
            flags = rule.bits(request)
            _set_flag(attributes, b"Secure", flags & _SECURE != 0, flags & _NOSECURE != 0)
            _set_flag(attributes, b"HttpOnly", flags & _HTTPONLY != 0, flags & _NOHTTPONLY != 0)
            if flags & (_STRICT | _LAX | _NONE | _NOSAMESITE):
                _set_same_site(attributes, flags)
            return flags != 0
        return False


def _set_same_site(attributes: list[bytes], flags: int) -> None:
    attributes[:] = [attribute for attribute in attributes if attribute.partition(b"=")[0].strip(b" ").lower() != b"samesite"]
    for flag, attribute in _SAMESITE:
        if flags & flag:
            attributes.append(attribute)
            return


def _set_flag(attributes: list[bytes], flag: bytes, wanted: bool, unwanted: bool) -> None:
    present = any(attribute.lower() == flag.lower() for attribute in attributes)
    if wanted and not present:
        attributes.append(flag)
    elif unwanted and present:
        attributes[:] = [attribute for attribute in attributes if attribute.lower() != flag.lower()]


Take = Callable[[bytes, bytes], "tuple[bytes, bytes] | None"]


def _take_prefix(value: bytes, pattern: bytes) -> tuple[bytes, bytes] | None:
    """Return what is left of `value` before and behind a pattern that it begins with; None when it does not."""
    return (b"", value[len(pattern) :]) if value.startswith(pattern) else None


def _take_domain(value: bytes, pattern: bytes) -> tuple[bytes, bytes] | None:
    """Return what is left of `value` beside a pattern that is the same domain: its leading dot; None when it is another one."""
    dot = value[:1] if value.startswith(b".") else b""
    return (dot, b"") if value[len(dot) :].lower() == pattern.lower() else None


def _replaced(rules: list[Rule], request: Request, value: bytes, take: Take) -> bytes | None:
    """Return `value` by the first rule whose regex matches, or whose pattern takes some of it; None when none does."""
    for rule in rules:
        assert rule.replacement is not None
        if rule.regex is not None:
            if rule.matched(request, value):
                return rule.replacement.render(request)
            continue
        assert rule.pattern is not None
        left = take(value, rule.pattern.render(request))
        if left is not None:
            return left[0] + rule.replacement.render(request) + left[1]
    return None
