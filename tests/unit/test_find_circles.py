"""`tools/find_circles.py`: which imports make a circle, of which kind, and which may."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "find_circles.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("find_circles", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(directory: Path, **files: str) -> Path:
    """A package `portico`: `inner__a` is `portico/inner/a.py`."""
    for name, text in files.items():
        path = directory / "portico" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.relative_to(directory).parents[:-1]:
            (directory / folder / "__init__.py").touch()
        path.write_text(text)
    return directory


TYPES_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from portico.a import A\n"


def test_a_line_is_no_circle(tool: ModuleType, tmp_path: Path) -> None:
    root = package(tmp_path, a="from portico.b import B\nfrom portico import inner", b="import portico.inner.c", inner__c="import os")
    graph = tool.read_graph(root)
    assert graph["portico.a"] == {"portico.b": tool.RUN_TIME, "portico.inner": tool.RUN_TIME}
    assert graph["portico.b"] == {"portico.inner.c": tool.RUN_TIME}
    assert tool.circles(graph) == []


@pytest.mark.parametrize(
    "back",
    [
        "from portico.a import A",
        "from portico import a",
        "import portico.a",
        "try:\n    import portico.a\nexcept ImportError:\n    pass",
        "class B:\n    from portico.a import A",
    ],
)
def test_a_circle_at_run_time(tool: ModuleType, tmp_path: Path, back: str) -> None:
    root = package(tmp_path, a="from portico.b import B", b="import portico.c", c=back)
    (circle,) = tool.circles(tool.read_graph(root))
    assert circle.splitlines() == [
        "    portico.a imports portico.b", "    portico.b imports portico.c", "    portico.c imports portico.a",
    ]  # fmt: skip


def test_an_import_inside_a_function_closes_a_circle(tool: ModuleType, tmp_path: Path) -> None:
    root = package(tmp_path, a="import portico.b", b="def later():\n    if True:\n        import portico.a")
    (circle,) = tool.circles(tool.read_graph(root))
    assert "portico.b imports in a function portico.a" in circle


def test_an_import_for_types_closes_a_circle_that_may_be_allowed(tool: ModuleType, tmp_path: Path) -> None:
    graph = tool.read_graph(package(tmp_path, a="import portico.b", b=TYPES_ONLY))
    assert len(tool.mistakes(graph, {})) == 1
    assert tool.mistakes(graph, {("portico.b", "portico.a"): "why"}) == []


def test_no_circle_at_run_time_may_be_allowed(tool: ModuleType, tmp_path: Path) -> None:
    graph = tool.read_graph(package(tmp_path, a="import portico.b", b=TYPES_ONLY + "from portico.a import A"))
    found = tool.mistakes(graph, {("portico.b", "portico.a"): "why"})
    assert any(text.startswith("a circle") for text in found)


def test_what_is_allowed_and_closes_no_circle_goes(tool: ModuleType, tmp_path: Path) -> None:
    graph = tool.read_graph(package(tmp_path, a="", b=TYPES_ONLY))
    (found,) = tool.mistakes(graph, {("portico.b", "portico.a"): "why"})
    assert "closes no circle any more" in found


def test_two_circles_through_one_file_are_both_told(tool: ModuleType, tmp_path: Path) -> None:
    root = package(tmp_path, a="import portico.b\nimport portico.c", b="import portico.a", c="import portico.a")
    assert len(tool.circles(tool.read_graph(root))) == 2


def test_portico_has_none_but_those_allowed(tool: ModuleType) -> None:
    assert tool.mistakes(tool.read_graph(tool.ROOT), tool.ALLOWED) == []
