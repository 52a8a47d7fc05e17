"""README.md and ARCHITECTURE.md are true: commands run, configurations load, names exist, the worked example works."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.processes import PORTICO

from portico import catalogue
from portico.cli import parse_options
from portico.program import Source, load_program

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "portico"
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

DOCUMENTS = pytest.mark.parametrize("text", [README, ARCHITECTURE], ids=["README", "ARCHITECTURE"])


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands(text: str) -> list[str]:
    """The indented lines that a reader may copy."""
    return re.findall(r"^    ((?:portico|make|pip|mkdir) .*)$", text, re.M)


def section(text: str, title: str) -> str:
    """What stands under a heading."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_readme_configuration_loads(tmp_path: Path) -> None:
    (conf,) = blocks(README, "nginx")
    (tmp_path / "nginx.conf").write_text(conf)
    program = load_program(Source(f"{tmp_path}/", "nginx.conf", "", ""), None)
    assert not program.diagnostics.errors and not program.diagnostics.warnings
    assert [str(listen) for listen in program.listens] == ["127.0.0.1:8080"]


def test_readme_steps(tmp_path: Path) -> None:
    """As README says: in an empty directory, `mkdir logs`, then `-t`."""
    (tmp_path / "nginx.conf").write_text(blocks(README, "nginx")[0])
    assert "mkdir logs" in commands(README)
    (tmp_path / "logs").mkdir()
    words = "-p . -c nginx.conf -t"
    assert f"portico {words}" in commands(README)
    done = subprocess.run([*PORTICO, *words.split()], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    # the port of the example may be taken on the machine that runs this: then that is all that is wrong
    assert done.returncode == 0 or "Address already in use" in done.stderr, done.stderr


def test_readme_commands() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"`make (\w+)`", README + ARCHITECTURE)
    for command in commands(README):
        name, *words = command.split()
        if name == "make":
            targets += words
        elif name == "portico" and words[0] not in ("to", "directives"):
            parse_options(words)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_one_liner_prints() -> None:
    words = next(command for command in commands(README) if command.startswith("portico to")).split()[1:]
    done = subprocess.run([*PORTICO, *words, "--print"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and "server localhost:3000" in done.stdout


def test_what_is_missing_is_missing() -> None:
    """A feature that arrives takes its line off README's list."""
    known = {directive.name for directive in catalogue.directives()}
    said = set(re.findall(r"`(\w+)`", section(README, "What is not there yet")))
    assert len(said) > 8 and not said & known
    works = set(re.findall(r"`(\w+)`", section(README, "What works")))
    assert len(works) > 8 and works <= known


def prose(text: str) -> str:
    """All but the worked example."""
    return re.sub(r"^```python\n.*?^```$", "", text, flags=re.M | re.S)


def exists(name: str) -> bool:
    return any((folder / name).exists() for folder in (ROOT, SOURCE))


@DOCUMENTS
def test_links_lead_somewhere(text: str) -> None:
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}
    for link in re.findall(r"\]\(([^)]+)\)", prose(text)):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            assert (ROOT / path).exists() if path else anchor in anchors, link


@DOCUMENTS
def test_files_exist(text: str) -> None:
    text = prose(text)
    names = set(re.findall(r"(?<![\w./-])((?:[\w.-]+/)*[\w-]+\.(?:py|md|toml|sh))\b", text))
    assert names
    assert not [name for name in names if not exists(name)]
    folders = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*)`", text)) - {"logs/"}
    assert not [name for name in folders if not exists(name)]


def test_every_folder_and_module_has_its_place() -> None:
    """The layout names everything directly below src/portico."""
    layout = section(ARCHITECTURE, "Layout, and who may import whom")
    for path in SOURCE.iterdir():
        if path.name.startswith("__") or path.name == "py.typed":
            continue
        assert (f"{path.name}/" if path.is_dir() else path.name) in layout, path.name


def defined(path: Path) -> set[str]:
    """`function`, `Class` and `Class.method` of a module."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
    return found


def test_functions_named_beside_their_file_exist() -> None:
    rows = re.findall(r"^    .*?([a-z_/0-9]+\.py) +([A-Z]\w*(?:\.\w+)?|[a-z]\w*)  +\S", ARCHITECTURE, re.M)
    rows = [(file, name) for file, name in rows if "/" in file or file == "program.py"]
    assert len(rows) > 20
    assert not [row for row in rows if row[1] not in defined(SOURCE / row[0])]


def test_every_dependency_has_its_reason() -> None:
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *PYPROJECT["build-system"]["requires"]]
    for group in project["optional-dependencies"].values():
        wanted += group
    said = section(ARCHITECTURE, "Dependencies")
    for requirement in wanted:
        name = re.split(r"[^\w.-]", requirement)[0]
        assert f"`{name}`" in said, name


ASK = """
import sys
from pathlib import Path
import worked_example
from tests.unit.features.local_site import FEATURES, Site

make_site = lambda text: Site(text, Path(sys.argv[1]), (worked_example.FEATURE, *FEATURES))
"""


def test_worked_example(tmp_path: Path) -> None:
    """The feature that ARCHITECTURE.md writes, with the test that it writes; from the sources, for what is compiled takes no
    interpreted subclass.
    """
    (example,) = blocks(ARCHITECTURE, "python")
    lines = re.findall(r"^    ((?:answer = make_site|assert answer).*)$", ARCHITECTURE, re.M)
    assert len(lines) == 2
    (name,) = re.findall(r'^    "(\w+)", HTTP', example, re.M)
    assert name not in {directive.name for directive in catalogue.directives()}, "the example is to be one that is not there"
    (tmp_path / "worked_example.py").write_text(example)
    off = 'assert make_site("location /down { return 503; }").ask("/down").get("retry-after") is None'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT), str(tmp_path)))}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join((ASK, *lines, off)), str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
