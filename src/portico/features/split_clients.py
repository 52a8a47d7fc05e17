"""`split_clients`: shares of the clients (variables/split_clients.py). (nginx: ngx_http_split_clients_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.config.directive import HTTP, Directive, Scope
from portico.http.feature import Feature
from portico.variables.split_clients import Split, declare_splits, parse_split
from portico.variables.variable import Variables

if TYPE_CHECKING:
    from portico.http.request import Request

SPLIT_CLIENTS: Final = Directive[Split | None](
    "split_clients", HTTP, parse_split, args="2", many=True, default=None, raw_block=True,
    syntax="TEXT $VARIABLE { PERCENT% VALUE; ... * VALUE; }",
    doc="Defines a variable that divides clients into shares, by a hash of TEXT (MurmurHash2, as nginx: the same client lands in "
    "the same share). `*` is the rest.",
    example='split_clients "$remote_addr" $variant { 0.5% .one; 2.0% .two; * ""; }',
)


class SplitClientsFeature(Feature):
    """Makes the variables known."""

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        declare_splits(scope.own_all(SPLIT_CLIENTS), variables, scope.load)


FEATURE: Final = SplitClientsFeature("http_split_clients", (SPLIT_CLIENTS,))
