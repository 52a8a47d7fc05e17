"""Slots: what a feature keeps while a configuration is built, and what it leaves with a location."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

from portico.config.diagnostics import ConfigError
from portico.http.feature import BuildSlot, HttpBuild
from portico.http.plan import LocationSlot


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site("location /a { return 204; }", tmp_path)


def test_a_slot_is_filled_when_it_is_first_asked_for_and_once_for_each_build(site: Site, tmp_path: Path) -> None:
    made: list[HttpBuild] = []

    def make(build: HttpBuild) -> list[str]:
        made.append(build)
        return []

    slot = BuildSlot[list[str]](make)
    other = Site("", tmp_path)
    assert not made
    slot.of(site.plan.build).append("kept")
    assert slot.of(site.plan.build) == ["kept"] and slot.of(other.plan.build) == []
    assert made == [site.plan.build, other.plan.build]


def test_none_is_a_value_like_any_other(site: Site) -> None:
    asked: list[HttpBuild] = []

    def make(build: HttpBuild) -> str | None:
        asked.append(build)
        return None

    slot = BuildSlot[str | None](make)
    assert slot.of(site.plan.build) is None and slot.of(site.plan.build) is None
    assert len(asked) == 1


def test_a_mistake_while_it_is_filled_leaves_it_empty(site: Site) -> None:
    found: list[str] = []

    def make(build: HttpBuild) -> str:
        found.append("asked")
        if len(found) == 1:
            raise ConfigError("no", None)
        return "made"

    slot = BuildSlot[str](make)
    with pytest.raises(ConfigError):
        slot.of(site.plan.build)
    assert slot.of(site.plan.build) == "made"


def test_two_slots_of_one_shape_are_two_places(site: Site) -> None:
    one, two = BuildSlot[list[int]](lambda build: [1]), BuildSlot[list[int]](lambda build: [2])
    assert one.of(site.plan.build) == [1] and two.of(site.plan.build) == [2]


def test_a_location_holds_what_was_put_there_and_no_other_does(site: Site) -> None:
    server = site.plan.servers[0]
    location = server.locations.find(b"/a").value
    slot, other = LocationSlot[str](), LocationSlot[str]()
    assert slot.of(location) is None
    slot.put(location, "here")
    assert slot.of(location) == "here" and slot.of(server.fallback) is None and other.of(location) is None
