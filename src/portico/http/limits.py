"""What the limits (`limit_req`, `limit_conn`) of HTTP have in common: their zones, how they refuse, and what they note."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from portico.admission.limits import LimitZone, declare_zone
from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.zones.opening import open_zone

if TYPE_CHECKING:
    from portico.config.directive import Directive
    from portico.config.reader import Statement
    from portico.http.feature import HttpBuild
    from portico.variables.session import Session
    from portico.variables.variable import Getter
    from portico.zones.table import SharedTable

Z = TypeVar("Z", bound=LimitZone)


def opened_zones(build: HttpBuild, directive: Directive[Z | None], limit: str, columns: int) -> list[tuple[Z, SharedTable]]:
    """Return what each `limit_…_zone` declares, with its memory. One that cannot be had is among the configuration's mistakes."""
    opened: list[tuple[Z, SharedTable]] = []
    for setting in build.scope.own_settings(directive):
        declared = setting.value
        assert declared is not None
        try:
            zone = declare_zone(build.zones, "http", limit, declared, setting.where)
            opened.append((declared, open_zone(zone, columns, setting.where)))
        except ConfigError as error:
            build.scope.load.diagnostics.error(error)
    return opened


def noted_value(name: str) -> Getter[Session]:
    """Return the getter of a variable whose value a limit notes among those of the session."""

    def get(session: Session) -> bytes | None:
        noted = session.values
        return None if noted is None else noted.get(name)

    return get


def refusal_status(statement: Statement) -> int:
    """Return the status of what is refused, 400 to 599 (ngx_conf_check_num_bounds). A directive's parser; raises ConfigError."""
    number = values.number(statement)
    if not 400 <= number <= 599:
        reason = "must be equal to or greater than 400" if number < 400 else "must be equal to or less than 599"
        raise statement.fail(f'"{statement.name}" directive value {reason}', statement.args[0])
    return number
