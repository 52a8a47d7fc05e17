"""When the collector runs: not during a load, and then it frees the plan that another one has replaced."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from tests.processes import exempt_from_collections

from portico.supervisor import garbage


class Circle:
    """Refers to itself, as a plan does."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    exempt_from_collections()
    gc.enable()


def test_no_collection_begins_by_itself_during_a_load() -> None:
    with garbage.held_back():
        assert not gc.isenabled()
        lost = weakref.ref(Circle())
        kept = [[] for _ in range(gc.get_threshold()[0] + 1000)]  # what would start one
        assert lost() is not None
    assert gc.isenabled() and kept


def test_it_may_run_again_after_a_load_that_raised() -> None:
    with pytest.raises(ValueError), garbage.held_back():
        raise ValueError
    assert gc.isenabled()


def test_a_plan_that_was_replaced_is_freed_although_it_is_old() -> None:
    plan = Circle()
    lost = weakref.ref(plan)
    gc.collect()  # it is in the oldest generation now
    del plan
    garbage.free_failed()
    assert lost() is not None
    garbage.free_replaced()
    assert lost() is None


def test_what_a_load_has_left_that_failed_is_freed_at_once() -> None:
    gc.collect()
    with garbage.held_back():
        lost = weakref.ref(Circle())
        garbage.free_failed()
        assert lost() is None


def test_what_is_frozen_is_not_looked_at_until_it_is_unfrozen() -> None:
    plan = Circle()
    lost = weakref.ref(plan)
    garbage.freeze()
    del plan
    garbage.free_replaced()
    assert lost() is not None
    garbage.unfreeze()
    garbage.free_replaced()
    assert lost() is None
