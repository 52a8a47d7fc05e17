"""Reading `*_cache_path`: where a cache is, and how large."""

from __future__ import annotations

from typing import Final

from portico.cache.store import CachePath
from portico.config import values
from portico.config.reader import Argument, Statement

_SMALLEST: Final = 16384  # bytes of keys_zone: 128 entries (nginx: two pages)
_SIZE_HINT: Final = "a size, as in 10g, 512m or 64k"
_TIME_HINT: Final = "a time, as in 10m, 1h30m or 50ms"
_SYNTAX_HINT: Final = "a name and a size for the index, as in keys_zone=pages:10m"


def cache_path(statement: Statement) -> CachePath:
    """Read a `*_cache_path`. Raises ConfigError."""
    settings = CachePath(statement.load.full_path(statement.args[0].text).rstrip("/"))
    for argument in statement.args[1:]:
        name, equals, text = argument.text.partition("=")
        if not equals or not _set_option(settings, statement, argument, name, text):
            known = "levels, keys_zone, inactive, max_size, min_free, use_temp_path, loader_… and manager_…, each with = and a value"
            raise statement.fail(f'invalid parameter "{argument.text}"', argument, known)
    if not settings.name:
        raise statement.fail(f'"{statement.name}" must have "keys_zone" parameter', None, _SYNTAX_HINT)
    return settings


def _set_option(settings: CachePath, statement: Statement, argument: Argument, name: str, text: str) -> bool:
    if name == "levels":
        settings.levels = _levels(statement, argument, text)
    elif name == "use_temp_path":
        if text not in ("on", "off"):
            raise statement.fail(f'invalid use_temp_path value "{argument.text}", it must be "on" or "off"', argument)
        settings.use_temp_path = text == "on"
    elif name == "keys_zone":
        zone, colon, size_text = text.partition(":")
        size = values.size_of(size_text) if colon else None
        if size is None or not zone:
            raise statement.fail(f'invalid keys zone size "{argument.text}"', argument, _SYNTAX_HINT)
        if size < _SMALLEST:
            raise statement.fail(f'keys zone "{argument.text}" is too small', argument, "16k is the least: 128 bytes for each entry")
        settings.name, settings.zone_size = zone, size
    elif name in ("max_size", "min_free"):
        size = values.offset_of(text)
        if size is None:
            raise statement.fail(f'invalid {name} value "{argument.text}"', argument, _SIZE_HINT)
        if name == "max_size":
            settings.max_size = size
        else:
            settings.min_free = size
    elif name == "inactive":
        seconds = values.seconds_of(text)
        if seconds is None:
            raise statement.fail(f'invalid inactive value "{argument.text}"', argument, _TIME_HINT)
        settings.inactive = seconds
    else:
        return _set_pace(settings, statement, argument, name, text)
    return True


def _set_pace(settings: CachePath, statement: Statement, argument: Argument, name: str, text: str) -> bool:
    if name in ("loader_files", "manager_files"):
        number = values.number_of(text)
        if number is None:
            raise statement.fail(f'invalid {name} value "{argument.text}"', argument, "how many files at a time, as in 100")
        if name == "loader_files":
            settings.loader_files = max(1, number)
        else:
            settings.manager_files = max(1, number)
        return True
    if name not in ("loader_sleep", "loader_threshold", "manager_sleep", "manager_threshold"):
        return False
    seconds = values.time_of(text)
    if seconds is None:
        raise statement.fail(f'invalid {name} value "{argument.text}"', argument, _TIME_HINT)
    if name == "loader_sleep":
        settings.loader_sleep = seconds
    elif name == "loader_threshold":
        settings.loader_threshold = seconds
    elif name == "manager_sleep":
        settings.manager_sleep = seconds
    else:
        settings.manager_threshold = seconds
    return True


def _levels(statement: Statement, argument: Argument, text: str) -> list[int]:
    if not text:
        return []
    parts = text.split(":")
    if len(parts) > 3 or any(part not in ("1", "2") for part in parts):
        raise statement.fail(f'invalid "levels" "{argument.text}"', argument, "one to three of 1 and 2, as in levels=1:2")
    return [int(part) for part in parts]
