"""Every variable of nginx's http core (`$proxy_protocol_…` apart): those that all sessions have, and four rooms of those that only
HTTP has: connection, request, path and response.

`$proxy_add_x_forwarded_for` is nginx's proxy module's; it needs the request only, so it is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.http.variables.connection import HTTP_CONNECTION_VARIABLES
from portico.http.variables.path import PATH_VARIABLES
from portico.http.variables.request import REQUEST_FAMILIES, REQUEST_VARIABLES
from portico.http.variables.response import RESPONSE_FAMILIES, RESPONSE_VARIABLES
from portico.variables.shared import SHARED_VARIABLES
from portico.variables.variable import Variable, VariableFamily

if TYPE_CHECKING:
    from portico.http.request import Request

CORE_VARIABLES: Final[tuple[Variable[Request], ...]] = (
    *SHARED_VARIABLES,
    *HTTP_CONNECTION_VARIABLES,
    *REQUEST_VARIABLES,
    *PATH_VARIABLES,
    *RESPONSE_VARIABLES,
)
CORE_FAMILIES: Final[tuple[VariableFamily[Request], ...]] = (*REQUEST_FAMILIES, *RESPONSE_FAMILIES)
