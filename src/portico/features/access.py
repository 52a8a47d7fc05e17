"""`allow`, `deny`: access control by address (admission/address_rules.py). (nginx: ngx_http_access_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.admission.address_rules import ADMITTED, REFUSED, AddressRules, Source, nearest_rules, parse_source
from portico.config.directive import HTTP, LIMIT_EXCEPT, LOCATION, SERVER, Directive
from portico.errorlog import ERR
from portico.http.access import ALLOWED, BY_RULE, NO_OPINION, AccessStep
from portico.http.errors import HTTPError
from portico.http.feature import Feature, LocationBuild

if TYPE_CHECKING:
    from portico.http.request import Request

_ALL: Final = HTTP | SERVER | LOCATION | LIMIT_EXCEPT

ALLOW: Final = Directive[Source | None](
    "allow", _ALL, parse_source, args="1", many=True, default=None,
    syntax="ADDRESS | NETWORK | unix: | all",
    doc="Lets clients in. `allow` and `deny` are looked at in the order written, and the first that fits decides. A block that has "
    "any of them inherits none.",
    example="location /admin/ { allow 192.0.2.0/24; allow 2001:db8::/32; deny all; }",
)
DENY: Final = Directive[Source | None](
    "deny", _ALL, parse_source, args="1", many=True, default=None,
    syntax="ADDRESS | NETWORK | unix: | all",
    doc="Answers these clients 403. See `allow`.",
    example="location / { deny 192.0.2.1; }",
)


@final
class AddressCheck(AccessStep):
    """The rules of one location."""

    def __init__(self, rules: AddressRules) -> None:
        self.rules = rules

    def check(self, request: Request) -> int:
        verdict = self.rules.verdict(request)
        if verdict == REFUSED:
            raise HTTPError(403, BY_RULE, ERR)
        return ALLOWED if verdict == ADMITTED else NO_OPINION

    def describe(self) -> str:
        return self.rules.describe()


class AccessFeature(Feature):
    """Adds the nearest rules."""

    def location(self, build: LocationBuild) -> None:
        rules = nearest_rules(build.scope, ALLOW, DENY)
        if rules is not None:
            build.add_access(AddressCheck(rules))


FEATURE: Final = AccessFeature("http_access", (ALLOW, DENY))
