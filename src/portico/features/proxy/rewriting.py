"""`proxy_redirect`, `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`."""

from __future__ import annotations

from typing import Final

from portico.config.directive import Directive
from portico.config.reader import Statement
from portico.config.regex import parse_regex
from portico.config.values import octets
from portico.http.feature import LocationBuild
from portico.passing.families import ANYWHERE
from portico.passing.rewrite import FLAGS, FlagRule, Rewriter, Rule
from portico.passing.target import Target
from portico.variables.template import Template, template, template_of


def _rule(statement: Statement) -> Rule:
    first = statement.args[0].text
    if len(statement.args) == 1:
        if first == "off" or (first == "default" and statement.name == "proxy_redirect"):
            return Rule(None, None, None, first)
        raise statement.fail(f'invalid parameter "{first}"', statement.args[0])
    is_domain = statement.name == "proxy_cookie_domain"
    if first.startswith("~"):
        caseless = first.startswith("~*") or is_domain
        regex = parse_regex(statement, 0, first[2:] if first.startswith("~*") else first[1:], caseless)
        return Rule(None, regex, template(statement, 1), "")
    second = statement.args[1].text
    if is_domain:  # whether there is a dot in front is the upstream's choice
        first, second = first.removeprefix("."), second.removeprefix(".")
    return Rule(template_of(first, statement), None, template_of(second, statement), "")


def _flags(statement: Statement) -> FlagRule:
    first = statement.args[0].text
    if len(statement.args) == 1 and first == "off":
        return FlagRule(None, None, [], True)
    for argument in statement.args[1:]:
        if "$" not in argument.text and octets(argument.text).lower() not in FLAGS:
            raise statement.fail(f'invalid parameter "{argument.text}"', argument)
    flags = [template_of(argument.text, statement) for argument in statement.args[1:]]
    if first.startswith("~"):
        return FlagRule(None, parse_regex(statement, 0, first[1:], True), flags, False)
    return FlagRule(template_of(first, statement), None, flags, False)


PROXY_REDIRECT: Final = Directive[Rule](
    "proxy_redirect", ANYWHERE, _rule, args="1-2", default=Rule(None, None, None, "default"), many=True,
    default_text="default", syntax="default | off | REDIRECT REPLACEMENT",
    doc="How Location and Refresh of a response are changed: `default` replaces the URL of `proxy_pass` by the prefix of the "
    "location; a pair replaces a prefix (or, after `~` or `~*`, what a regex matches).",
    example="proxy_redirect http://127.0.0.1:4000/ /api/;",
)
PROXY_COOKIE_DOMAIN: Final = Directive[Rule](
    "proxy_cookie_domain", ANYWHERE, _rule, args="1-2", default=Rule(None, None, None, "off"), many=True,
    default_text="off", syntax="off | DOMAIN REPLACEMENT",
    doc="Replaces the domain of cookies that the upstream sets.", example="proxy_cookie_domain localhost example.org;",
)
PROXY_COOKIE_PATH: Final = Directive[Rule](
    "proxy_cookie_path", ANYWHERE, _rule, args="1-2", default=Rule(None, None, None, "off"), many=True,
    default_text="off", syntax="off | PATH REPLACEMENT",
    doc="Replaces a prefix of the path of cookies that the upstream sets.", example="proxy_cookie_path /two/ /;",
)
PROXY_COOKIE_FLAGS: Final = Directive[FlagRule](
    "proxy_cookie_flags", ANYWHERE, _flags, args="1-4", default=FlagRule(None, None, [], True), many=True,
    default_text="off", syntax="off | COOKIE [FLAG ...]",
    doc="Sets or removes flags of cookies that the upstream sets: `secure`, `httponly`, `samesite=strict|lax|none`, and their "
    "opposites `nosecure`, `nohttponly`, `nosamesite`. The cookie is a name or a regex after `~`.",
    example="proxy_cookie_flags one httponly;",
)


def rewriter(build: LocationBuild, target: Target | None) -> Rewriter:
    """Return the rules of a location. `target`: of its `proxy_pass`; None: that has variables."""
    scope = build.scope
    redirects: list[Rule] = []
    configured = scope.all(PROXY_REDIRECT) or [PROXY_REDIRECT.default]
    for rule in configured:
        if rule.word == "off":
            redirects = []
            break
        if rule.word == "default":
            default = _default_redirect(build, target)
            if default is not None:
                redirects.append(default)
        else:
            redirects.append(rule)
    return Rewriter(redirects, scope.all(PROXY_COOKIE_DOMAIN), scope.all(PROXY_COOKIE_PATH), scope.all(PROXY_COOKIE_FLAGS))


def _default_redirect(build: LocationBuild, target: Target | None) -> Rule | None:
    """nginx: the URL of proxy_pass becomes the location's prefix; with variables there is no default."""
    if target is None:
        return None
    where = build.location.where
    assert where is not None
    url = target.url.decode("utf-8", "surrogateescape")
    if target.uri:
        prefix = build.location.prefix.decode("utf-8", "surrogateescape")
        return Rule(_literal(url, build), None, _literal(prefix, build), "")
    return Rule(_literal(url + "/", build), None, _literal("/", build), "")


def _literal(text: str, build: LocationBuild) -> Template:
    where = build.location.where
    assert where is not None
    made = Template("", where)
    made.constant = text.encode("utf-8", "surrogateescape")
    return made
