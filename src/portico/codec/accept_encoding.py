"""Accept-Encoding: which content encodings a client accepts, with which weight (RFC 9110 sections 8.4.1 and 12.5.3).

    gzip, br;q=0.8, *;q=0.1, identity;q=0

An element without a weight has the weight 1, one with the weight 0 is not acceptable, `*` stands for all that are not named. What
is not encoded at all (`identity`) is acceptable unless `identity;q=0` or `*;q=0` says otherwise. An
element that is not well formed counts as not acceptable, and of an encoding that is named twice the first counts, both as in nginx
(ngx_http_gzip_accept_encoding), which knows neither `*` nor identity.
"""

from typing import Final, final

GZIP: Final = b"gzip"
BROTLI: Final = b"br"
ZSTD: Final = b"zstd"
IDENTITY: Final = b"identity"

_FULL: Final = 1000  # weights are counted in thousandths: they have at most three digits behind the point
_ALIASES: Final[dict[bytes, bytes]] = {b"x-gzip": GZIP}  # RFC 9110 section 8.4.1.3
_LONGEST: Final = 64  # elements that are looked at; there are a dozen encodings in the world


@final
class AcceptEncoding:
    """What one field says."""

    def __init__(self, weights: dict[bytes, int]) -> None:
        self._weights = weights
        self._others = weights.get(b"*", 0)

    def weight(self, encoding: bytes) -> int:
        """Return how much the client wants a content encoding (lower case), from 0, not at all, to 1000."""
        return self._weights.get(encoding, self._others)

    def choose(self, order: tuple[bytes, ...]) -> int:
        """Return the index in `order`, the server's preference, of the client's choice, whose own comes first; -1: no encoding.

        A client that names identity with a higher weight than all of them wants none. One that refuses identity gets it all the same
        where nothing else is to be had: RFC 9110 allows that, and a response is worth more than a 406.
        """
        best = -1
        highest = 0
        for place in range(len(order)):
            weight = self.weight(order[place])
            if weight > highest:
                best = place
                highest = weight
        return -1 if self._weights.get(IDENTITY, 0) > highest else best


NOTHING: Final = AcceptEncoding({})
"""A client that says nothing gets no encoding: it may know none (RFC 9110 would allow any)."""


def parse_accept_encoding(text: bytes) -> AcceptEncoding:
    """Read a field's value, several lines joined by commas."""
    weights: dict[bytes, int] = {}
    for element in text.lower().split(b",", _LONGEST)[:_LONGEST]:
        name, semicolon, parameter = element.partition(b";")
        name = name.strip(b" \t")
        if not name:
            continue
        name = _ALIASES.get(name, name)
        if name not in weights:
            weights[name] = _weight_of(parameter.strip(b" \t")) if semicolon else _FULL
    return AcceptEncoding(weights)


def _weight_of(parameter: bytes) -> int:
    """Return the thousandths of `q=0.8`; 0 for what is no weight (ngx_http_gzip_quantity)."""
    if not parameter:
        return _FULL  # "gzip;"
    if not parameter.startswith(b"q="):
        return 0
    whole, _, fraction = parameter[2:].partition(b".")
    if (whole != b"0" and whole != b"1") or len(fraction) > 3 or (fraction and not fraction.isdigit()):
        return 0
    weight = int(whole) * _FULL + int(fraction.ljust(3, b"0"))
    return weight if weight <= _FULL else 0
