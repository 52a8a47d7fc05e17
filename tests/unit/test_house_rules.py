"""What mypyc compiles to something else than CPython runs: found the hard way, kept out by looking at the sources.

ARCHITECTURE.md, "What mypyc taught us", tells the story of each.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "portico"
COMPILED = (
    "config", "codec", "jose", "cache", "net", "http", "variables", "admission", "logs", "balancing", "passing", "features", "worker",
    "zones",
)  # as setup.py
INTERPRETED = ("__init__.py", "certificates.py")  # as setup.py
PURE = frozenset(("len", "min", "max", "int", "find", "rfind", "index", "rindex", "partition", "start", "end"))  # without effects


def _compiled_files() -> list[Path]:
    return sorted(
        path for folder in COMPILED for path in (SOURCE / folder).rglob("*.py") if path.name not in INTERPRETED
    )


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.fixture(scope="module", params=_compiled_files(), ids=lambda path: str(path.relative_to(SOURCE)))
def tree(request: pytest.FixtureRequest) -> ast.Module:
    return ast.parse(request.param.read_text())


def test_one_name_for_each_kind_of_exception(tree: ast.Module) -> None:
    """`except A as error` and `except B as error` in one function: compiled, the second is checked to be an A."""
    for function in _functions(tree):
        kinds: dict[str, set[str]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
                kinds.setdefault(node.name, set()).add(ast.unparse(node.type))
        assert all(len(found) == 1 for found in kinds.values()), f"{function.name}: {kinds}"


def test_no_call_with_effects_inside_a_slice(tree: ast.Module) -> None:
    """`view[os.write(fd, view):]`: compiled, the call runs twice."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Slice):
            continue
        for call in ast.walk(node):
            if isinstance(call, ast.Call):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                assert name in PURE, f"line {call.lineno}: {ast.unparse(node)}"


def test_no_slice_from_a_variable_start_to_an_end_counted_from_behind(tree: ast.Module) -> None:
    """`head[start:-2]` of bytes: compiled, an end before the start is a SystemError instead of b""."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Slice) and isinstance(node.upper, ast.UnaryOp):
            assert node.lower is None or isinstance(node.lower, ast.Constant), f"line {node.lower.lineno}: {ast.unparse(node)}"


def test_no_name_is_imported_both_for_types_and_at_run_time(tree: ast.Module) -> None:
    """`if TYPE_CHECKING: from x import y` and, in a function, `from x import y`: compiled, the first, empty one is used."""
    for_types: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in ast.walk(node):
                if isinstance(statement, ast.ImportFrom | ast.Import):
                    for_types |= {alias.asname or alias.name for alias in statement.names}
    for function in _functions(tree):
        for statement in ast.walk(function):
            if isinstance(statement, ast.ImportFrom | ast.Import):
                local = {alias.asname or alias.name for alias in statement.names}
                assert not local & for_types, f"{function.name}: {local & for_types}"


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest imports them by their name alone, where the folder is no package, and stops at the second."""
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    names = [path.name for path in tests]
    assert not {name for name in names if names.count(name) > 1}
