"""Directives are checked in nginx's order and words, all mistakes of a load at once."""

from collections.abc import Callable
from typing import TypeVar

import pytest

import portico.config.load
from portico.config import values
from portico.config.build import build, distance, written
from portico.config.directive import (
    EVENTS,
    HTTP,
    LOCATION,
    MAIN,
    SERVER,
    UPSTREAM,
    Directive,
    Scope,
    context_names,
)
from portico.config.load import Late, Load
from portico.config.reader import Statement, read_text


def pairs(s: Statement) -> dict[str, str]:
    return {inner.name: inner.args[0].text for inner in s.block or []}


def location_match(s: Statement) -> tuple[str, str]:
    if len(s.args) == 2 and s.args[0].text not in ("=", "~"):
        raise s.fail(f'invalid location modifier "{s.args[0].text}"', s.args[0])
    return (s.args[0].text if len(s.args) == 2 else "", s.args[-1].text)


T = TypeVar("T")


def declare(
    name: str,
    contexts: int,
    parse: Callable[[Statement], T],
    args: str,
    default: T,
    block: int = 0,
    many: bool = False,
    raw_block: bool = False,
) -> Directive[T]:
    return Directive(
        name,
        contexts,
        parse,
        args=args,
        default=default,
        doc="Prose.",
        example=f"{name};",
        syntax=f"{name} ...;",
        block=block,
        many=many,
        raw_block=raw_block,
    )


NONE = list[str]()
INNER = HTTP | SERVER | LOCATION
EVENTS_BLOCK = declare("events", MAIN, values.texts, "0", NONE, EVENTS)
HTTP_BLOCK = declare("http", MAIN, values.texts, "0", NONE, HTTP)
SERVER_BLOCK = declare("server", HTTP, values.texts, "0", NONE, SERVER, many=True)
LOCATION_BLOCK = declare("location", SERVER | LOCATION, location_match, "1-2", ("", ""), LOCATION, many=True)
UPSTREAM_BLOCK = declare("upstream", HTTP, values.text, "1", "", UPSTREAM, many=True)
PEER = declare("server", UPSTREAM, values.texts, "1+", NONE, many=True)
GZIP = declare("gzip", INNER, values.flag, "1", False)
LIMIT = declare("limit", INNER, values.size, "1,3", 7)
ADD_HEADER = declare("add_header", INNER, values.texts, "2-3", NONE, many=True)
TYPES = declare("types", HTTP | LOCATION, pairs, "0", dict[str, str](), raw_block=True)
KEEPALIVE_UPSTREAM = declare("keepalive_timeout", UPSTREAM, values.msec, "1", 60.0)
KEEPALIVE = declare("keepalive_timeout", HTTP | SERVER, values.msec, "1-2", 75.0)
PROXY_PASS = declare("proxy_pass", LOCATION, values.text, "1", "")

ALL: list[Directive[object]] = [
    EVENTS_BLOCK,
    HTTP_BLOCK,
    SERVER_BLOCK,
    LOCATION_BLOCK,
    UPSTREAM_BLOCK,
    PEER,
    GZIP,
    LIMIT,
    ADD_HEADER,
    TYPES,
    KEEPALIVE_UPSTREAM,
    KEEPALIVE,
    PROXY_PASS,
]


def load(text: str, context: int = MAIN) -> tuple[Scope, list[str]]:
    shared = Load("/srv", "/srv/x.conf")
    scope = build(read_text(text, "/srv/x.conf", shared), ALL, shared, context)
    return scope, [str(error).removesuffix(" in /srv/x.conf:1") for error in shared.diagnostics.errors]


def built(text: str, context: int = HTTP) -> Scope:
    scope, errors = load(text, context)
    assert errors == []
    return scope


def refused(text: str, context: int = HTTP) -> list[str]:
    return load(text, context)[1]


def test_names_contexts_braces_and_arity() -> None:
    assert refused("gzap on;") == ['unknown directive "gzap"']
    assert refused("proxy_pass x;") == ['"proxy_pass" directive is not allowed here']
    assert refused("gzip on {}") == ['directive "gzip" is not terminated by ";"']
    assert refused("server;") == ['directive "server" has no opening "{"']
    assert refused("types;") == ['directive "types" has no opening "{"']
    assert refused("gzip;") == ['invalid number of arguments in "gzip" directive']
    assert refused("server x {}") == ['invalid number of arguments in "server" directive']
    assert refused("add_header x;") == ['invalid number of arguments in "add_header" directive']
    assert refused("limit 1 2;") == ['invalid number of arguments in "limit" directive']
    assert refused("limit 1 2 3; gzip off;") == []
    assert refused("gzip maybe;") == ['invalid value "maybe" in "gzip" directive, it must be "on" or "off"']


def test_duplicates() -> None:
    assert refused("gzip on; gzip bad;") == ['"gzip" directive is duplicate']
    assert refused("add_header a b; add_header a b; server {} server {}") == []
    assert refused("events {} events {}", MAIN) == ['"events" directive is duplicate']
    assert refused("gzip on; server { gzip off; }") == []


def test_one_name_in_several_contexts() -> None:
    scope = built(
        "keepalive_timeout 1 2; upstream u { server a; server b w=1; keepalive_timeout 3; } server { }"
    )
    (upstream,) = scope.blocks(UPSTREAM_BLOCK)
    assert upstream.own_all(PEER) == [["a"], ["b", "w=1"]]
    assert upstream.get(KEEPALIVE_UPSTREAM) == 3.0
    assert scope.get(KEEPALIVE) == 1.0
    assert len(scope.blocks(SERVER_BLOCK)) == 1
    assert refused("keepalive_timeout 1;", LOCATION) == ['"keepalive_timeout" directive is not allowed here']


def test_all_mistakes_at_once_in_reading_order() -> None:
    text = "http {\n gzap on;\n server {\n gzip x;\n what { gzip y; }\n location a b { limit z; }\n}\n }\n}"
    shared = Load("/srv", "/srv/x.conf")
    build(read_text(text, "x.conf", shared), ALL, shared)
    told = [line for line in shared.diagnostics.render().splitlines() if "[emerg]" in line]
    assert told == [
        'portico: [emerg] unknown directive "gzap" in x.conf:2',
        'portico: [emerg] invalid value "x" in "gzip" directive, it must be "on" or "off" in x.conf:4',
        'portico: [emerg] unknown directive "what" in x.conf:5',
        'portico: [emerg] invalid location modifier "a" in x.conf:6',
        'portico: [emerg] "limit" directive invalid value in x.conf:6',
        'portico: [emerg] unexpected "}" in x.conf:9',
    ]


def test_the_line_is_where_the_directive_ends() -> None:
    assert refused("gzip\n\n maybe\n;") == [
        'invalid value "maybe" in "gzip" directive, it must be "on" or "off" in /srv/x.conf:4'
    ]


def hint(text: str) -> str:
    shared = Load("/srv", "/srv/x.conf")
    build(read_text(text, "x.conf", shared), ALL, shared, LOCATION)
    return shared.diagnostics.errors[0].hint


def test_hints() -> None:
    assert hint("proxy_pas x;") == 'did you mean "proxy_pass"?'
    assert hint("porxy_pass x;") == 'did you mean "proxy_pass"?'
    assert hint("gizp x;") == 'did you mean "gzip"?'
    assert hint("something_else x;") == ""
    missing = "nginx has it and Portico does not yet: "
    assert hint("stream { }").startswith(missing + "keep nginx for it")  # not "upstream"
    assert hint("fastcgi_pass x;").startswith(missing + "let the application speak HTTP")  # not "proxy_pass"
    assert not hint("gzip_type x;").startswith(missing)  # gzip is declared here
    assert hint("GZIP on;") == 'did you mean "gzip"?'
    assert hint("if($host) { }") == 'a space is missing before "("'
    assert "quotes" in hint("location ~ ^/[0-9]{4}$ { } }") and "#" in hint("// a comment;")
    assert hint("ssl on;") == 'nginx has dropped it; instead: "listen 443 ssl"'
    assert hint("upstream x {}") == "it may stand in: http"
    assert hint("gzip on\nproxy_pass x;") == 'is a ";" missing at the end of line 1?'
    assert hint("gzip on\nlocation / {}") == 'is a ";" missing at the end of line 1?'
    assert hint("limit;") == "syntax: limit ...;"
    assert hint("gzip on; gzip off;") == "it was given in x.conf:1 already"


@pytest.mark.parametrize("form", ["on | off", "limit on | off", "limit on | off;", "  on | off "])
def test_a_syntax_is_completed(form: str) -> None:
    directive = declare("limit", HTTP, values.flag, "1", False)
    assert written(directive, form) == "limit on | off;"


def test_a_block_without_end_is_not_parsed_half() -> None:
    _, errors = load("types { a b; ", HTTP)
    assert errors == ['unexpected end of file, expecting "}"']


def test_values_are_inherited() -> None:
    scope = built("gzip on; limit 3; server { limit 4; location / { gzip off; } }")
    (server,) = scope.blocks(SERVER_BLOCK)
    (location,) = server.blocks(LOCATION_BLOCK)
    assert (scope.get(GZIP), server.get(GZIP), location.get(GZIP)) == (True, True, False)
    assert (server.own(GZIP), location.own(GZIP)) == (None, False)
    assert (scope.get(LIMIT), location.get(LIMIT), built("").get(LIMIT)) == (3, 4, 7)
    assert location.parent is server and server.parent is scope and scope.parent is None
    setting = location.setting(LIMIT)
    assert setting is not None and (setting.value, str(setting.where)) == (4, "/srv/x.conf:1")
    assert location.setting(PROXY_PASS) is None


def test_lists_are_inherited_whole() -> None:
    scope = built(
        "add_header a 1; add_header b 2; server { location /x { add_header c 3; } location /y { gzip on; } }"
    )
    x, y = scope.blocks(SERVER_BLOCK)[0].blocks(LOCATION_BLOCK)
    assert x.all(ADD_HEADER) == [["c", "3"]]
    assert y.all(ADD_HEADER) == [["a", "1"], ["b", "2"]]
    assert (y.own_all(ADD_HEADER), x.own_all(ADD_HEADER)) == ([], [["c", "3"]])
    assert [s.value for s in y.settings(ADD_HEADER)] == y.all(ADD_HEADER)
    assert y.own_settings(ADD_HEADER) == []
    assert built("").all(ADD_HEADER) == []


def test_blocks_keep_their_arguments_and_statement() -> None:
    scope = built("location ~ x { location = y { } }", SERVER)
    (outer,) = scope.blocks(LOCATION_BLOCK)
    (inner,) = outer.blocks(LOCATION_BLOCK)
    assert outer.value == ("~", "x") and inner.opened_as(LOCATION_BLOCK) == ("=", "y")
    assert outer.statement is not None and outer.statement.args[0].text == "~"
    assert outer.directive is LOCATION_BLOCK and outer.context == LOCATION
    assert outer.children == [inner]


def test_raw_blocks_read_their_own_content() -> None:
    assert built("types { text/html html; }").get(TYPES) == {"text/html": "html"}


COMPILED = str(portico.config.load.__file__).endswith(".so")


@pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")
def test_late_values_are_resolved_after_the_load() -> None:
    class Name(Late):
        def __init__(self, s: Statement) -> None:
            self.s = s
            self.value = ""

        def resolve(self, environment: object) -> None:
            assert isinstance(environment, dict)
            if self.s.args[0].text not in environment:
                raise self.s.fail(f'unknown "{self.s.args[0].text}" variable', self.s.args[0])
            self.value = environment[self.s.args[0].text]

    shared = Load("/srv", "/srv/x.conf")
    late = [Name(s) for s in read_text("a x;\na y;\na z;", "x.conf", shared)]
    for value in late:
        shared.resolve_later(value)
    shared.resolve_all({"x": "1", "z": "3"})
    assert [v.value for v in late] == ["1", "", "3"]
    assert [str(e) for e in shared.diagnostics.errors] == ['unknown "y" variable in x.conf:2']
    shared.resolve_all({})  # nothing is left
    assert len(shared.diagnostics.errors) == 1


def test_context_names() -> None:
    assert context_names(LOCATION | HTTP | MAIN) == ["main", "http", "location"]


def test_distance() -> None:
    assert distance("", "abc") == 3
    assert distance("abc", "abc") == 0
    assert distance("abc", "acb") == 1
    assert distance("proxy_pas", "proxy_pass") == 1
    assert distance("kitten", "sitting") == 3
