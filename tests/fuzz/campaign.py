"""Runs cases in batches against a site until the time is over; a failing one is replayed alone, minimised and told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from tests.fuzz.session import MINIMISING, batches, minimised
from tests.fuzz.site import Site

TOGETHER = 32  # cases at a time: most of them wait for one of Portico's timeouts
LEAKS_EVERY = 8  # batches


class Case(Protocol):
    """What follows from a seed. `parts` are what can be left out to make it smaller."""

    seed: int
    parts: Sequence[object]


C = TypeVar("C", bound=Case)


class Campaign(Generic[C]):
    """A fuzzer: how to make a site, a case, a smaller case; how to run one; what must be true afterwards."""

    def __init__(
        self,
        open_site: Callable[[], Site],
        make: Callable[[int], C],
        smaller: Callable[[C, list[object]], C],
        run: Callable[[Site, C], list[str]],
        check: Callable[[Site, list[C]], list[str]],
    ) -> None:
        self.open_site = open_site
        self.make = make
        self.smaller = smaller
        self.run = run
        self.check = check
        self.count = 0

    def go(self) -> None:
        """Raises AssertionError with the case that failed, if one did."""
        site = self.open_site()
        found: list[str] = []
        cases: list[C] = []
        recent: list[C] = []
        try:
            for number, seeds in enumerate(batches(TOGETHER), 1):
                cases = [self.make(seed) for seed in seeds]
                recent = [*recent[-TOGETHER * LEAKS_EVERY :], *cases]
                found = self.together(site, cases)
                if not found and number % LEAKS_EVERY == 0:
                    found, cases = site.leaks(), recent
                if found:
                    break
            else:
                found, cases = site.leaks(), recent
        finally:
            log = site.log[-3000:]
            found += site.stop()
        print(f"{self.count} cases")
        assert not found, self._told(found, cases) + f"\n-- error log\n{log}"

    def together(self, site: Site, cases: list[C]) -> list[str]:
        """Runs the cases at the same time; what is wrong then."""
        with ThreadPoolExecutor(TOGETHER) as pool, site.stutter():
            results = list(pool.map(lambda case: self.run(site, case), cases))
        self.count += len(cases)
        found = [f"seed {case.seed}: {text}" for case, texts in zip(cases, results, strict=True) for text in texts]
        return found + self.check(site, cases) + site.problems()

    def _told(self, found: list[str], cases: list[C]) -> str:
        """What failed, and the smallest case that shows it."""
        until = time.monotonic() + MINIMISING
        suspects = sorted(cases, key=lambda case: not any(f"seed {case.seed}:" in text for text in found))
        replay = Replay(self, all(text.startswith("descriptors") for text in found))
        lines = ["", *found[:10]]
        try:
            for case in suspects:
                if time.monotonic() > until:
                    break
                if alone := replay.problems(case):
                    smallest = self._minimised(case, replay, until)
                    lines += [f"replay: PORTICO_FUZZ_SEED={case.seed}", f"alone: {alone[:3]}", f"minimised: {smallest}"]
                    return "\n".join(lines)
        finally:
            replay.close()
        return "\n".join([*lines, f"no case fails alone; they ran together, seeds {cases[0].seed} to {cases[-1].seed}"])

    def _minimised(self, case: C, replay: Replay[C], until: float) -> C:
        def fails(parts: list[object]) -> bool:
            return bool(replay.problems(self.smaller(case, parts)))

        return self.smaller(case, minimised(list(case.parts), fails, until))


class Replay(Generic[C]):
    """Runs cases alone, on one site as long as nothing is wrong with it."""

    def __init__(self, campaign: Campaign[C], leaks: bool) -> None:
        self.campaign = campaign
        self.leaks = leaks
        self.site: Site | None = None

    def problems(self, case: C) -> list[str]:
        """What is wrong after this case."""
        site = self.site or self.campaign.open_site()
        self.site = site
        found = self.campaign.together(site, [case])
        if self.leaks and not found:
            found = site.leaks()
        if found:
            self.close()
        return found

    def close(self) -> None:
        """Ends the site."""
        if self.site is not None:
            self.site.stop()
        self.site = None
