"""`make docs`: write docs/directives/ from the declarations."""

from __future__ import annotations

from pathlib import Path

from portico.reference import write_reference

if __name__ == "__main__":
    write_reference(str(Path(__file__).parent.parent / "docs" / "directives"))
