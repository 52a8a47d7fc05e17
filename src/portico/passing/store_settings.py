"""The family of directives about storing responses as files, and the settings that one location makes of it."""

from __future__ import annotations

from typing import Final, final

from portico.config.diagnostics import ConfigError
from portico.config.directive import Directive, Scope
from portico.config.reader import Statement, Where
from portico.passing.families import ANYWHERE, Family, Prefix
from portico.variables.template import Template, template

_WHO: Final = {"user": 6, "group": 3, "all": 0}
_RIGHTS: Final = {"rw": 6, "r": 4}


@final
class StoreSetting:
    """One `*_store`; `path` None: where `root` or `alias` point."""

    def __init__(self, wanted: bool, path: Template | None) -> None:
        self.wanted = wanted
        self.path = path


def _store(statement: Statement) -> StoreSetting:
    text = statement.args[0].text
    if text in ("on", "off"):
        return StoreSetting(text == "on", None)
    if not text:
        raise statement.fail("an empty path", statement.args[0], "on, off, or a path such as /data/www$uri")
    return StoreSetting(True, template(statement))


def access_rights(statement: Statement) -> int:
    """Return the rights that `user:rw group:r` and so on stand for; a directive's parser. The owner has rw unless told."""
    mode = 0
    for argument in statement.args:
        who, _, rights = argument.text.partition(":")
        if who not in _WHO or rights not in _RIGHTS:
            raise statement.fail(f'invalid value "{argument.text}"', argument, "user:, group: or all: with rw or r, as in group:r")
        mode |= _RIGHTS[rights] << _WHO[who]
    return mode if mode & 0o700 else mode | 0o600


@final
class StoreDirectives(Family):
    """The family under one prefix."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__(prefix)
        p = prefix.name
        self.store = self.declare(Directive[StoreSetting](
            f"{p}_store", ANYWHERE, _store, args="1", default=StoreSetting(False, None), default_text="off",
            syntax="on | off | PATH",
            doc="Stores responses as files: `on` where `root` or `alias` point, else in PATH, a text with variables. Nothing "
            "removes them. A file's time is that of `Last-Modified`.",
            example=f"root /tmp/portico_store; {p}_store on;",
        ))
        self.access = self.declare(Directive[int](
            f"{p}_store_access", ANYWHERE, access_rights, args="1-3", default=0o600, default_text="user:rw", syntax="WHO:RIGHTS ...",
            doc=f"The rights of files that `{p}_store` makes, and of their directories: `user:`, `group:`, `all:` with `rw` or `r`.",
            example=f"{p}_store_access group:rw all:r;",
        ))


@final
class StoreSettings:
    """The settings as they hold in one location."""

    def __init__(self, d: StoreDirectives, scope: Scope) -> None:
        self.directive = d.store.name  # for messages
        self.path = scope.get(d.store).path
        self.access: int = scope.get(d.access)


def store_or_cache(scope: Scope, store: Directive[StoreSetting], zone: Directive[Template | None]) -> bool:
    """Return whether `*_store` is in force, not `*_cache` (`zone`): the nearer one. Raises ConfigError for both in one block."""
    block: Scope | None = scope
    looks_for_store = looks_for_cache = True
    while block is not None:
        stores = block.own_settings(store) if looks_for_store else []
        zones = block.own_settings(zone) if looks_for_cache else []
        cached = bool(zones) and zones[-1].value is not None
        if stores and stores[-1].value.wanted:
            if cached:
                hint = "a response is cached for a time by the one and stored for good by the other: remove one of them"
                text = f'"{zone.name}" directive is incompatible with "{store.name}"'
                raise ConfigError(text, max(stores[-1].where, zones[-1].where, key=_line), hint)
            return True
        if cached:
            return False
        looks_for_store = looks_for_store and not stores
        looks_for_cache = looks_for_cache and not zones
        block = block.parent
    return False


def _line(where: Where) -> int:
    return where.line
