"""Whatever a configuration says, `portico -t` ends in bounded time with status 0 or 1, and says what is wrong in nginx's form.

Statements come from the examples of all directives and from `examples/`; words and bytes are damaged, included files are odd.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator

import pytest
from tests.fuzz.config_checker import Checker
from tests.fuzz.config_texts import make_site, make_text, sources
from tests.fuzz.session import MINIMISING, SEED, TIMEOUT, batches, minimised

TOGETHER = 100


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    made = Checker()
    make_site(made.folder)
    made.prepare(sources(made.folder)[1])
    yield made
    made.close()


@pytest.mark.timeout(TIMEOUT)
def test_any_configuration(checker: Checker) -> None:
    whole, single = sources(checker.folder)
    count = 0
    for seeds in batches(TOGETHER):
        texts = [make_text(random.Random(f"config {seed}"), whole, single) for seed in seeds]
        at, fault = checker.check(texts)
        count += len(texts)
        if fault:
            smallest = _smaller(checker, texts[at], fault)
            pytest.fail(f"PORTICO_FUZZ_SEED={seeds[at]}\n{fault[-3000:]}\nminimised: {smallest!r}", pytrace=False)
    print(f"{count} configurations{' replayed' if SEED else ''}")


def _smaller(checker: Checker, text: bytes, fault: str) -> bytes:
    """The fewest words that are still treated badly in the same manner."""
    until = time.monotonic() + MINIMISING
    kind = _kind(fault)

    def fails(words: list[bytes]) -> bool:
        return _kind(checker.check([b"".join(words)])[1]) == kind

    words = re.findall(rb"\s+|[;{}]|[^\s;{}]+", text)
    return b"".join(minimised(words, fails, until)) if fails(words) else text + b" (only after those before it)"


def _kind(fault: str) -> str:
    """The last words of a traceback, or the first of another fault."""
    lines = [line for line in fault.splitlines() if line.strip()] or [""]
    return lines[-1].split(":")[0] if "Traceback" in fault else lines[0].split(":")[0]


