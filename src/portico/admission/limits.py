"""What the limits (`limit_req`, `limit_conn`) have in common: how zones and levels are written and distinguished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.errorlog import ERR, INFO, NOTICE, WARN
from portico.zones.zone import Zone, ZoneConflict

if TYPE_CHECKING:
    from portico.config.reader import Argument, Statement, Where
    from portico.variables.template import Template
    from portico.zones.zone import Zones

LEVELS: Final[dict[str, int]] = {"info": INFO, "notice": NOTICE, "warn": WARN, "error": ERR}
SMALLEST: Final = 32768  # bytes: nginx's eight pages


class LimitZone:
    """What every `limit_…_zone` declares: name, bytes, and the text by which sessions are distinguished."""

    def __init__(self, name: str, size: int, key: Template) -> None:
        self.name = name
        self.size = size
        self.key = key


def zone_and_size(statement: Statement, argument: Argument) -> tuple[str, int]:
    """Return name and bytes of `zone=NAME:SIZE`. Raises ConfigError."""
    name, colon, text = argument.text[5:].partition(":")
    size = values.size_of(text) if colon else None
    if size is None:
        raise statement.fail(f'invalid zone size "{argument.text}"', argument)
    if size < SMALLEST:
        raise statement.fail(f'zone "{argument.text}" is too small', argument, "32k is the least")
    return name, size


def declare_zone(zones: Zones, block: str, limit: str, declared: LimitZone, where: Where) -> Zone:
    """Return the zone of a `limit_…_zone` in `block` ("http").

    Raises ConfigError for one that is declared otherwise too, now or in the plan that runs.
    """
    name = declared.name
    key = declared.key.text
    known = zones.get(name)
    try:
        zone = zones.add(name, declared.size, f"{block}_{limit}")
    except ZoneConflict as error:
        raise ConfigError(str(error), where) from None
    if known is not None:
        raise ConfigError(f'{limit}_zone "{name}" is already bound to key "{zone.subject}"', where)
    zone.subject = key
    before = zone.previous
    if before is not None and zone.matches(before) and before.subject != key:
        message = f'{limit}_zone "{name}" uses the "{key}" key while previously it used the "{before.subject}" key'
        raise ConfigError(message, where, "give the zone another name: what it remembers is about other keys")
    return zone


def unknown_zone(zones: Zones, name: str, limit: str, where: Where) -> ConfigError:
    """Return the error for a `limit_…` whose zone no `limit_…_zone` declares."""
    if zones.get(name) is not None:
        return ConfigError(f'the shared memory zone "{name}" is already declared for a different use', where)
    return ConfigError(f'zero size shared memory zone "{name}"', where, f"no {limit}_zone declares it")
