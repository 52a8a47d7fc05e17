"""The variables that every kind of session has, as one list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.variables.clock import CLOCK_VARIABLES
from portico.variables.connection import CONNECTION_VARIABLES
from portico.variables.process import PROCESS_VARIABLES
from portico.variables.variable import Variable

if TYPE_CHECKING:
    from portico.variables.session import Session

SHARED_VARIABLES: Final[tuple[Variable[Session], ...]] = (*CONNECTION_VARIABLES, *CLOCK_VARIABLES, *PROCESS_VARIABLES)
