"""Choosing a location: nginx's precedence, checked against a plain walk over all locations."""

import random

import pytest

from portico.config.regex import compile_regex
from portico.http.routing.location_tree import (
    EXACT,
    NAMED,
    PREFIX,
    PREFIX_STOP,
    REGEX,
    REGEX_ICASE,
    Location,
    LocationTree,
    check_nesting,
    location_name,
)

Plain = Location[str]


def location(text: str, *inner: Plain, proxies: bool = False) -> Plain:
    """A location as written, worth its own text."""
    kind, pattern = location_name(text.split(" ", 1))
    made = Location(kind, pattern, text, proxies)
    if inner:
        made.nest(inner)
    return made


def tree(*locations: str | Plain) -> LocationTree[str]:
    return LocationTree([location(one) if isinstance(one, str) else one for one in locations], "server")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (b"/", "= /"),
        (b"/index.html", "/"),
        (b"/documents/document.html", "/documents/"),
        (b"/images/1.gif", "^~ /images/"),
        (b"/documents/1.jpg", r"~* \.(gif|jpg|jpeg)$"),
        (b"/documents/1.JPG", r"~* \.(gif|jpg|jpeg)$"),
        (b"/doc.php", r"~ \.php$"),
        (b"/doc.PHP", "/"),
    ],
)
def test_the_manuals_example(uri: bytes, expected: str) -> None:
    """http://nginx.org/en/docs/http/ngx_http_core_module.html#location"""
    locations = tree(
        "= /", "/", "/documents/", "^~ /images/", r"~* \.(gif|jpg|jpeg)$", r"~ \.php$", "~ doc.php"
    )  # fmt: skip
    found = locations.find(uri)
    assert found.value == expected
    assert found.location is not None
    assert found.location.text() == expected


def test_prefixes_are_not_cut_at_slashes() -> None:
    locations = tree("/ab", "/abcd", "/abx")
    assert locations.find(b"/abc").value == "/ab"
    assert locations.find(b"/abcde/f").value == "/abcd"
    assert locations.find(b"/a").value == "server"
    assert locations.find(b"/a").location is None
    assert tree("").find(b"/a").value == ""


def test_nothing_configured() -> None:
    assert tree().find(b"/x").value == "server"


def test_exact_and_prefix_of_one_name_are_two_locations() -> None:
    locations = tree("= /a", "/a", "~ b")
    assert locations.find(b"/a").value == "= /a"
    assert locations.find(b"/ab").value == "~ b"
    assert locations.find(b"/ac").value == "/a"


def test_captures() -> None:
    found = tree(r"~* ^/(?<user>\w+)/(x)?(?<rest>y)?").find(b"/JOE/")
    assert found.captures == [b"/JOE/", b"JOE", None, None]
    assert found.named == {"user": b"JOE", "rest": b""}
    assert tree("/").find(b"/").captures is None


def test_nested_levels_are_searched_before_the_regexes_around() -> None:
    locations = tree(
        location("/a", location("/a/b"), location("= /a/b/c"), location("~ in")),
        location("^~ /stop", location("/stop/x"), location("~ in")),
        "~ out",
    )
    assert locations.find(b"/a/b").value == "/a/b"
    assert locations.find(b"/a/b/out").value == "~ out"
    assert locations.find(b"/a/b/in-out").value == "~ in"
    assert locations.find(b"/a/b/c").value == "= /a/b/c"
    assert locations.find(b"/a/x").value == "/a"
    assert locations.find(b"/stop/x/out").value == "/stop/x"
    assert locations.find(b"/stop/in").value == "~ in"


def test_stop_counts_for_its_own_level_only() -> None:
    locations = tree(location("/a", location("^~ /a/b"), location("~ in")), "~ out")
    assert locations.find(b"/a/b/in").value == "^~ /a/b"
    assert locations.find(b"/a/b/out").value == "~ out"


def test_what_is_inside_a_regex_location() -> None:
    locations = tree(
        location("~ ^/(?<a>[a-z])", location("~ (?<b>[0-9])$"), location("~ /$")),
        "~ 7",
    )
    found = locations.find(b"/x7")
    assert found.value == "~ (?<b>[0-9])$"
    assert found.named == {"a": b"x", "b": b"7"}
    assert found.captures == [b"7", b"7"]
    assert locations.find(b"/xy7z").value == "~ ^/(?<a>[a-z])"
    found = locations.find(b"/x/")
    assert found.named == {"a": b"x"}
    assert found.captures == [b"/"]


def test_redirect_to_the_slash() -> None:
    app = location("/app/", proxies=True)
    found = tree(app, "/", "~ app").find(b"/app")
    assert found.auto_redirect
    assert found.location is app
    assert found.value == "/app/"
    assert not tree(app).find(b"/app/").auto_redirect
    assert not tree("/app/", "/").find(b"/app").auto_redirect
    assert tree(location("= /app/", proxies=True)).find(b"/app").auto_redirect


@pytest.mark.parametrize("own", ["= /app", "/app", "^~ /app"])
def test_no_redirect_from_what_is_a_location_itself(own: str) -> None:
    found = tree(location("/app/", proxies=True), own).find(b"/app")
    assert not found.auto_redirect
    assert found.value == own


def test_redirect_of_an_exact_and_a_prefix_location_is_the_exact_ones() -> None:
    for exact_proxies, prefix_proxies in ((True, True), (True, False), (False, True)):
        both = [location("/app/", proxies=prefix_proxies), location("= /app/", proxies=exact_proxies)]
        found = tree(*both).find(b"/app")
        assert found.auto_redirect
        assert found.value == "= /app/"


def test_redirect_from_a_nested_level() -> None:
    inner = location("/a/b/", proxies=True)
    assert tree(location("/a", inner), "~ b").find(b"/a/b").auto_redirect
    # A regex location has decided already: what is inside is entered (as nginx does).
    found = tree(location("~ /a", location("/a/", proxies=True))).find(b"/a")
    assert found.value == "/a/"
    assert not found.auto_redirect


def test_named_locations() -> None:
    locations = tree("@fallback", "/")
    found = locations.named("@fallback")
    assert found is not None
    assert found.value == "@fallback"
    assert locations.named("@other") is None
    assert locations.find(b"@fallback").value == "server"


@pytest.mark.parametrize(
    ("first", "second"), [("/a", "/a"), ("/a", "^~ /a"), ("= /a", "= /a"), ("^~ /a", "/a")]
)
def test_duplicates(first: str, second: str) -> None:
    with pytest.raises(ValueError, match=r'^duplicate location "/a"$'):
        tree(first, "/b", second)


def test_not_duplicates() -> None:
    tree("= /a", "/a", "~ a", "~ a", "~* a", "@a", "@a")


@pytest.mark.parametrize(
    ("outer", "inner", "message"),
    [
        ("/a", "/b", 'location "/b" is outside location "/a"'),
        ("/a/", "= /a", 'location "/a" is outside location "/a/"'),
        (r"~ \.php$", "/x", r'location "/x" is outside location "\.php$"'),
        ("= /a", "/a/b", 'location "/a/b" cannot be inside the exact location "/a"'),
        ("@a", "/b", 'location "/b" cannot be inside the named location "@a"'),
        ("/a", "@b", 'named location "@b" can be on the server level only'),
    ],
)
def test_nesting_rules(outer: str, inner: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_nesting(location(outer), location(inner))
    assert caught.value.args == (message,)
    with pytest.raises(ValueError):
        location(outer).nest([location(inner)])


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["/a"], (PREFIX, "/a")),
        (["=", "/a"], (EXACT, "/a")),
        (["=/a"], (EXACT, "/a")),
        (["^~/a"], (PREFIX_STOP, "/a")),
        (["~", "a"], (REGEX, "a")),
        (["~*a"], (REGEX_ICASE, "a")),
        (["~a"], (REGEX, "a")),
        (["@a"], (NAMED, "@a")),
        (["^~", "/a"], (PREFIX_STOP, "/a")),
    ],
)
def test_modifiers(args: list[str], expected: tuple[int, str]) -> None:
    assert location_name(args) == expected


def test_bad_modifier() -> None:
    with pytest.raises(ValueError, match=r'^invalid location modifier "!~"$'):
        location_name(["!~", "/a"])


# A plain walk over all locations, as the manual tells it.


def walk(locations: list[tuple[Plain, list[Plain]]], uri: str) -> tuple[str, bool] | None:
    """Value and "it is decided" of a level; each location comes with those inside it."""
    prefixes = [(one, inner) for one, inner in locations if one.kind in (PREFIX, PREFIX_STOP)]
    for one, _ in locations:
        if one.kind == EXACT and one.pattern == uri:
            return one.value, True
    for one, _ in sorted(locations, key=lambda pair: pair[0].kind):
        if one.auto_redirect and one.pattern == uri + "/" and all(p.pattern != uri for p, _ in prefixes):
            exact = [o.value for o, _ in locations if o.kind == EXACT and o.pattern == one.pattern]
            return "301 " + (exact or [one.value])[0], True
    found: tuple[str, bool] | None = None
    stop = False
    matching = [pair for pair in prefixes if uri.startswith(pair[0].pattern)]
    if matching:
        one, inner = max(matching, key=lambda pair: len(pair[0].pattern))
        stop = one.kind == PREFIX_STOP
        found = walk([(x, []) for x in inner], uri) or (one.value, False)
        if found[1]:
            return found
    for one, inner in locations:
        if one.regex is not None and not stop and compile_regex(one.pattern).match(uri.encode()):
            within = walk([(x, []) for x in inner], uri)
            return (within[0].removeprefix("301 ") if within else one.value), True
    return found


def test_random_configurations_against_the_walk() -> None:
    rng = random.Random(5)

    def path(most: int) -> str:
        return "/" + "".join(rng.choices(["a", "b", "a", "/", "ab", "abc"], k=rng.randint(0, most)))

    def some_location(under: str, number: int) -> Plain:
        kind = rng.choice([EXACT, PREFIX, PREFIX, PREFIX, PREFIX_STOP, REGEX])
        if kind == REGEX:
            return Location(kind, rng.choice(["a$", "b/", "^/a", "ba", "^/ab?/", "/$"]), f"#{number}")
        pattern = under + path(4)[1:]
        return Location(kind, pattern, f"#{number}", rng.random() < 0.5)

    def distinct(made: list[Plain]) -> list[Plain]:
        seen: dict[tuple[object, ...], Plain] = {}
        for one in made:
            seen.setdefault((one.value if one.kind == REGEX else one.kind == EXACT, one.pattern), one)
        return list(seen.values())

    for _ in range(400):
        numbers = iter(range(1000))
        level = distinct([some_location("/", next(numbers)) for _ in range(rng.randint(0, 20))])
        nested: list[tuple[Plain, list[Plain]]] = []
        for one in level:
            inner: list[Plain] = []
            if one.kind in (PREFIX, PREFIX_STOP) and rng.random() < 0.4:
                count = rng.randint(1, 5)
                inner = distinct([some_location(one.pattern, next(numbers)) for _ in range(count)])
                one.nest(inner)
            nested.append((one, inner))
        locations = LocationTree(level, "server")
        for _ in range(40):
            uri = path(7)
            expected = walk(nested, uri)
            found = locations.find(uri.encode())
            shown = ("301 " if found.auto_redirect else "") + found.value
            assert shown == (expected[0] if expected else "server"), ([x.text() for x in level], uri)
