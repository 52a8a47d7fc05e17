"""`$proxy_protocol_…` for requests (variables/proxy_protocol.py)."""

from __future__ import annotations

from typing import Final

from portico.http.feature import Feature
from portico.variables.proxy_protocol import PROXY_PROTOCOL_FAMILIES, PROXY_PROTOCOL_VARIABLES


class ProxyProtocolFeature(Feature):
    """Variables only: the header is read where the connection begins (http/server/connection.py)."""


FEATURE: Final = ProxyProtocolFeature("proxy_protocol", (), PROXY_PROTOCOL_VARIABLES, PROXY_PROTOCOL_FAMILIES)
