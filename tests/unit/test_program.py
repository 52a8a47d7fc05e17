"""One configuration after the other, as a supervisor loads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.program import LoadFailed, Program, Source, load_program


def test_reloads_do_not_add_up(tmp_path: Path) -> None:
    """A load takes over zones of the one before, and keeps nothing else of it: the memory of `z` goes with its program."""
    conf = tmp_path / "nginx.conf"
    programs: list[Program] = []
    for size in ("64k", "128k", "64k"):
        conf.write_text(f"events {{}} http {{ limit_req_zone $binary_remote_addr zone=z:{size} rate=1r/s; }}")
        programs.append(load_program(Source(f"{tmp_path}/", str(conf), "", ""), programs[-1] if programs else None))
    zones = [program.zones for program in programs]
    assert [(each.before(), each.get("z").previous) for each in zones] == [([], None)] * 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "limit_req_zone $host zone=a:%s rate=1r/s;", "limit_conn_zone $host zone=a:%s;", "proxy_cache_path cache keys_zone=a:%s;",
        "upstream u { zone a %s; server 127.0.0.1:1; }",
    ],
)
@pytest.mark.parametrize("size", [1 << 50, (1 << 63) - 1])
def test_zone_larger_than_memory(tmp_path: Path, text: str, size: int) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"events {{}} http {{ {text % size} }}")
    with pytest.raises(LoadFailed) as failed:
        load_program(Source(f"{tmp_path}/", str(conf), "", ""), None)
    told = f"[alert] mmap(MAP_ANON|MAP_SHARED, {size}) failed (12: Cannot allocate memory) in {conf}:1"
    assert told in failed.value.diagnostics.render()
