"""What choosing a server and a location costs, with 10 and with 10,000 of either.

`python bench/routing.py` measures the installed Portico, and says whether it is compiled. Neither cost may
depend on the number: names are found by hash, prefixes by a search over their lengths.
"""

import time
from collections.abc import Callable

from portico.config.server_names import ServerNames
from portico.http import location_tree
from portico.http.routing.location_tree import EXACT, PREFIX, Location, LocationTree
from portico.http.routing.uri import normalise

ROUND = 2_000
SECTIONS = ("users", "api", "assets", "a", "catalogue", "static", "v2", "docs", "x-y", "reports")


def paths(count: int) -> list[str]:
    """Prefixes as applications have them: some sections, items below them, lengths that vary."""
    made = ["/"] + [f"/{section}/" for section in SECTIONS][: count - 1]
    for number in range(count - len(made)):
        made.append(f"/{SECTIONS[number % len(SECTIONS)]}/item{number * 7919 % 100_003}/")
    return made


def locations(count: int) -> LocationTree[int]:
    entries = [Location(PREFIX, path, number) for number, path in enumerate(paths(count))]
    return LocationTree([*entries, Location(EXACT, "/status", -1)], -2)


def servers(count: int) -> ServerNames[int]:
    names: ServerNames[int] = ServerNames(-1)
    for number in range(count):
        names.add(f"{('www.site', '*.tenant', 'app')[number % 3]}{number}.example.com", number)
    names.add("mail.*", -2)
    return names


def nothing(subject: bytes) -> None:
    return None


def one_round(call: Callable[[bytes], object], subjects: list[bytes]) -> float:
    start = time.perf_counter_ns()
    for _ in range(ROUND // len(subjects)):
        for subject in subjects:
            call(subject)
    return (time.perf_counter_ns() - start) / ROUND


def nanoseconds(call: Callable[[bytes], object], *subjects: bytes) -> int:
    """The best of many short rounds, which a busy machine disturbs least; the empty loop is taken off."""
    empty = min(one_round(nothing, [*subjects]) for _ in range(20))
    return round(min(one_round(call, [*subjects]) for _ in range(60)) - empty)


def row(title: str, *figures: int) -> None:
    print(f"{title:34}" + "".join(f"{figure:8}" for figure in figures))


def main() -> None:
    uris = (b"/", b"/users/", b"/api/orders/2024/05/17", b"/assets/app.5f3a.css", b"/nowhere/at/all.html")
    hosts = (b"www.site9.example.com", b"a.tenant4.example.com", b"mail.other.org", b"unknown.example.net")
    compiled = not location_tree.__file__.endswith(".py")
    print(f"routing, {'compiled' if compiled else 'interpreted'}, nanoseconds each")
    print(f"{'of':34}{'10':>8}{'10,000':>8}")
    trees = [locations(count).find for count in (10, 10_000)]
    tables = [servers(count).find for count in (10, 10_000)]
    for title, finders, subjects in (("location", trees, uris), ("server", tables, hosts)):
        for subject in subjects:
            row(f"{title} {subject.decode()}", *[nanoseconds(find, subject) for find in finders])
        row(f"{title}, all of these", *[nanoseconds(find, *subjects) for find in finders])
    row("normal URI, plain", nanoseconds(lambda uri: normalise(uri, True), b"/api/orders/17?page=2"))
    row("normal URI, escaped", nanoseconds(lambda uri: normalise(uri, True), b"/a%20b/../c/./d"))


if __name__ == "__main__":
    main()
