"""One configuration after the other, as a supervisor loads them."""

from __future__ import annotations

from pathlib import Path

from portico.program import Program, Source, load_program


def test_reloads_do_not_add_up(tmp_path: Path) -> None:
    """A load takes over zones of the one before, and keeps nothing else of it: the memory of `z` goes with its program."""
    conf = tmp_path / "nginx.conf"
    programs: list[Program] = []
    for size in ("64k", "128k", "64k"):
        conf.write_text(f"events {{}} http {{ limit_req_zone $binary_remote_addr zone=z:{size} rate=1r/s; }}")
        programs.append(load_program(Source(f"{tmp_path}/", str(conf), "", ""), programs[-1] if programs else None))
    zones = [program.zones for program in programs]
    assert [(each.before(), each.get("z").previous) for each in zones] == [([], None)] * 3  # type: ignore[union-attr]
