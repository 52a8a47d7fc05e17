"""Find circles among the files of the package: files that import each other, directly or by way of others.

Three kinds of import are told apart, by parsing alone:

- at run time: on the level of the module. A circle of these works or fails with the order in which files are imported.
- later: inside a function. The same circle, put off until somebody calls the function.
- for types: under `if TYPE_CHECKING`. Nothing is imported when the program runs, but a reader cannot understand one file without
  the other.

Every circle is a mistake, but for those of the third kind that an import in ALLOWED closes. The cure is to move a class or a function
to where it belongs.

    tools/find_circles.py     what `make lint` runs: prints what is wrong and ends with 1, or prints nothing
"""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "src"
PACKAGE = "portico"

RUN_TIME, LATER, TYPES = 0, 1, 2
HOW = ("imports", "imports in a function", "imports for types")

Graph = dict[str, dict[str, int]]  # module → imported module → the earliest kind of import

# Imports for types that may close a circle, each with its reason.
ALLOWED: dict[tuple[str, str], str] = {
    ("portico.http.plan", "portico.http.handler"): "a location names its handlers, which are given the request that it is for",
    ("portico.http.body", "portico.http.request"): "a request owns its body, which asks it for the limits of its location",
    ("portico.http.server.stream", "portico.http.response"): "a client's side frames a response, whose body it sends",
    ("portico.http.server.protocol", "portico.http.server.connection"): "a protocol is begun on a connection, which serves it",
    ("portico.http.server.http2.stream", "portico.http.server.http2.streams"): "a connection owns its streams, which send by it",
    ("portico.worker.runtime", "portico.worker.connection"): "a worker lists its connections, which look at it",
}


def read_graph(root: Path) -> Graph:
    """Return who imports whom among the modules of the package below `root`."""
    paths: dict[str, Path] = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: Graph = {}
    for name, path in paths.items():
        graph[name] = {}
        for imported, kind in imports_of(ast.parse(path.read_bytes(), str(path)).body, RUN_TIME):
            parent = imported.rpartition(".")[0]
            target = imported if imported in paths else parent  # a module, or a name out of one
            if target in paths:
                graph[name][target] = min(kind, graph[name].get(target, kind))
    return graph


def imports_of(statements: list[ast.stmt], kind: int) -> Iterator[tuple[str, int]]:
    """Yield the dotted names that statements import, each with the kind of import."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield alias.name, kind
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                yield f"{statement.module}.{alias.name}", kind
        elif isinstance(statement, ast.If):
            is_for_types = ast.unparse(statement.test) == "TYPE_CHECKING"
            yield from imports_of(statement.body, TYPES if is_for_types else kind)
            yield from imports_of(statement.orelse, kind)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports_of(statement.body, max(kind, LATER))
        else:
            for block in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from imports_of(getattr(statement, block, []), kind)


def way(graph: Graph, start: str, end: str, kinds: int) -> list[str]:
    """Return a shortest chain of imports, up to that kind, from one module to another; both at its ends; [] when there is none."""
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        for imported, kind in graph[name].items():
            if kind <= kinds and imported not in came_from:
                came_from[imported] = name
                if imported == end:
                    chain = [end]
                    while chain[-1] != start or len(chain) == 1:
                        chain.append(came_from[chain[-1]])
                    return chain[::-1]
                waiting.append(imported)
    return []


def circles(graph: Graph) -> list[str]:
    """Return every circle as text, a line for each of its imports. What is only a longer form of one found before is left out."""
    rest = {name: dict(imports) for name, imports in graph.items()}
    found: list[str] = []
    for kinds in (RUN_TIME, LATER, TYPES):
        while chains := [chain for name in rest if (chain := way(rest, name, name, kinds))]:
            chain = min(chains, key=len)
            steps = list(pairwise(chain))
            found.append("\n".join(f"    {one} {HOW[rest[one][other]]} {other}" for one, other in steps))
            one, other = max(steps, key=lambda step: rest[step[0]][step[1]])
            del rest[one][other]
    return found


def mistakes(graph: Graph, allowed: dict[tuple[str, str], str]) -> list[str]:
    """Return what is wrong: circles, and imports that are allowed and close none."""
    rest = {name: dict(imports) for name, imports in graph.items()}
    for one, other in allowed:
        if rest.get(one, {}).get(other) == TYPES:
            del rest[one][other]
    found = [f"a circle:\n{circle}" for circle in circles(rest)]
    for one, other in allowed:
        if graph.get(one, {}).get(other) != TYPES or not way(rest, other, one, TYPES):
            found.append(f"take off ALLOWED in tools/find_circles.py: {one} → {other} closes no circle any more")
    return found


if __name__ == "__main__":
    problems = mistakes(read_graph(ROOT), ALLOWED)
    print("\n".join(problems), end="\n" if problems else "")
    sys.exit(1 if problems else 0)
