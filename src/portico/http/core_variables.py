"""Every variable of nginx's http core (`$proxy_protocol_…` apart), in four rooms: connection, request, path
and response.

`$proxy_add_x_forwarded_for` is nginx's proxy module's; it needs the request only, so it is here.
"""

from __future__ import annotations

from typing import Final

from portico.http.variables_connection import CONNECTION_VARIABLES
from portico.http.variables_path import PATH_VARIABLES
from portico.http.variables_request import REQUEST_FAMILIES, REQUEST_VARIABLES
from portico.http.variables_response import RESPONSE_FAMILIES, RESPONSE_VARIABLES
from portico.variables.template import Variable, VariableFamily

CORE_VARIABLES: Final[tuple[Variable, ...]] = (
    *CONNECTION_VARIABLES,
    *REQUEST_VARIABLES,
    *PATH_VARIABLES,
    *RESPONSE_VARIABLES,
)
CORE_FAMILIES: Final[tuple[VariableFamily, ...]] = (*REQUEST_FAMILIES, *RESPONSE_FAMILIES)
