"""Every directive says what it is, its example loads, and the pages under docs/ are those of the declarations."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.example_site import DIRECTIVES, fill, framed, identity

from portico import catalogue, reference
from portico.config.absent import advice
from portico.config.directive import CONTEXT_NAMES, HTTP, IF_LOCATION, Directive
from portico.program import Source, load_program
from portico.supervisor.plan import LoadFailed

DOCS = Path(__file__).parents[2] / "docs" / "directives"

@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with the files that examples name."""
    return fill(tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("directive", DIRECTIVES, ids=identity)
def test_is_documented(directive: Directive[object]) -> None:
    assert len(directive.doc.strip()) > 10
    assert directive.doc.strip().endswith((".", "`", ")"))
    assert directive.name in directive.example
    assert directive.contexts
    for line in reference.syntax(directive):
        assert line.split(" ")[0].rstrip(";") == directive.name
        assert "VALUE" not in line or directive.syntax, f"the declaration of {directive.name} lacks `syntax`"
        assert line.endswith("}") == directive.has_block()
    assert len(reference.summary(directive)) > 10


@pytest.mark.parametrize("directive", DIRECTIVES, ids=identity)
def test_example_loads(directive: Directive[object], site: Path) -> None:
    conf = site / "nginx.conf"
    conf.write_text(framed(directive, site))
    try:
        program = load_program(Source(f"{site}/", "nginx.conf", "", ""), None)
    except LoadFailed as failed:
        pytest.fail(f"{conf.read_text()}\n{failed.diagnostics.render()}")
    program.close()


def test_pages_are_up_to_date() -> None:
    """`make docs` was run since a declaration changed."""
    on_disk = {path.name: path.read_text() for path in DOCS.glob("*.md")}
    assert on_disk == reference.pages(), "run `make docs`"


def test_writing_removes_pages_of_features_that_are_no_more(tmp_path: Path) -> None:
    (tmp_path / "http_gone.md").write_text("")
    (tmp_path / "picture.png").write_text("")
    reference.write_reference(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"picture.png", *reference.pages()}


def test_links_in_the_index_lead_somewhere() -> None:
    pages = reference.pages()
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", pages["README.md"])
    assert len(links) > len(DIRECTIVES)
    for page, anchor in links:
        assert not anchor or f"## {anchor}\n" in pages[page]


def test_guide_names_directives_that_exist() -> None:
    """The guide links to the reference; those links must not rot."""
    pages = reference.pages()
    guide = DOCS.parent / "guide"
    for path in guide.glob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
            page, _, anchor = target.partition("#")
            if page.startswith("http"):
                continue
            if page.startswith("../directives/"):
                name = page.removeprefix("../directives/")
                assert name in pages, f"{path.name}: {target}"
                assert not anchor or f"## {anchor}\n" in pages[name], f"{path.name}: {target}"
            else:
                assert (guide / page).exists(), f"{path.name}: {target}"


def test_what_the_guide_says_is_missing_is_missing() -> None:
    """When a feature comes, its line in the table of moving-from-nginx.md goes."""
    text = (DOCS.parent / "guide" / "moving-from-nginx.md").read_text()
    table = text.partition("## What is not there yet")[2].partition("## What to write")[0]
    rows = [line.split("|")[1] for line in table.split("\n") if line.startswith("| `")]
    missing = {name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row)}
    assert len(missing) > 10
    refused = {"load_module"}  # an error of its own
    names = [directive.name for directive in DIRECTIVES]
    assert missing & set(names) == refused
    for name in missing - refused:
        assert advice(name, names), f"who writes {name} is not told what to do"


def test_every_configuration_in_the_guide_loads(site: Path) -> None:
    """Blocks marked `nginx` are whole configurations, or stand in `http`, `server` or `location`."""
    count = 0
    for path in sorted((DOCS.parent / "guide").glob("*.md")):
        for text in re.findall(r"```nginx\n(.*?)```", path.read_text(), re.DOTALL):
            text = re.sub(r"/etc/(ssl|ssl/certs|letsencrypt/live/[a-z.]+)/[a-z-]+\.(pem|crt)", f"{site}/site.pem", text)
            text = text.replace(f"key {site}/site.pem", f"key {site}/site.key").replace("/var/log/", f"{site}/logs/")
            text = text.replace("/etc/portico/users", f"{site}/users")
            directive = Directive[None]("", 0, lambda _: None, args="0", default=None, doc="", example=text)
            conf = site / "nginx.conf"
            conf.write_text(framed(directive, site))
            try:
                load_program(Source(f"{site}/", "nginx.conf", "", ""), None).close()
            except LoadFailed as failed:
                pytest.fail(f"{path.name}:\n{text}\n{failed.diagnostics.render()}")
            count += 1
    assert count > 5


# -- in the terminal


def test_one_directive(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert reference.print_directives(["client_max_body_size"]) == 0
    shown, complaints = capsys.readouterr()
    assert complaints == ""
    assert shown.startswith("client_max_body_size  (http_core)\n\nSyntax      client_max_body_size SIZE;\n")
    assert "Default     1m\n" in shown and "Context     http, server, location\n" in shown
    assert shown.endswith("Example\n    client_max_body_size 20m;\n")
    assert "\x1b" not in shown and "`" not in shown
    assert max(map(len, shown.split("\n"))) <= 60


def test_all_directives_of_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    reference.print_directives(["server"])
    shown = capsys.readouterr().out
    assert "server  (http_core)\n" in shown and "server  (http_upstream)\n" in shown


def test_portico_s_own_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    own = Directive[None](
        "observe", HTTP, lambda _: None, args="0", default=None, beyond=True, doc="Observes.", example="observe;"
    )
    monkeypatch.setattr(catalogue, "directives", lambda: (own,))
    monkeypatch.setattr(catalogue, "FEATURES", ())
    reference.print_directives(["observe"])
    assert "observe  (core, not in nginx)" in capsys.readouterr().out
    assert "Portico's own" in reference.pages()["core.md"]


def test_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert reference.print_directives([]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "core"
    assert max(map(len, lines)) <= 80
    names = {line.split()[0] for line in lines if line.startswith("  ")}
    assert names == {directive.name for directive in DIRECTIVES}


@pytest.mark.parametrize(
    "name, said",
    [
        ("proxy_pas", 'there is no directive "proxy_pas"; did you mean "proxy_pass"?'),
        ("servername", 'there is no directive "servername"; did you mean "server_name"?'),
        ("open_file", "These have it in their names:\n  open_file_cache, open_file_cache_errors, "),
    ],
)
def test_unknown_name(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.print_directives([name]) == 1
    shown, complaints = capsys.readouterr()
    assert shown == "" and said in complaints


@pytest.mark.parametrize("words", [["a", "b"], ["--bogus"]])
def test_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.print_directives(words) == 1
    assert "Usage: portico directives" in capsys.readouterr().err


@pytest.mark.parametrize(
    "markdown, plain",
    [
        ("one `two`\nthree.\n\nfour", ["one two three.", "", "four", ""]),
        ("- one\n- two\n  three", ["  - one", "  - two three", ""]),
        ("see [here](a.md), **now**", ["see here, now", ""]),
        ("```\na  b\n```", ["    a  b", ""]),
    ],
)
def test_markdown_becomes_plain(markdown: str, plain: list[str]) -> None:
    page = reference.Page(60, colour=False)
    page.prose(markdown)
    assert page.lines == plain


def test_colour_in_a_terminal_only() -> None:
    command = [sys.executable, "-m", "portico", "directives", "etag"]
    assert "\x1b" not in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal, other_end = pty.openpty()
        try:
            inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
            subprocess.run(
                command, stdout=other_end, check=True, env={**inherited, "TERM": "xterm", **environment}
            )
            assert (b"\x1b[1m" in os.read(terminal, 65536)) is coloured
        finally:
            os.close(terminal)
            os.close(other_end)


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m portico directives | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("core\n", "")


def test_if_in_location_is_a_context() -> None:
    """The names of contexts in the pages are those that nginx's documentation uses."""
    assert CONTEXT_NAMES[IF_LOCATION] == "if in location"
