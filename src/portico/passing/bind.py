"""`*_bind`: the address of ours that a location's connections to upstreams come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.balancing.local import LocalAddress, local_address
from portico.codec.errors import shown
from portico.config.reader import Statement
from portico.errorlog import ERR
from portico.variables.template import Template, template

if TYPE_CHECKING:
    from portico.http.request import Request


@final
class Binding:
    """One `*_bind` that is not `off`. `address`: where it holds no variables."""

    def __init__(self, text: Template, address: LocalAddress | None, transparent: bool) -> None:
        self.text = text
        self.address = address
        self.transparent = transparent

    def of(self, request: Request) -> LocalAddress | None:
        """Return the address for a request; None: the kernel chooses, as variables came to nothing, or to no address."""
        if self.address is not None:
            return self.address
        value = self.text.render(request)
        if not value:
            return None
        address = local_address(value.decode("latin-1"), self.transparent)
        if address is None:
            request.log_error(ERR, f'invalid local address "{shown(value)}"')
        return address


def binding(statement: Statement) -> Binding | None:
    """Return what a `*_bind` says; a directive's parser. Raises ConfigError for what is no address."""
    text = statement.args[0].text
    if len(statement.args) == 1 and text == "off":
        return None
    made = template(statement)
    transparent = len(statement.args) > 1
    address: LocalAddress | None = None
    if made.constant is not None:
        address = local_address(text, transparent)
        if address is None:
            raise statement.fail(f'invalid address "{text}"', statement.args[0], "an address, perhaps with a port: 192.0.2.1:80")
    if transparent:
        if statement.args[1].text != "transparent":
            raise statement.fail(f'invalid parameter "{statement.args[1].text}"', statement.args[1], "transparent, or nothing")
        statement.load.is_transparent = True
    return Binding(made, address, transparent)
