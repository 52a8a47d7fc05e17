"""Whatever words a directive is given, it is accepted or refused with a message: nothing else comes out of the load."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.example_site import DIRECTIVES, fill, framed, identity

from portico.config.directive import Directive
from portico.config.load import Load
from portico.config.reader import Argument, Statement, read_text
from portico.program import LoadFailed, Source, load_program

HTTP = ["limit_req_zone", "limit_conn_zone", "map_hash_max_size"]
BLOCKS = ["map", "geo", "split_clients"]
SERVER = [
    "rewrite", "if", "set", "return", "break", "rewrite_log", "uninitialized_variable_warn", "set_real_ip_from", "real_ip_header",
    "real_ip_recursive", "allow", "deny", "satisfy", "auth_basic", "auth_basic_user_file", "auth_delay", "auth_request",
    "auth_request_set", "valid_referers", "secure_link", "secure_link_md5", "secure_link_secret", "auth_jwt", "auth_jwt_key_file",
    "auth_jwt_require", "auth_jwt_claim_set", "auth_jwt_leeway", "limit_req", "limit_req_status", "limit_req_log_level",
    "limit_req_dry_run", "limit_req_headers", "limit_conn", "limit_conn_status", "limit_conn_log_level", "limit_conn_dry_run",
    "limit_rate", "limit_rate_after", "limit_except", "add_header", "add_trailer", "expires", "add_header_inherit", "userid",
    "userid_expires", "userid_mark", "sub_filter", "sub_filter_types", "add_before_body", "mirror", "autoindex_format", "charset",
    "early_hints",
]  # fmt: skip
WORDS = st.one_of(
    st.sampled_from(
        [
            "$host", "$arg_x", "$", "${", "${host}", "$1", "$nope", "on", "off", "all", "any", "unix:", "1.2.3.4", "1.2.3.4/8",
            "::/0", "::1", "1.2.3.4-1.2.3.9", "default", "ranges", "delete", "proxy", "hostnames", "volatile", "include",
            "zone=a:1m", "zone=a", "zone=:", "rate=1r/s", "rate=", "rate=1r/m", "burst=5", "burst=", "delay=1", "nodelay", "5",
            "-5", "0", "99999999999999999999", "9" * 400, "400", "503", "301", "http://x", "~", "~*", "~(", "~*[", "~^(?<a>x)$",
            "^(a)$", "(a", "=", "!=", "!~", "-f", "!-e", "(", ")", "($host", "$host)", "(-f", "last", "break", "permanent",
            "redirect", "50%", ".5%", "*", "0.001%", "%", "10k", "1h", "@12h", "modified", "epoch", "max", "/a", "@b", "a b", "",
            "html", "none", "blocked", "server_names", "*.a", "a.*", "a.*.b", "GET", "info", "crit", "merge", "é", "\udcff",
            "text/html", "text/html;x",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("directives")


def quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def load(folder: Path, http: str) -> None:
    conf = folder / "c.conf"
    text = f"events {{}}\nerror_log {folder}/error.log;\nhttp {{ access_log off;\n{http}\n}}\n"
    conf.write_bytes(text.encode("utf-8", "surrogateescape"))
    try:
        load_program(Source(f"{folder}/", str(conf), "", ""), None).close()
    except LoadFailed as failed:
        said = failed.diagnostics.render()
        assert "portico: [emerg] " in said and "Traceback" not in said


ALWAYS = "limit_req_zone $host zone=a:1m rate=1r/s; server { listen 127.0.0.1:8080; location / { %s } }"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(HTTP + SERVER), st.lists(WORDS, max_size=4), st.booleans())
def test_any_words(folder: Path, name: str, words: list[str], opens: bool) -> None:
    line = " ".join([name, *map(quoted, words)])
    block = "{ }" if name in ("limit_except", "if") or (opens and len(words) == 3) else ";"
    load(folder, f"{line}{block}" if name in HTTP else ALWAYS % f"{line}{block}")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(BLOCKS), st.lists(st.lists(WORDS, min_size=1, max_size=3), max_size=5))
def test_any_lines(folder: Path, name: str, lines: list[list[str]]) -> None:
    inner = " ".join(" ".join(map(quoted, line)) + ";" for line in lines)
    load(folder, f"{name} $host $made {{ {inner} }} server {{ listen 127.0.0.1:8080; return 200 $made; }}")


# -- one word of each directive's example at a time

# A byte that is not UTF-8; names and labels that no resolver takes; a digit that is not ASCII; numbers beyond 31, 63 and 64 bits.
ODD = ("\udcff", "", "${", "a..b", "x" * 64, "²", "-1", "9" * 10, "9" * 18, "9" * 100)
ODD_BEHIND = ("\udcff", "a..b", "²", "9" * 18)  # in place of what follows one of these
SEPARATORS = "=:/@-"


def words_of(statements: list[Statement], directive: Directive[object], inside: bool) -> list[tuple[int, int, int, str]]:
    """Line, column, span and text of the arguments of all statements of that name, and of all words of lines in its own block."""
    found: list[tuple[int, int, int, str]] = []
    for statement in statements:
        if inside or statement.name == directive.name:
            words = [Argument(statement.name, statement.where, span=statement.span)] if inside else []
            found += [(word.where.line, word.where.column, word.span, word.text) for word in words + statement.args]
        if statement.block is not None:
            own = statement.name == directive.name and directive.raw_block
            found += words_of(statement.block, directive, inside or own)
    return found


def variants(word: str) -> Iterator[str]:
    yield from ODD
    for at, character in enumerate(word):
        if character in SEPARATORS:
            yield from (word[: at + 1] + odd for odd in ODD_BEHIND)
    yield word + "\udcff"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("directive", DIRECTIVES, ids=identity)
def test_odd_words_in_an_example(directive: Directive[object], site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = socket.getaddrinfo

    def numbers_only(host: str | bytes, port: int | None, type: int = 0) -> object:
        return ask(host, port, type=type, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", numbers_only)
    text = framed(directive, site)
    lines = text.split("\n")
    for line, column, span, word in words_of(read_text(text, "x", Load(f"{site}/", "nginx.conf")), directive, False):
        start = sum(len(before) + 1 for before in lines[: line - 1]) + column - 1
        for odd in variants(word):
            changed = text[:start] + quoted(odd) + text[start + span :]
            (site / "nginx.conf").write_bytes(changed.encode("utf-8", "surrogateescape"))
            try:
                load_program(Source(f"{site}/", "nginx.conf", "", ""), None).close()
            except LoadFailed as failed:
                said = failed.diagnostics.render()
                assert "portico: [emerg] " in said or "portico: [alert] " in said or "portico: [crit] " in said
            except Exception as error:
                error.add_note(f"{directive.name}: {odd!r} in place of {word!r}")
                raise
