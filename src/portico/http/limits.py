"""How the limits (`limit_req`, `limit_conn`) answer requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.config import values

if TYPE_CHECKING:
    from portico.config.reader import Statement


def refusal_status(statement: Statement) -> int:
    """Return the status of what is refused, 400 to 599 (ngx_conf_check_num_bounds). A directive's parser; raises ConfigError."""
    number = values.number(statement)
    if not 400 <= number <= 599:
        reason = "must be equal to or greater than 400" if number < 400 else "must be equal to or less than 599"
        raise statement.fail(f'"{statement.name}" directive value {reason}', statement.args[0])
    return number
