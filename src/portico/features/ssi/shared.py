"""What all pages of one client's request share: variables, captures and blocks (the context of the main request, in nginx)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.http.request import RequestSlot

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.variables.variable import Variables

_MOST_INCLUDED: Final = 64535  # nginx has it for those under way at once: a page that includes itself twice comes to no end there
_MOST_IN_BLOCKS: Final = 1 << 20  # bytes
MOST_IN_VARIABLES: Final = 16 << 20  # bytes: a page that doubles a value again and again would take all memory


class SsiMistake(Exception):
    """A command cannot be carried out; its text is for the error log."""


@final
class Block:
    """What stands between `block` and `endblock`."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.pieces: list[bytes] = []


@final
class Shared:
    """The values that commands have set in one client's request and its subrequests."""

    def __init__(self, registry: Variables[Request]) -> None:
        self.registry = registry
        self.variables: dict[bytes, bytes] = {}
        self.in_variables = 0  # bytes
        self.captures: list[bytes | None] = []  # of the last regular expression that matched
        self.blocks: list[Block] = []
        self.in_blocks = 0  # bytes
        self.included = 0

    def value(self, request: Request, name: bytes) -> bytes | None:
        """Return the value of a variable: what commands have set, else what the configuration has by that name; None: not found."""
        name = name.lower()
        if len(name) == 1 and name.isdigit() and int(name) < len(self.captures):
            return self.captures[int(name)] or b""
        value = self.variables.get(name)
        if value is not None:
            return value
        getter = self.registry.look_up(name.decode("latin-1"))
        return None if getter is None else getter(request)

    def set(self, name: bytes, value: bytes) -> None:
        """Give a variable a value. Raises SsiMistake when all values are too long together."""
        name = name.lower()
        size = self.in_variables + len(value) - len(self.variables.get(name, b""))
        if size > MOST_IN_VARIABLES:
            raise SsiMistake(f"the variables of one request are longer than {MOST_IN_VARIABLES} bytes")
        self.in_variables = size
        self.variables[name] = value

    def add_to_block(self, text: bytes) -> None:
        """Append to the last block. Raises SsiMistake when all are too long together."""
        self.in_blocks += len(text)
        if self.in_blocks > _MOST_IN_BLOCKS:
            raise SsiMistake(f"the blocks of one request are longer than {_MOST_IN_BLOCKS} bytes")
        self.blocks[len(self.blocks) - 1].pieces.append(text)

    def stub(self, name: bytes) -> bytes | None:
        """Return the first block of that name; None when there is none."""
        for block in self.blocks:
            if block.name == name:
                return b"".join(block.pieces)
        return None

    def check_count(self) -> None:
        """Raise SsiMistake when too many pages have been included: they may include each other, and twice."""
        if self.included >= _MOST_INCLUDED:
            raise SsiMistake(f"more than {_MOST_INCLUDED} subrequests for one request")


_SHARED: Final = RequestSlot[Shared]()


def shared_of(request: Request, registry: Variables[Request]) -> Shared:
    """Return what the client's request that this one is, or is a part of, has set so far."""
    main = request
    while main.parent is not None:
        main = main.parent
    shared = _SHARED.of(main)
    if shared is None:
        shared = Shared(registry)
        _SHARED.put(main, shared)
    return shared
