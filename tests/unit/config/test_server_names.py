"""Choosing a server by host, in nginx's order; checked against a plain reading of the rules."""

import random

import pytest

from portico.config.regex import compile_regex
from portico.config.server_names import DEFAULT, EXACT, LEADING, REGEX, TRAILING, ServerNames


def names_of(*names: str) -> ServerNames[str]:
    found = ServerNames("default")
    for name in names:
        assert found.add(name, name)
    return found


@pytest.mark.parametrize(
    ("host", "name", "reason"),
    [
        (b"example.com", "example.com", EXACT),
        (b"www.example.com", "*.example.com", LEADING),
        (b"a.b.example.com", "*.example.com", LEADING),
        (b".example.com", "*.example.com", LEADING),
        (b"x.sub.example.com", "*.sub.example.com", LEADING),
        (b"sub.example.com", "*.example.com", LEADING),
        (b"dot.org", ".dot.org", LEADING),
        (b"www.dot.org", ".dot.org", LEADING),
        (b"notdot.org", "", DEFAULT),
        (b"www.dot.com", "www.dot.*", TRAILING),
        (b"www.other.com", "www.*", TRAILING),
        (b"www.dot", "www.*", TRAILING),
        (b"www", "", DEFAULT),
        (b"api7.net", r"~^api\d+\.net$", REGEX),
        (b"", "", EXACT),
        (b"nothing", "", DEFAULT),
    ],
)
def test_order(host: bytes, name: str, reason: str) -> None:
    names = names_of(
        r"~^api\d+\.net$", "~^api", "www.*", "www.dot.*", "*.example.com", "*.sub.example.com", ".dot.org",
        "EXAMPLE.com", "",
    )  # fmt: skip
    found = names.find(host)
    assert (found.name.lower(), found.reason) == (name, reason)


def test_leading_wildcard_is_stronger_than_trailing_and_both_than_regex() -> None:
    names = names_of("~.", "a.*", "*.b", "a.b.c")
    assert names.find(b"a.b").name == "*.b"
    assert names.find(b"a.b.c").name == "a.b.c"
    assert names.find(b"a.x").name == "a.*"
    assert names.find(b"x").name == "~."


def test_a_host_that_was_not_given_meets_no_regex() -> None:
    assert names_of("~^").find(b"").reason == DEFAULT


def test_regex_captures() -> None:
    found = names_of(r"~^(?<user>\w+)\.(x)?(?<rest>y)?", "plain").find(b"joe.")
    assert found.captures == [b"joe.", b"joe", None, None]
    assert found.named == {"user": b"joe", "rest": b""}
    assert names_of("~a").find(b"a").named is None


def test_regex_case_counts_unless_it_has_upper_case() -> None:
    assert names_of("~^Joe$").find(b"joe").reason == REGEX
    assert names_of("~^joe$").find(b"JOE").reason == DEFAULT
    names = ServerNames(0)
    names.add("~anything", 1, compile_regex("^given$"))
    assert names.find(b"given").value == 1


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ("a.com", "a.com", True),
        ("a.com", "A.COM", True),
        ("", "", True),
        ("a.com", ".a.com", True),
        (".a.com", "a.com", True),
        ("*.a.com", ".a.com", True),
        (".a.com", "*.a.com", True),
        ("a.*", "a.*", True),
        ("*.a.com", "a.com", False),
        ("a.*", "*.a", False),
        ("~a", "~a", False),
    ],
)
def test_conflicts(first: str, second: str, conflict: bool) -> None:
    names = ServerNames("default")
    assert names.add(first, "first")
    assert names.add(second, "second") is not conflict


def test_a_refused_dot_name_still_claims_its_exact_name() -> None:
    """nginx: `*.x.com`, then `.x.com` (ignored), then `x.com`: that is ignored too."""
    names = names_of("*.x.com")
    assert not names.add(".x.com", "second")
    assert not names.add("x.com", "third")
    assert names.find(b"x.com").reason == DEFAULT


@pytest.mark.parametrize("name", ["a..b", "w*.a.com", "*.a.*", "a.*.b", "*a", "*.*", "a*", "a\0"])
def test_invalid_names(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        ServerNames(0).add(name, 1)
    assert caught.value.args == (f'invalid server name or wildcard "{name}"',)


def test_bad_regexes() -> None:
    with pytest.raises(ValueError, match=r'empty regex in server name "~"'):
        ServerNames(0).add("~", 1)
    with pytest.raises(ValueError, match="missing closing parenthesis"):
        ServerNames(0).add("~(", 1)


def reference(names: list[str], host: str) -> str:
    """The rules as the manual tells them."""
    if host in names:
        return host
    for name in sorted(names, key=len, reverse=True):
        bare = name.removeprefix("*")
        if name[:1] in ("*", ".") and (host.endswith(bare) or (name[0] == "." and host == name[1:])):
            return name
    for name in sorted(names, key=len, reverse=True):
        if name.endswith(".*") and host.startswith(name[:-1]):
            return name
    return "default"


def test_random_names_against_the_rules() -> None:
    rng = random.Random(11)
    labels = ["a", "b", "c", "ab"]

    def some_name(most: int) -> str:
        return ".".join(rng.choices(labels, k=rng.randint(1, most)))

    for _ in range(300):
        names: ServerNames[str] = ServerNames("default")
        accepted: list[str] = []
        for _ in range(rng.randint(0, 25)):
            name = rng.choice(["", "", "*.", "."]) + some_name(3)
            if name[0] not in "*." and rng.random() < 0.3:
                name += ".*"
            if name in (".*",) or f"*.{name.lstrip('*.')}" in accepted:
                continue  # the quirk above: a claim without a name
            if names.add(name, name):
                accepted.append(name)
        for _ in range(30):
            host = some_name(5)
            assert names.find(host.encode()).value == reference(accepted, host), (accepted, host)
