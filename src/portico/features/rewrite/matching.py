"""A regex of `if` or `rewrite` against a text: captures, named groups, the lines of `rewrite_log`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.config.regex import Regex
from portico.errorlog import NOTICE

if TYPE_CHECKING:
    from portico.http.request import Request


def match(request: Request, regex: Regex, subject: bytes, log: bool) -> bool:
    """Whether it matches. Then `$1` and its kin are those of this match; else there are none (ngx_http_script_regex_start_code)."""
    captures = regex.match(subject)
    request.captures = captures
    if captures is not None:
        named = regex.named_values(captures)
        if named is not None:
            request.keep_names(named)
            if request.values is not None:
                for name in named:
                    request.values.pop(name, None)  # the latest of `set` and a match counts
    if log:
        text = subject.decode("utf-8", "backslashreplace")
        verb = "matches" if captures is not None else "does not match"
        request.log_error(NOTICE, f'"{regex.pattern}" {verb} "{text}"')
    return captures is not None
