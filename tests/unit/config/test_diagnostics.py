"""How mistakes are told."""

from portico.config.diagnostics import COMMAND_LINE, ConfigError, Diagnostics, Where
from portico.config.load import Load
from portico.config.reader import read_text


def test_nginx_line_source_caret_and_hint() -> None:
    found = Diagnostics({"/etc/x.conf": "http {\n    proxy_pas http://b;\n}\n"})
    error = ConfigError('unknown directive "proxy_pas"', Where("/etc/x.conf", 2, 5), span=9)
    error.hint = 'did you mean "proxy_pass"?'
    found.error(error)
    assert found.render() == (
        'portico: [emerg] unknown directive "proxy_pas" in /etc/x.conf:2\n'
        "    2 |     proxy_pas http://b;\n"
        "      |     ^^^^^^^^^\n"
        '      = did you mean "proxy_pass"?\n'
    )


def test_without_position_or_source() -> None:
    found = Diagnostics()
    found.error(ConfigError('open() "/x" failed (2: No such file or directory)', hint="see -c"))
    found.error(ConfigError("no such line", Where("gone.conf", 3, 1, 1)))
    assert found.render("nginx") == (
        "nginx: [emerg] no such line in gone.conf:3\n"
        'nginx: [emerg] open() "/x" failed (2: No such file or directory)\n'
        "  see -c\n"
    )


def test_nothing_to_tell() -> None:
    assert Diagnostics().render() == ""


def test_warnings_stand_among_errors_in_reading_order() -> None:
    load = Load("/srv", "x.conf")
    one, two = read_text("a b;\nc;", "x.conf", load)
    load.diagnostics.error(two.fail("bad"))
    one.warn("doubtful", one.args[0], "think again")
    assert load.diagnostics.render() == (
        "portico: [warn] doubtful in x.conf:1\n"
        "    1 | a b;\n"
        "      |   ^\n"
        "      = think again\n"
        "portico: [emerg] bad in x.conf:2\n"
        "    2 | c;\n"
        "      | ^\n"
    )


def test_command_line_has_no_line_number() -> None:
    load = Load("/srv", "x.conf")
    read_text("daemon", COMMAND_LINE, load)
    assert load.diagnostics.render() == (
        'portico: [emerg] unexpected end of parameter, expecting ";" in command line\n'
        "    1 | daemon\n"
        "      | ^^^^^^\n"
    )


def shown(source: str, column: int, span: int) -> list[str]:
    found = Diagnostics({"x": source})
    found.error(ConfigError("bad", Where("x", 1, column), span=span))
    return [line[8:] for line in found.render().splitlines()[1:]]


def test_caret_keeps_tabs_and_ends_with_the_line() -> None:
    assert shown("\ta\t'b\nc';", 4, 5) == ["\ta\t'b", "\t \t^^"]
    assert shown("a", 2, 1) == ["a", " ^"]


def test_long_lines_are_cut_around_the_caret() -> None:
    line, caret = shown("x" * 5000 + " bad " + "y" * 5000, 5002, 3)
    assert len(line) <= 160
    assert line[caret.index("^") : caret.rindex("^") + 1] == "bad"


def test_control_characters_do_not_reach_the_terminal() -> None:
    found = Diagnostics({"x": "a \x1b[31m\udcff;"})
    found.error(ConfigError("bad \x1b]0;", Where("x", 1, 1)))
    assert "\x1b" not in found.render() and "\udcff" not in found.render()


def test_colour_only_when_asked() -> None:
    found = Diagnostics({"x": "abc"})
    found.error(ConfigError("bad", Where("x", 1, 1)))
    assert "\x1b[1;31m^\x1b[0m" in found.render(colour=True)
    assert "\x1b" not in found.render()


def test_missing_semicolon_and_quote() -> None:
    load = Load("/srv", "x.conf")
    read_text("a {\n b c\n}", "x.conf", load)
    read_text("a;\nb 'c;\nd;\n", "y.conf", load)
    read_text("a {\n b;\n", "z.conf", load)
    first, second, third = load.diagnostics.errors
    assert first.hint == 'is a ";" missing after "c" in line 2?'
    assert (second.hint, str(second), str(second.where)) == (
        "the closing ' is missing",
        'unexpected end of file, expecting ";" or "}" in y.conf:4',
        "y.conf:2",
    )
    assert third.hint == '"a" was opened in line 1'
