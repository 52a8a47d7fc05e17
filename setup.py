"""Builds the data plane with mypyc when a C compiler is there; without one the same sources are installed and run interpreted.

`PORTICO_INTERPRETED=1` asks for the second form on purpose.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

SOURCE = Path("src/portico")

# What stays interpreted: what users subclass or run once (ARCHITECTURE.md, "Compiled and interpreted").
INTERPRETED = ("__init__.py", "certificates.py")
COMPILED = (
    "config", "codec", "jose", "cache", "net", "http", "variables", "admission", "logs", "balancing", "passing", "features", "worker",
    "zones",
)  # fmt: skip
ALSO_COMPILED = ("errorlog.py", "syslog.py")


def compiled_modules() -> list[str]:
    """The files that mypyc gets, in a stable order."""
    paths = [path for folder in COMPILED for path in (SOURCE / folder).rglob("*.py")]
    paths += [SOURCE / name for name in ALSO_COMPILED]
    return sorted(str(path) for path in paths if path.name not in INTERPRETED)


def has_compiler() -> bool:
    """Whether there is a C compiler and Python's headers for it."""
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return shutil.which(command) is not None and headers.exists()


class ParallelBuild(build_ext):
    """mypyc writes one extension of many C files, and a small one for each module: compile them on all processors."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = os.cpu_count() or 1

    def build_extensions(self) -> None:
        one_at_a_time = self.compiler.compile

        def compile_all(sources, **options):  # type: ignore[no-untyped-def]
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                objects = pool.map(lambda source: one_at_a_time([source], **options), sources)
            return [path for batch in objects for path in batch]

        self.compiler.compile = compile_all  # type: ignore[method-assign]
        super().build_extensions()


def extensions() -> list[object]:
    """The extension modules; none where Portico is to run interpreted, and where only metadata is asked for (pip does twice)."""
    if {"egg_info", "dist_info", "sdist"} & set(sys.argv):
        return []
    if os.environ.get("PORTICO_INTERPRETED") or not has_compiler():
        print("portico: installing interpreted (no C compiler, or PORTICO_INTERPRETED is set)")
        return []
    from mypyc.build import mypycify

    return list(mypycify(compiled_modules(), opt_level=os.environ.get("PORTICO_OPT", "2"), multi_file=True, debug_level="0"))


setup(ext_modules=extensions(), cmdclass={"build_ext": ParallelBuild})
