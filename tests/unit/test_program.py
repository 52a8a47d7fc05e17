"""One configuration after the other, as a supervisor loads them."""

from __future__ import annotations

from pathlib import Path

from portico.program import Program, Source, load_program


def test_reloads_do_not_add_up(tmp_path: Path) -> None:
    """A load knows the zones of the one before, and that one then lets go of those before it."""
    conf = tmp_path / "nginx.conf"
    programs: list[Program] = []
    for size in ("64k", "128k", "64k"):
        conf.write_text(f"events {{}} http {{ limit_req_zone $binary_remote_addr zone=z:{size} rate=1r/s; }}")
        programs.append(load_program(Source(f"{tmp_path}/", str(conf), "", ""), programs[-1] if programs else None))
    assert [len(program.zones.before()) for program in programs] == [0, 0, 1]
    assert programs[2].zones.before()[0] is programs[1].zones.get("z")
