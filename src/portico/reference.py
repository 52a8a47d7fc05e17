"""The reference of directives: `portico directives` in the terminal, `docs/directives/` as Markdown.

Both are made from the declarations in the catalogue, and hold nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Final, final

from portico import catalogue
from portico.config import values
from portico.config.build import distance, written
from portico.config.directive import Directive, context_names
from portico.http.feature import Feature

USAGE: Final = """\
Usage: portico directives [NAME]

Tells what the directive NAME means; without a name, lists all of them.
"""

PROCESS: Final = "core"  # nginx's name for the group of directives that concern the process
_WIDEST: Final = 100  # columns; longer lines are hard to read

# What a directive takes whose declaration says no more than how its value is read.
_ARGUMENTS: Final[tuple[tuple[object, str], ...]] = (
    (values.flag, "on | off"), (values.size, "SIZE"), (values.offset, "SIZE"), (values.msec, "TIME"),
    (values.seconds, "TIME"), (values.number, "NUMBER"), (values.buffers, "NUMBER SIZE"), (values.text, "TEXT"),
    (values.texts, "TEXT ..."), (values.temp_path, "DIRECTORY [LEVEL1 [LEVEL2 [LEVEL3]]]"),
    (values.path, "PATH"), (values.conf_path, "PATH"),
)  # fmt: skip


@final
class Group:
    """The directives of one feature."""

    def __init__(self, name: str, directives: Iterable[Directive[object]], feature: Feature | None) -> None:
        self.name = name  # nginx's, without `ngx_` and `_module`
        self.directives = sorted(directives, key=_name)
        self.feature = feature


def _name(directive: Directive[object]) -> str:
    return directive.name


def groups() -> list[Group]:
    """Return all directives, by feature, in the order of the catalogue; features without directives are left out."""
    features = [
        Group(feature.name, feature.directives, feature) for feature in catalogue.FEATURES if feature.directives
    ]
    listed = {directive for group in features for directive in group.directives}
    process = [directive for directive in catalogue.directives() if directive not in listed]
    return [Group(PROCESS, process, None), *features]


# -- what a declaration says


def syntax(directive: Directive[object]) -> list[str]:
    """Return one line for each form, as it is written in a configuration: `gzip on | off;`."""
    lines = (directive.syntax or _arguments(directive)).split("\n")
    return [written(directive, line) for line in lines]


def _arguments(directive: Directive[object]) -> str:
    if directive.has_block():
        return "{ ... }"
    for parse, text in _ARGUMENTS:
        if directive.parse is parse:
            return text
    return "" if directive.args == "0" else "VALUE ..." if "+" in directive.args else "VALUE"


def default(directive: Directive[object]) -> str:
    """Return the default as text; "" when there is none."""
    return "" if directive.default_text in ("", "—") else directive.default_text


def summary(directive: Directive[object]) -> str:
    """Return the first sentence."""
    first = " ".join(directive.doc.split("\n\n", 1)[0].split())
    match = re.match(r"(.+?[.;:])(?=\s+(?:[A-Z`0-9@]|$)|$)", first)
    return (match[1] if match else first).rstrip(".;:") + "."


# -- in the terminal


@final
class Page:
    """Lines for a terminal, or for a pipe: then without colour."""

    def __init__(self, width: int, colour: bool) -> None:
        self.width = width
        self.colour = colour
        self.lines: list[str] = []

    def line(self, text: str = "") -> None:
        """Add a line as it is."""
        self.lines.append(text)

    def bold(self, text: str) -> str:
        """Return the text in bold, for names and headings, if there is colour."""
        return f"\x1b[1m{text}\x1b[0m" if self.colour else text

    def prose(self, markdown: str) -> None:
        """Add paragraphs, lists and indented text, wrapped; `code` loses its marks, and gains colour if there is any."""
        for block in re.split(r"\n\s*\n", markdown.strip()):
            if block.startswith(("    ", "```")):
                self.lines += ["    " + line for line in textwrap.dedent(block).strip("`\n").split("\n")]
            elif re.match(r"[-*] ", block):
                for item in re.split(r"\n(?=[-*] )", block):
                    self._wrapped(item[2:], "  - ", "    ")
            else:
                self._wrapped(block, "", "")
            self.line()

    def _wrapped(self, text: str, first: str, rest: str) -> None:
        text = re.sub(r"\[([^\]]+)\]\([^)]*\)|\*\*([^*]+)\*\*", _unmarked, " ".join(text.split()))
        wrapped = textwrap.fill(
            text, self.width, initial_indent=first, subsequent_indent=rest, break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        shown = "\x1b[36m\\1\x1b[0m" if self.colour else r"\1"
        self.lines += re.sub(r"`([^`]+)`", shown, wrapped).split("\n")

    def field(self, name: str, texts: list[str]) -> None:
        """Add a heading at the left, its lines indented beside it; long ones go on below."""
        for index, text in enumerate(texts):
            label = name if index == 0 else ""
            wrapped = textwrap.wrap(
                text, max(20, self.width - 14), break_long_words=False, break_on_hyphens=False
            )
            for number, line in enumerate(wrapped or [""]):
                head = self.bold(f"{label if number == 0 else '':<10}")
                self.line(f"{head}{'  ' if number == 0 else '      '}{line}".rstrip())


def print_directives(words: list[str]) -> int:
    """Run `portico directives [NAME]`; return the exit code."""
    if any(word in ("-h", "--help", "-?") for word in words):
        sys.stdout.write(USAGE)
        return 0
    if len(words) > 1 or (words and words[0].startswith("-")):
        sys.stderr.write(f"portico directives: one name, or none\n{USAGE}")
        return 1
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    page = Page(min(_WIDEST, shutil.get_terminal_size().columns), colour)
    if not words:
        _list(page)
    elif not _describe(page, words[0]):
        sys.stderr.write(unknown(words[0]))
        return 1
    sys.stdout.write("\n".join(page.lines).rstrip("\n") + "\n")
    sys.stdout.flush()
    return 0


def _list(page: Page) -> None:
    for group in groups():
        page.line(page.bold(group.name))
        for directive in group.directives:
            text = re.sub(r"`([^`]+)`", r"\1", summary(directive))
            name = f"  {directive.name:<30}  "
            page.line(name + textwrap.shorten(text, max(20, page.width - len(name)), placeholder=" …"))
        page.line()


def _describe(page: Page, name: str) -> bool:
    """Add all directives of that name; return False when there is none."""
    found = [(group, directive) for group in groups() for directive in group.directives if directive.name == name]
    for group, directive in found:
        page.line(page.bold(directive.name) + f"  ({group.name}{', not in nginx' if directive.beyond else ''})")
        page.line()
        page.field("Syntax", syntax(directive))
        page.field("Default", [default(directive) or "none"])
        page.field("Context", [", ".join(context_names(directive.contexts))])
        if directive.many:
            page.field("", ["may stand several times"])
        page.line()
        page.prose(directive.doc)
        page.field("Example", [""])
        page.lines += ["    " + line for line in directive.example.split("\n")]
        page.line()
    return bool(found)


def _unmarked(match: re.Match[str]) -> str:
    return match[1] or match[2]


def unknown(name: str) -> str:
    """Return what to print for a name that no directive has."""
    names = sorted({directive.name for directive in catalogue.directives()})
    message = f'portico directives: there is no directive "{name}"'
    nearest = min(names, key=lambda known: distance(name, known))
    if distance(name, nearest) <= max(1, min(3, len(name) // 3)):
        message += f'; did you mean "{nearest}"?'
    alike = [known for known in names if name.lower().rstrip("*") in known and known != nearest]
    if alike and len(name) > 2:
        shown = textwrap.fill(", ".join(alike), 78, initial_indent="  ", subsequent_indent="  ")
        message += f"\nThese have it in their names:\n{shown}"
    return message + "\n"


# -- as Markdown

_GENERATED: Final = "<!-- Made by `make docs` from the declarations in src/portico: change those, not this page. -->\n"


def pages() -> dict[str, str]:
    """Return file name → text of everything under `docs/directives/`."""
    made = {f"{group.name}.md": _page(group) for group in groups()}
    made["README.md"] = _index()
    return made


def write_reference(directory: str) -> None:
    """Write `pages()`, and remove pages of features that are no more."""
    os.makedirs(directory, exist_ok=True)
    wanted = pages()
    for name in os.listdir(directory):
        if name.endswith(".md") and name not in wanted:
            os.remove(os.path.join(directory, name))
    for name, text in wanted.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(text)


def _index() -> str:
    lines = [_GENERATED, "# Directives", "", "Also in the terminal: `portico directives`, `portico directives NAME`.", ""]
    for group in groups():
        lines += [f"## [{group.name}]({group.name}.md)", "", "| | |", "|---|---|"]
        for directive in group.directives:
            anchor = f"{group.name}.md#{directive.name}"
            lines.append(f"| [{directive.name}]({anchor}) | {_cell(summary(directive))} |")
        lines.append("")
    return "\n".join(lines)


def _page(group: Group) -> str:
    lines = [_GENERATED, f"# {group.name}", "", "[All directives](README.md)", ""]
    for directive in group.directives:
        lines += [f"## {directive.name}", ""]
        if directive.beyond:
            lines += ["*Portico's own: nginx has no such directive.*", ""]
        several = "; may stand several times" if directive.many else ""
        given = default(directive)
        lines += [
            "| | |", "|---|---|",
            f"| Syntax | {'<br>'.join(_code(line) for line in syntax(directive))} |",
            f"| Default | {_code(given) if given else 'none'} |",
            f"| Context | {', '.join(context_names(directive.contexts))}{several} |",
            "", directive.doc.strip(), "", "```nginx", directive.example.strip("\n"), "```", "",
        ]  # fmt: skip
    return "\n".join(lines + _variables(group.feature))


def _variables(feature: Feature | None) -> list[str]:
    if feature is None or not (feature.variables or feature.families):
        return []
    rows = [(f"${variable.name}", variable.doc) for variable in feature.variables]
    rows += [(f"${family.prefix}NAME", family.doc) for family in feature.families]
    lines = [f"| `{name}` | {_cell(doc)} |" for name, doc in sorted(rows)]
    return ["## Variables", "", "| | |", "|---|---|", *lines, ""]


def _code(text: str) -> str:
    """Return code for a cell of a table; `|` would end it."""
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
