"""Every directive of nginx 1.31.5 is known, with nginx's contexts and numbers of arguments, or it is said here why it is not.

`nginx_directives.txt` has them: module, name, contexts, numbers of arguments, and `{}` where a block follows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from portico import catalogue
from portico.config.absent import advice
from portico.config.directive import (
    EVENTS,
    HTTP,
    IF_LOCATION,
    IF_SERVER,
    LIMIT_EXCEPT,
    LOCATION,
    MAIN,
    SERVER,
    UPSTREAM,
    Directive,
)

CONTEXTS = {
    "main": MAIN, "events": EVENTS, "http": HTTP, "server": SERVER, "location": LOCATION, "upstream": UPSTREAM,
    "server-if": IF_SERVER, "location-if": IF_LOCATION, "limit_except": LIMIT_EXCEPT, "any": 0,
}  # fmt: skip
MOST = 8  # arguments: NGX_CONF_MAX_ARGS
# Modules that Portico does not have.
MODULES = {
    "fastcgi", "uwsgi", "scgi", "grpc", "memcached", "tunnel", "image",
    "xslt", "perl", "mp4", "flv", "degradation", "upstream_least_time", "upstream_sticky",
}  # fmt: skip
# Of these modules' directives, those that it takes all the same, with no effect.
TAKEN = {"fastcgi_temp_path", "uwsgi_temp_path", "scgi_temp_path"}
# Directives that it does not have although it has the rest of their modules.
NAMES = {
    "ssl_conf_command", "proxy_socket_rcvbuf", "proxy_socket_sndbuf", "proxy_pass_trailers",
    "proxy_ssl_certificate_cache", "proxy_ssl_conf_command", "client_body_early_read",
    "post_action",
}  # fmt: skip

DIRECTIVES = catalogue.directives()
LINES = (Path(__file__).parent / "nginx_directives.txt").read_text().splitlines()


def own(name: str, contexts: int) -> list[Directive[object]]:
    """Portico's directives of that name, of those contexts."""
    return [each for each in DIRECTIVES if each.name == name and (each.contexts & contexts or not contexts)]


def is_expected(line: str) -> bool:
    """Whether Portico should know the directive of this line."""
    module, name = line.split()[:2]
    return name in TAKEN if module in MODULES else name not in NAMES


@pytest.mark.parametrize("line", [line for line in LINES if is_expected(line)])
def test_directive(line: str) -> None:
    _, name, contexts_text, numbers, *block = line.split()
    contexts = 0
    for word in contexts_text.split(","):
        contexts |= CONTEXTS[word]
    found = own(name, contexts)
    assert found, "unknown"
    known = 0
    for directive in found:
        known |= directive.contexts
        allowed = {count for count in range(MOST + 1) if directive.takes(count)}
        expected = set(range(int(numbers[:-1]), MOST + 1)) if numbers.endswith("+") else {int(each) for each in numbers.split(",")}
        assert (allowed, directive.has_block()) == (expected, bool(block))
    assert contexts & ~known == 0, "a context is missing"


@pytest.mark.parametrize("name", sorted({line.split()[1] for line in LINES if not is_expected(line)}))
def test_what_is_missing_is_told(name: str) -> None:
    assert not own(name, 0), "it is there: take it off the list"
    assert advice(name, [each.name for each in DIRECTIVES]), "who writes it is not told what to do"
