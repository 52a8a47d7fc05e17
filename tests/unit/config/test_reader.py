"""The lexer says what nginx 1.22 says: messages and lines are those of `nginx -t` on the same text."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.config.diagnostics import COMMAND_LINE
from portico.config.load import Load
from portico.config.reader import MAX_DEPTH, Statement, read, read_text


def words(text: str) -> list[str]:
    load = Load("/etc/nginx", "nginx.conf")
    (statement,) = read_text(text, "x.conf", load)
    assert not load.diagnostics.errors
    return [statement.name] + [argument.text for argument in statement.args]


def errors(text: str, path: str = "x.conf") -> list[str]:
    load = Load("/etc/nginx", "nginx.conf")
    read_text(text, path, load)
    return [str(error) for error in load.diagnostics.errors]


def shape(statements: list[Statement]) -> list[object]:
    """Names only; a block as (name, content)."""
    return [s.name if s.block is None else (s.name, shape(s.block)) for s in statements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b c;", ["a", "b", "c"]),
        ("a\tb\r\n\n c\n;", ["a", "b", "c"]),
        ("a;", ["a"]),
        ("a '';", ["a", ""]),
        ("a \"b c\" 'd;e';", ["a", "b c", "d;e"]),
        ('"a" b;', ["a", "b"]),
        ('a "it\'s" \'say "x"\';', ["a", "it's", 'say "x"']),
        ('a "x{y}z#" b;', ["a", "x{y}z#", "b"]),
        ("a # c; d\n b;", ["a", "b"]),
        ("a b#c;", ["a", "b#c"]),
        ('a b"c" d\'e;', ["a", 'b"c"', "d'e"]),
        ("a }b;", None),
        ("a b}c;", ["a", "b}c"]),
        (r"a b\ c;", ["a", r"b\ c"]),
        (r"a b\;c;", ["a", r"b\;c"]),
        (r"a b\{c;", ["a", r"b\{c"]),
        (r"a \#b;", ["a", r"\#b"]),
        (r"a \"b\'c\\d;", ["a", "\"b'c\\d"]),
        (r'a "b\"c";', ["a", 'b"c']),
        (r"a 'b\'c';", ["a", "b'c"]),
        (r"a b\tc\rd\ne;", ["a", "b\tc\rd\ne"]),
        (r'a "\t\z\.";', ["a", "\t\\z\\."]),
        (r"a \\n;", ["a", r"\n"]),
        ("a ${b}c;", ["a", "${b}c"]),
        ('a "${b}c";', ["a", "${b}c"]),
        ("a $b$c;", ["a", "$b$c"]),
        ("a ${{b;", ["a", "${{b"]),
        ("a ('b')c;", ["a", "('b')c"]),
        ("a ( 'b')c;", ["a", "(", "b", ")c"]),
        ("if ($a = 'b') ;", ["if", "($a", "=", "b", ")"]),
        ("a é\udcff;", ["a", "é\udcff"]),
        ("a\x0bb;", ["a\x0bb"]),
    ],
)
def test_words(text: str, expected: list[str] | None) -> None:
    if expected is None:
        assert errors(text) == ['unexpected "}" in x.conf:1']
    else:
        assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", 'unexpected end of file, expecting ";" or "}" in x.conf:1'),
        ("a\n\nb\n", 'unexpected end of file, expecting ";" or "}" in x.conf:4'),
        ('a "b\n', 'unexpected end of file, expecting ";" or "}" in x.conf:2'),
        ('a "b"', 'unexpected end of file, expecting ";" or "}" in x.conf:1'),
        ("a \\", 'unexpected end of file, expecting ";" or "}" in x.conf:1'),
        ("a {\n b;\n", 'unexpected end of file, expecting "}" in x.conf:3'),
        ("a { b", 'unexpected end of file, expecting ";" or "}" in x.conf:1'),
        ("}", 'unexpected "}" in x.conf:1'),
        ("a;\n}", 'unexpected "}" in x.conf:2'),
        ("a { b\n}", 'unexpected "}" in x.conf:2'),
        (";", 'unexpected ";" in x.conf:1'),
        ("a;;", 'unexpected ";" in x.conf:1'),
        ("{", 'unexpected "{" in x.conf:1'),
        ('a "b"c;', 'unexpected "c" in x.conf:1'),
        ("a 'b'#;", 'unexpected "#" in x.conf:1'),
        ('a "b"};', 'unexpected "}" in x.conf:1'),
        ("a " + "x" * 5000 + ";", 'too long parameter "xxxxxxxxxx..." started in x.conf:1'),
        ("a\n" + "é" * 2500 + ";", 'too long parameter "éééééééééé..." started in x.conf:2'),
        (
            "a '" + "x\n" * 2500 + ";",
            'too long parameter, probably missing terminating "\'" character in x.conf:1',
        ),
        ("#" + "x" * 5000 + "\na;", 'too long parameter "#xxxxxxxxx..." started in x.conf:1'),
        ("include a b;", 'invalid number of arguments in "include" directive in x.conf:1'),
        ("include {}", 'directive "include" is not terminated by ";" in x.conf:1'),
        ("a { include /nowhere; }", 'open() "/nowhere" failed (2: No such file or directory) in x.conf:1'),
        ("include 'a\0b';", 'zero byte in "a\0b" in x.conf:1'),
        ("a\0 b;", 'zero byte in "a\0" in x.conf:1'),
        ("a {\n b c\0;", 'zero byte in "c\0" in x.conf:2'),
        ("a {" * 200, f"blocks and includes are nested more than {MAX_DEPTH} deep in x.conf:1"),
    ],
)
def test_syntax_errors(text: str, expected: str) -> None:
    assert errors(text) == [expected]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("a " + "x" * 4095 + ";", True),
        ("a " + "x" * 4096 + ";", False),
        ("a " + "x" * 4094 + " b;", True),
        ("a " + "x" * 4095 + " b;", False),
        ('a "' + "x" * 4094 + '";', True),
        ('a "' + "x" * 4095 + '";', False),
        ('a "' + "x" * 4093 + '" b;', True),
        ('a "' + "x" * 4094 + '" b;', False),
        ("#" + "x" * 4094 + "\n", True),
        ("#" + "x" * 4095 + "\n", False),
    ],
)
def test_what_fits_the_buffer(text: str, fits: bool) -> None:
    assert (errors(text) == []) is fits


def test_command_line() -> None:
    assert errors("daemon off", COMMAND_LINE) == [
        'unexpected end of parameter, expecting ";" in command line'
    ]
    assert errors("events { }", COMMAND_LINE) == [
        "block directives are not supported in -g option in command line"
    ]
    assert errors("daemon off; user a;", COMMAND_LINE) == []


def test_positions() -> None:
    load = Load("/etc/nginx", "nginx.conf")
    outer, after = read_text('a\n  bc  "d e"\n {\n\tf;\n}\ng;', "x.conf", load)
    assert (str(outer.where), outer.where.column, outer.end) == ("x.conf:1", 1, 3)
    bc, quoted = outer.args
    assert (bc.where.line, bc.where.column, bc.span, bc.quoted) == (2, 3, 2, False)
    assert (quoted.where.line, quoted.where.column, quoted.span, quoted.quoted) == (2, 7, 5, True)
    assert outer.block is not None
    assert (str(outer.block[0].where), outer.block[0].where.column) == ("x.conf:4", 2)
    assert str(after.where) == "x.conf:6"
    assert outer.where.order < bc.where.order < quoted.where.order < after.where.order


def test_what_was_read_before_a_syntax_error_remains() -> None:
    load = Load("/etc/nginx", "nginx.conf")
    statements = read_text("a; b { c; d { e; ", "x.conf", load)
    assert shape(statements) == ["a", ("b", ["c", ("d", ["e"])])]
    assert statements[0].complete and not statements[1].complete


def test_include(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for name in ("b", "a", "B", "é", ".hidden"):
        (tmp_path / "conf.d" / f"{name}.conf").write_text(f"{name};")
    (tmp_path / "nginx.conf").write_text(
        "first; include conf.d/*.conf; block { include conf.d/a.conf; } include none/*.conf; last;"
    )
    load = Load("/elsewhere", str(tmp_path / "nginx.conf"))
    statements = read(load.conf_path, load)
    assert load.diagnostics.errors == []
    assert shape(statements) == ["first", "B", "a", "b", "é", ("block", ["a"]), "last"]
    assert str(statements[2].where) == f"{tmp_path}/conf.d/a.conf:1"
    assert next(iter(load.files)) == load.conf_path
    assert load.files[f"{tmp_path}/conf.d/a.conf"] == "a;"


def test_include_patterns_are_those_of_glob3(tmp_path: Path) -> None:
    for name in ("a1", "a2", "a*", "[b]"):
        (tmp_path / name).write_text(f"'{name}';")
    load = Load(str(tmp_path), "nginx.conf")
    assert shape(read_text("include a[^2];", "x", load)) == ["a*", "a1"]
    assert shape(read_text(r"include a\*;", "x", load)) == ["a*"]
    assert shape(read_text(r"include \[b?;", "x", load)) == ["[b]"]


def test_syntax_error_in_an_included_file(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("a;\nb }")
    load = Load(str(tmp_path), "nginx.conf")
    assert shape(read_text("x { include part; y; }", "x.conf", load)) == [("x", ["a"])]
    assert [str(e) for e in load.diagnostics.errors] == [f'unexpected "}}" in {tmp_path}/part:2']


def test_a_block_cannot_end_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("a {\n")
    load = Load(str(tmp_path), "nginx.conf")
    read_text("include part; }", "x.conf", load)
    assert [str(e) for e in load.diagnostics.errors] == [
        f'unexpected end of file, expecting "}}" in {tmp_path}/part:2'
    ]


def test_include_of_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text("a;\ninclude *.conf;\ninclude *.conf;")
    load = Load(str(tmp_path), str(path))
    read(str(path), load)
    (error,) = load.diagnostics.errors
    assert str(error) == f"blocks and includes are nested more than {MAX_DEPTH} deep in {path}:2"
    assert error.hint == f'does "{path}" include itself?'


@pytest.mark.parametrize("depth", range(1, 4))
def test_include_of_itself_is_told_when_a_block_is_one_too_many(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text("a {" * depth + f" include {path}; " + "}" * depth)
    load = Load(str(tmp_path), str(path))
    read(str(path), load)
    (error,) = load.diagnostics.errors
    assert error.message == f"blocks and includes are nested more than {MAX_DEPTH} deep"
    assert error.hint == f'does "{path}" include itself?'


def test_deep_blocks_are_not_taken_for_an_include(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("b;")
    load = Load(str(tmp_path), "nginx.conf")
    read_text("a {" * (MAX_DEPTH + 1), "x.conf", load)
    read_text("a {" * MAX_DEPTH + f" include {tmp_path}/part;", "x.conf", load)
    assert [error.hint for error in load.diagnostics.errors] == ["", ""]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    load = Load(str(tmp_path), "nginx.conf")
    assert read(load.conf_path, load) == []
    read_text(f"\n include {tmp_path};", "x.conf", load)
    missing, directory = load.diagnostics.errors
    assert str(missing) == f'open() "{tmp_path}/nginx.conf" failed (2: No such file or directory)'
    assert str(directory) == f'pread() "{tmp_path}" failed (21: Is a directory) in x.conf:2'
    assert (missing.level, directory.level) == ("emerg", "crit")
    assert "portico: [crit] pread()" in load.diagnostics.render()


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """nginx waits for a writer, and with it `nginx -t`, or a reload, for ever."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "c").write_text("include fifo;\nworker_processes 1;")
    load = Load(str(tmp_path), "c")
    assert [statement.name for statement in read(load.conf_path, load)] == ["worker_processes"]
    assert [str(error) for error in load.diagnostics.errors] == [
        f'open() "{tmp_path}/fifo" failed (6: a FIFO that nobody writes to) in {tmp_path}/c:1'
    ]


def test_a_fifo_and_a_device_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "c").write_text("include /dev/null;\ninclude /dev/zero;\ninclude fifo;\n")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)  # so that the writer need not wait
    writing = os.open(tmp_path / "fifo", os.O_WRONLY)
    os.write(writing, b"worker_processes 1;")
    threading.Timer(0.1, os.close, (writing,)).start()
    load = Load(str(tmp_path), "c")
    assert [statement.name for statement in read(load.conf_path, load)] == ["worker_processes"]
    assert not load.diagnostics.errors
    os.close(reading)


def test_bytes_that_are_not_utf8_survive(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_bytes(b"a \xff\xc3\xa9;\r\n")
    load = Load(str(tmp_path), "nginx.conf")
    (statement,) = read(load.conf_path, load)
    assert statement.args[0].text.encode("utf-8", "surrogateescape") == b"\xff\xc3\xa9"


PIECES = st.sampled_from(
    [
        "a",
        "bc",
        " ",
        "\n",
        "\r\n",
        "\t",
        ";",
        "{",
        "}",
        '"',
        "'",
        "\\",
        "$",
        "${",
        "#",
        ")",
        "é",
        "\udcff",
        "\0",
    ]
    + ["include ", "include *;", "x" * 1500, "{" * 60]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    load = Load("/nonexistent", "nginx.conf")
    statements = read_text(text, "x.conf", load)
    lines = text.count("\n") + 1
    for error in load.diagnostics.errors:
        assert error.where is not None and 1 <= error.where.line <= lines and error.where.column >= 1
    complete = not load.diagnostics.errors
    assert all(s.complete for s in statements) or not complete
    assert load.diagnostics.render().count("portico: [emerg]") == len(load.diagnostics.errors)


WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORD, min_size=1, max_size=5))
def test_quoted_words_come_back(given_words: list[str]) -> None:
    quoted = " ".join('"' + w.replace("\\", "\\\\").replace('"', '\\"') + '"' for w in given_words)
    if given_words[0] != "include" and not given_words[0].startswith("\ufeff"):  # that is reported as a byte order mark
        assert words(quoted + ";") == given_words


def test_a_byte_order_mark_is_named_and_the_rest_read(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("\ufeffuser a;\nuser b;\n")
    load = Load(f"{tmp_path}/", "x.conf")
    statements = read_text(f"include {tmp_path}/part;", "x.conf", load)
    (error,) = load.diagnostics.errors
    assert str(error) == f'unknown directive "\ufeffuser" in {tmp_path}/part:1'
    assert "byte order mark" in error.hint
    assert [statement.name for statement in statements] == ["user", "user"]


UNCLOSED = """\
http {
    types { a b; }
    server { listen 1;
    }
    server {
        location / {
            root /x;
    }
}
"""


def test_which_block_is_not_closed(tmp_path: Path) -> None:
    """The end of the file says nothing about that; the indentation most often does."""
    load = Load("/etc/nginx", "nginx.conf")
    read_text(UNCLOSED, "x.conf", load)
    (error,) = load.diagnostics.errors
    assert str(error) == 'unexpected end of file, expecting "}" in x.conf:10'
    assert error.hint == (
        '"http" was opened in line 1; going by the indentation it is "location", opened in line 6, that is not closed'
    )
    for flat in ("http {\nserver {\nlisten 1;\n}\n", "http { server {\n  listen 1; }\n"):
        load = Load("/etc/nginx", "nginx.conf")
        read_text(flat, "x.conf", load)
        assert load.diagnostics.errors[0].hint == '"http" was opened in line 1'


LUA = """
init_by_lua_block { t = { "}", '}', "\\"}" } -- }
    --[[ } ]] s = [==[ } ]] } ]==] }
http { access_by_lua_block { } a b; }
"""


def test_what_follows_a_block_of_lua_is_read() -> None:
    load = Load("/etc/nginx", "nginx.conf")
    assert shape(read_text(LUA, "x.conf", load)) == [("init_by_lua_block", []), ("http", [("access_by_lua_block", []), "a"])]
    assert not load.diagnostics.errors


@pytest.mark.parametrize("inside", ["{ }", '"}"', "-- }", "[[ }", "[=[ } ]]"])
def test_a_block_of_lua_without_an_end(inside: str) -> None:
    (error,) = errors(f"http {{\nset_by_lua_block $x {{\n{inside}\n")
    assert error == 'unexpected end of file, expecting "}" in x.conf:4'
