"""Commands in pages, each with its mistakes, and how a page and what it includes are put together."""

from __future__ import annotations

from tests.parity.backend import Close, Wait, chunked, raw_reply, reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

HTML = "Content-Type: text/html"
SET = '<!--#set var="x" value="%s" --><!--#echo var="x" encoding="none" -->'

# Pages that are asked for as they stand: the name says what is in them.
PAGES: dict[str, str] = {
    # -- the grammar
    "plain": "no command at all",
    "blanks": '[<!--# \t\r\n echo \n var \t = \r "uri" \n -->]',
    "single-quotes": "[<!--#echo var='uri' -->]",
    "no-blank-before-end": '[<!--#echo var="uri"-->]',
    "no-blank-between": '[<!--#echo var="uri"default="x" -->]',
    "comment": "[<!-- echo var=\"uri\" --><!-- #echo var=\"uri\" -->]",
    "beginnings": "[<<!--<!-<!--#echo var=\"uri\" --><!---#<!--!#<!--",  # nginx loses the last four bytes
    "almost": "[< <! <!- <!-- <!--x <!<!-<!--y]",
    "unknown-command": "[<!--#nothing var=\"uri\" -->]",
    "upper-case-command": "[<!--#ECHO var=\"uri\" -->]",
    "no-command": "[<!--# -->]<!--#-->]",
    "dash-command": "[<!--#--->]<!--#echo var=\"uri\" -->",
    "long-command": "[<!--#" + "a" * 32 + " -->][<!--#" + "a" * 33 + " -->]",
    "long-name": "[<!--#echo " + "a" * 32 + "=\"x\" -->][<!--#echo " + "a" * 33 + "=\"x\" -->]",
    "long-value": '[<!--#echo var="' + "a" * 255 + '" -->][<!--#echo var="' + "a" * 256 + '" -->]',
    "long-escaped-value": '[<!--#echo var="' + "a" * 254 + '\\"" -->][<!--#echo var="' + "a" * 255 + '\\"" -->]',
    "no-equals": '[<!--#echo var "uri" -->]',
    "no-value": "[<!--#echo var= -->][<!--#echo var -->][<!--#echo var--->]",
    "bare-value": "[<!--#echo var=uri -->]",
    "dash-for-value": "[<!--#echo var=-->][<!--#echo var -->]",
    "dash-in-name": '[<!--#echo va-r="uri" -->]',
    "dash-behind-command": '[<!--#echo-x var="uri" -->]',
    "one-dash": '[<!--#echo var="uri" ->] -->]',
    "text-behind-value": '[<!--#echo var="uri"x -->]',
    "end-inside-mistake": '[<!--#echo var=x --- -- ->-->]',
    "unfinished": '[<!--#echo var="uri" ',
    "unfinished-value": '[<!--#echo var="uri -->]',
    "many-parameters": "[<!--#set " + " ".join(f'a{i}="b"' for i in range(17)) + " -->]",
    "duplicate-parameter": '[<!--#echo var="uri" var="args" -->]',
    "unknown-parameter": '[<!--#echo var="uri" x="y" -->]',
    "no-parameter": "[<!--#echo -->][<!--#set var=\"x\" -->][<!--#if -->][<!--#block -->]",
    "parameters-of-endif": '[<!--#if expr="a" -->1<!--#endif x="y" -->2<!--#endif -->]',
    # -- echo
    "echo": '[<!--#echo var="uri" -->][<!--#echo var="arg_a" -->][<!--#echo var="ARG_A" -->]',
    "echo-unknown": '[<!--#echo var="nothing" -->][<!--#echo var="" -->][<!--#echo var="1" -->][<!--#echo var="a b" -->]',
    "echo-default": '[<!--#echo var="no" default="" -->][<!--#echo var="no" default="<x>" -->][<!--#echo var="uri" default="x" -->]',
    "echo-encodings": SET % "<&\\\"'%\xe9>" + '[<!--#echo var="x" encoding="url" -->][<!--#echo var="x" -->]'
    '[<!--#echo var="x" encoding="entity" -->][<!--#echo var="x" encoding="odd" -->][<!--#echo var="x" encoding="none" -->]',
    "echo-entity-first": '<!--#set var="x" value="<a href=\\"&\\">" -->[<!--#echo var="x" -->]',
    "echo-injection": '[<!--#echo var="arg_a" encoding="none" -->]',
    # -- set
    "set": '[<!--#set var="Abc" value="1" --><!--#echo var="aBC" --><!--#set var="abc" value="2" --><!--#echo var="abc" -->]',
    "set-over-variable": '[<!--#set var="uri" value="mine" --><!--#echo var="uri" -->]',
    "set-variables": "[" + SET % "a$uri-${uri}b $arg_none." + "]",
    "set-escapes": "[" + SET % "\\$uri \\\\ \\' \\\" \\n \\" + "]",
    "set-escapes-and-variables": "[" + SET % "\\$uri$uri\\\\ \\'$uri\\n\\\\" + "]",
    "set-no-name": "[" + SET % "$" + "]" + SET % "a$ b" + SET % "${}",
    "set-no-brace": "[" + SET % "${uri" + "]" + SET % "${uri b}" + SET % "${",
    "set-digit": '[<!--#set var="1" value="x" --><!--#echo var="1" -->]',
    "set-empty": '[<!--#set var="x" value="" --><!--#echo var="x" --><!--#echo var="x" default="d" -->]',
    "set-of-itself": '<!--#set var="x" value="a" --><!--#set var="x" value="$x$x" -->[<!--#echo var="x" -->]',
    "set-no-command-in-value": '[<!--#set var="x" value="<!--#echo var=\'uri\' -->" --><!--#echo var="x" encoding="none" -->]',
    # -- if
    "if": '[<!--#if expr="$arg_a" -->yes<!--#else -->no<!--#endif -->]',
    "elif": '[<!--#if expr="$arg_a" -->1<!--#elif expr="$arg_b" -->2<!--#elif expr="$arg_c" -->3<!--#else -->4<!--#endif -->]',
    "if-equal": '[<!--#if expr="$arg_a = b c" -->1<!--#endif --><!--#if expr="$arg_a=b c" -->2<!--#endif -->'
    '<!--#if expr="$arg_a != b" -->3<!--#endif -->]',
    "if-case": '[<!--#if expr="ABC = abc" -->1<!--#endif --><!--#if expr="abc = ABC" -->2<!--#endif --><!--#if expr="$ARG_A = x" -->3'
    "<!--#endif -->]",
    "if-quotes": "[<!--#if expr=\"'a' = 'a'\" -->1<!--#endif --><!--#if expr=\"''\" -->2<!--#endif -->"
    "<!--#if expr=\"a= a\" -->3<!--#endif -->]",
    "if-empty": '[<!--#if expr="" -->1<!--#else -->2<!--#endif --><!--#if expr="= " -->3<!--#endif -->]',
    "if-regex": '[<!--#if expr="$arg_a = /^(b+)(c)?(?<rest>.*)$/" -->x<!--#endif -->]',
    "if-regex-captures": '[<!--#if expr="$arg_a = /^(b+)(c)?(?<Rest>x*)/" --><!--#echo var="0" -->,<!--#echo var="1" -->,'
    '<!--#echo var="2" -->,<!--#echo var="rest" -->,<!--#echo var="3" -->,<!--#echo var="4" --><!--#else -->-<!--#endif -->]'
    '<!--#if expr="$arg_a = /zzz/" --><!--#endif --><!--#echo var="1" -->',
    "if-regex-unset-group": '[<!--#if expr="$arg_a = /b(x)?(y)?/" -->(<!--#echo var="1" -->)(<!--#echo var="2" -->)<!--#endif -->]',
    "if-regex-not": '[<!--#if expr="$arg_a != /b/" -->1<!--#else -->2<!--#endif -->]',
    "if-regex-dollar": '[<!--#if expr="$arg_a = /b\\$/" -->1<!--#else -->2<!--#endif -->]',
    "if-regex-variable": '[<!--#set var="p" value="^b" --><!--#if expr="$arg_a = /$p/" -->1<!--#else -->2<!--#endif -->]',
    "if-regex-broken": '[<!--#if expr="$arg_a = /(/" -->1<!--#else -->2<!--#endif -->]',
    "if-regex-open": '[<!--#if expr="$arg_a = /b" -->1<!--#endif -->][<!--#if expr="/ = /" -->]<!--#endif -->',
    "if-slashes": '[<!--#if expr="$arg_a = //" -->1<!--#else -->2<!--#endif -->][<!--#if expr="$uri = \\/x" -->1'
    '<!--#else -->2<!--#endif -->]',
    "if-odd": '[<!--#if expr="a ~ b" -->1<!--#endif -->][<!--#if expr="a ! b" -->2<!--#endif -->]['
    '<!--#if expr="a b" -->3<!--#endif -->]',
    "if-in-if": '[<!--#if expr="a" -->1<!--#if expr="b" -->2<!--#endif -->3<!--#endif -->]',
    "if-in-hidden": '[<!--#if expr="" -->1<!--#if expr="b" -->2<!--#endif -->3<!--#endif -->]',
    "elif-alone": '[<!--#elif expr="a" -->][<!--#else -->][<!--#endif -->]',
    "else-twice": '[<!--#if expr="a" -->1<!--#else -->2<!--#else -->3<!--#elif expr="b" -->4<!--#endif -->]',
    "mistake-in-hidden": '[<!--#if expr="" --><!--#nothing --><!--#echo --><!--#echo var=x --><!--#endif -->]',
    "if-open": '[<!--#if expr="" -->1',
    # -- block
    "block": '[<!--#block name="a" -->text<!--#endblock -->]',
    "block-commands": '[<!--#block name="a" -->t<!--#set var="x" value="y" --><!--#nothing -->'
    '<!--#block name="b" -->u<!--#endblock -->]'
    '<!--#echo var="x" -->[<!--#endblock -->][<!--#include virtual="/none" stub="a" -->]',
    "block-in-hidden": '[<!--#if expr="" --><!--#block name="a" -->1<!--#endblock -->2<!--#endif -->]',
    # -- config
    "config": '<!--#config errmsg="(x)" -->[<!--#nothing -->]<!--#config errmsg="" -->[<!--#nothing -->]<!--#config -->',
    "config-time": '<!--#config timefmt="%Y %Z %z" -->[<!--#echo var="date_gmt" -->][<!--#echo var="date_local" -->]',
    "config-time-empty": '<!--#config timefmt="" -->[<!--#echo var="date_gmt" -->]',
    "config-time-odd": '<!--#config timefmt="x\xe9%%" -->[<!--#echo var="date_gmt" -->]',
    # -- include
    "include": '[<!--#include virtual="/parts/a.html" -->]',
    "include-relative": '[<!--#include virtual="parts/a.html" -->][<!--#include file="parts/a.html" -->]',
    "include-variables": '[<!--#include virtual="/parts/$arg_p.html?x=$arg_a" -->]',
    "include-arguments": '[<!--#include virtual="/shown?a=b&c=%20d" -->]',
    "include-escaped": '[<!--#include virtual="/parts/%61.html" -->][<!--#include virtual="/parts/a.html%3fx" -->]',
    "include-missing": '[<!--#include virtual="/parts/none.html" -->]',
    "include-unsafe": '[<!--#include virtual="/../x" -->][<!--#include virtual="/a/%2e%2e/x" -->][<!--#include virtual="?x" -->]'
    '[<!--#include virtual="/a%00b" -->][<!--#include file="../x" -->][<!--#include virtual="$arg_none" -->]['
    '<!--#include virtual="/.." -->]',
    "include-nothing": '[<!--#include virtual="" -->]',
    "include-both": '[<!--#include virtual="/a" file="/b" -->][<!--#include -->][<!--#include wait="yes" -->]',
    "include-wait": '[<!--#include virtual="/parts/set.html" wait="yes" -->][<!--#echo var="inner" -->]'
    '[<!--#include virtual="/parts/a.html" wait="NO" -->][<!--#include virtual="/parts/a.html" wait="YES" -->]',
    "include-wait-odd": '[<!--#include virtual="/a" wait="maybe" -->][<!--#include file="/a" wait="yes" -->]',
    "include-set": '[<!--#include virtual="/parts/a.html" set="Part" -->][<!--#echo var="part" -->]',
    "include-set-missing": '[<!--#set var="part" value="old" --><!--#include virtual="/parts/none.html" set="part" -->'
    '<!--#echo var="part" -->]<!--#include virtual="/parts/none.html" set="other" -->[<!--#echo var="other" default="none" -->]',
    "include-set-empty": '[<!--#include virtual="/parts/empty.html" set="part" --><!--#echo var="part" default="none" -->]',
    "include-set-nested": '[<!--#include virtual="/parts/nested.html" set="part" --><!--#echo var="part" encoding="none" -->]',
    "include-stub": '<!--#block name="s" -->stub <!--#echo var="uri" --><!--#endblock -->['
    '<!--#include virtual="/parts/empty.html" stub="s" -->]'
    '[<!--#include virtual="/parts/none.html" stub="s" -->][<!--#include virtual="/plain/none.html" stub="s" -->]'
    '[<!--#include virtual="/error" stub="s" -->][<!--#include virtual="/no-content" stub="s" -->]'
    '[<!--#include virtual="/parts/a.html" stub="s" -->][<!--#include virtual="/redirect" stub="s" -->]',
    "include-stub-unknown": '[<!--#include virtual="/parts/a.html" stub="s" -->]',
    "include-first-stub": '<!--#block name="s" -->1<!--#endblock --><!--#block name="s" -->2<!--#endblock -->'
    '[<!--#include virtual="/error" stub="s" -->]',
    "include-nested": '[<!--#include virtual="/parts/nested.html" -->]',
    "include-plain": '[<!--#include virtual="/plain/parts/nested.html" -->]',
    "include-internal": '[<!--#include virtual="/internal" -->]',
    "include-named-error": '[<!--#include virtual="/error" -->]',
    "include-directory": '[<!--#include virtual="/parts" -->][<!--#include virtual="/parts/" -->]',
    "include-denied": '[<!--#include virtual="/denied" -->]',
    "include-many": "".join(f'<!--#include virtual="/shown?{i}" -->' for i in range(150)),
    "include-order": '[<!--#include virtual="/parts/nested.html" --><!--#include virtual="/parts/a.html" -->]'
    '<!--#include virtual="/parts/nested.html" -->',
    "shared-variables": '<!--#set var="outer" value="o" -->[<!--#include virtual="/parts/set.html" wait="yes" -->'
    '<!--#echo var="inner" -->]',
    "own-config": '<!--#config errmsg="(x)" --><!--#include virtual="/parts/mistake.html" -->[<!--#nothing -->]',
    "loop": '.<!--#include virtual="/loop.html" -->',
}  # fmt: skip
TIMES = 'x<!--#echo var="date_gmt" -->,<!--#echo var="date_local" -->,<!--#config timefmt="%s" --><!--#echo var="date_gmt" -->'
NOW = (r"[A-Z][a-z]+day, \d\d-[A-Z][a-z]+-\d{4} \d\d:\d\d:\d\d", r"\b\d{10}\b")

SSI = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        types { text/html html; text/plain txt; }
        default_type text/html;
        ssi on;
        location = /shown { return 200 "<$uri?$args>"; }
        location = /error { return 500; }
        location = /no-content { return 204; }
        location = /redirect { return 302 /x; }
        location = /denied { deny all; return 200 "not denied"; }
        location = /internal { internal; return 200 "internal"; }
        location /plain/ { ssi off; alias @ROOT@/; }
        location /silent/ { ssi_silent_errors on; alias @ROOT@/; }
        location /short/ { ssi_value_length 3; alias @ROOT@/; }
        location /dated/ { ssi_last_modified on; alias @ROOT@/; }
        location /types/ { ssi_types text/plain; alias @ROOT@/; }
        location /every/ { ssi_types *; alias @ROOT@/; }
        location /conditional/ { ssi off; if ($arg_on) { ssi on; } alias @ROOT@/; }
        location /zipped/ { gzip on; gzip_min_length 1; gunzip on; alias @ROOT@/; }
        location /sub/ { sub_filter "[" "("; alias @ROOT@/; }
        location /around/ { add_before_body /parts/a.html; add_after_body /parts/nested.html; alias @ROOT@/; }
        location /returned { return 200 "[<!--#echo var='arg_a' -->]"; }
        location /proxied/ { proxy_pass http://@BACKEND@/; }
        location /unbuffered/ { proxy_buffering off; proxy_pass http://@BACKEND@/; }
        location /part/ { proxy_pass http://@BACKEND_2@/; }
        location /small/ { subrequest_output_buffer_size 3; alias @ROOT@/; }
        location /header/ { add_header X-Date "$date_gmt|$date_local"; alias @ROOT@/; }
    }
    """,
    {
        **{f"{name}.html": page.encode("latin-1") for name, page in PAGES.items()},
        "parts/a.html": b"A",
        "parts/b.html": b"B <!--#echo var='args' -->",
        "parts/empty.html": b"",
        "parts/nested.html": b"(<!--#include virtual='a.html' --><!--#echo var='uri' -->)",
        "parts/set.html": b"(<!--#set var='inner' value='i' --><!--#echo var='outer' -->)",
        "parts/mistake.html": b"(<!--#nothing -->)",
        "parts/index.html": b"index",
        "big.html": b"x" * 200_000 + b"<!--#echo var='uri' -->" + b"y" * 200_000,
        "big-inside.html": b"1<!--#include virtual='/big.html' -->2<!--#include virtual='/big.html' -->3",
        "a.txt": b"<!--#echo var='uri' -->",
        "times.html": TIMES.encode(),
        "set-a.html": b"[<!--#include virtual='/small/parts/a.html' set='x' --><!--#echo var='x' -->]",
    },
)

LOST = "nginx loses what might have been the beginning of a command at the end of a page"
DIFFERENT = {
    "beginnings": LOST,
    "config": "nginx ends the response when an empty errmsg is to be shown",
    "include-set-nested": "nginx sets aside as much memory as the page is long before its commands have made it longer",
}
BODIES = {
    "beginnings": b"[<<!--<!-/beginnings.html<!---#<!--!#<!--",
    "config": b"[(x)][]",
    "include-set-nested": b"[([an error occurred while processing the directive]/parts/nested.html)]",
}
QUERIES = {
    "echo": ("a=1", ""), "echo-injection": ("a=<!--", "a=%3C"), "if": ("a=1", "a=", ""), "elif": ("a=1", "b=1", "c=1", ""),
    "if-case": ("a=x",), "if-regex": ("a=bbcdef", "a=x"),
    "if-regex-captures": ("a=bbcxx", "a=bb", "a=q"), "if-regex-unset-group": ("a=by", "a=bx"), "if-regex-not": ("a=b", "a=c"),
    "if-regex-dollar": ("a=b", "a=bc"), "if-regex-variable": ("a=bc", "a=cb"), "if-equal": ("a=b", "a=c"),
    "include-variables": ("p=b&a=1", "p=../x", "p=%2e%2e/x&a=%41"),
}  # fmt: skip


@exchanges(
    SSI,
    *(
        Exchange(f"{name} {query}".strip(), get(f"/{name}.html?{query}" if query else f"/{name}.html"), status=200,
                 body=BODIES.get(name), differs=DIFFERENT.get(name, ""))
        for name in PAGES
        for query in QUERIES.get(name, ("",))
    ),
)  # fmt: skip
def test_pages(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


def _html(*pieces: bytes) -> bytes:
    return raw_reply("HTTP/1.1 200 OK", HTML, "Transfer-Encoding: chunked", body=chunked(*pieces))


COMMANDS = b'[<!--#set var="x" value="a&b" --><!--#if expr="$x = /(&)/" -->(<!--#echo var="x" -->)<!--#endif -->] <!-- x <!--'
BIG = b"z" * 300_000
TWO = b'1<!--#include virtual="/part/one" -->2<!--#include virtual="/part/two" -->3'


@exchanges(
    SSI,
    Exchange("fields", get("/echo.html"), lacks=("Last-Modified", "ETag", "Content-Length", "Accept-Ranges")),
    Exchange("old client", get("/echo.html", version="1.0"), closed=True),
    Exchange("head", request("HEAD", "/include.html")),
    Exchange("a range of it", get("/plain.html", "Range: bytes=0-1"), status=200),
    Exchange("not modified", get("/plain.html", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"), status=200),
    Exchange("an empty file", get("/parts/empty.html"), body=b""),
    Exchange("kept dates", get("/dated/include.html")),
    Exchange("off", get("/plain/echo.html"), contains=b"<!--#echo"),
    Exchange("off, and on in an if", get("/conditional/echo.html?on=1"), body=b"[/conditional/echo.html][(none)][(none)]"),
    Exchange("another type", get("/a.txt"), body=b"<!--#echo var='uri' -->"),
    Exchange("a type that is named", get("/types/a.txt"), body=b"/types/a.txt"),
    Exchange("html is always there", get("/types/echo.html"), contains=b"[/types/echo.html]"),
    Exchange("every type", get("/every/a.txt"), body=b"/every/a.txt"),
    Exchange("silent", get("/silent/no-parameter.html"), body=b"[][][][]"),
    Exchange("a shorter value", get("/short/echo.html?a=1")),
    Exchange("compressed", get("/zipped/include.html", "Accept-Encoding: gzip"), has={"Content-Encoding": "gzip"}),
    Exchange("substituted", get("/sub/include.html"), body=b"(A]"),
    Exchange("between others", get("/around/include.html")),
    Exchange("of return", get("/returned?a=%3C"), body=b"[%3C]"),
    Exchange("of an error", get("/none.html"), status=404, lacks=("Content-Length",)),
    Exchange("a big page", get("/big.html"), contains=b"x/big.htmly"),
    Exchange("big pages inside", get("/big-inside.html"), contains=b"y2x"),
    Exchange("times", get("/times.html"), mask=NOW, contains=b"GMT"),
    Exchange("times in a field", get("/header/plain.html"), mask=NOW),
    Exchange("a post", request("POST", "/returned?a=1", body=b"12345"), body=b"[1]"),
    Exchange("a value that fits", get("/set-a.html"), body=b"[A]"),
)
def test_page_and_response(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    SSI,
    Exchange("with a length", get("/proxied/"), backend=reply(200, COMMANDS, HTML), differs=LOST, body=b"[(a&amp;b)] <!-- x <!--"),
    *(
        Exchange(f"cut into {size}", get("/unbuffered/"), body=b"[(a&amp;b)] <!-- x",
                 backend=_html(*[COMMANDS[:-5][i : i + size] for i in range(0, len(COMMANDS) - 5, size)]))
        for size in (1, 2, 3, 7)
    ),
    Exchange("of parts", get("/proxied/"), backend={"BACKEND": _html(TWO), "BACKEND_2": reply(200, "<>", HTML)}, body=b"1<>2<>3",
             reached=3, unordered=True),
    Exchange("a part that is slow", get("/proxied/"), body=b"1<>2<>3", reached=3, unordered=True,
             backend={"BACKEND": _html(TWO), "BACKEND_2": [Wait(0.2), reply(200, "<>", HTML)]}),
    Exchange("a part with commands", get("/proxied/"), reached=3, unordered=True,
             backend={"BACKEND": _html(TWO), "BACKEND_2": _html(b"<!--#echo ", b"var='uri' -->")}, body=b"1/part/one2/part/two3"),
    Exchange("big parts", get("/proxied/"), reached=3, unordered=True,
             backend={"BACKEND": _html(TWO), "BACKEND_2": reply(200, BIG, HTML)}, body=b"1" + BIG + b"2" + BIG + b"3"),
    Exchange("a page that comes in time", get("/unbuffered/"), reached=3, unordered=True,
             backend={"BACKEND": [raw_reply("HTTP/1.1 200 OK", HTML, f"Content-Length: {len(TWO)}"), TWO[:50], Wait(0.1), TWO[50:]],
                      "BACKEND_2": reply(200, "<>", HTML)}, body=b"1<>2<>3"),
    Exchange("a part that fails", get("/proxied/"), reached=3, unordered=True, contains=b"502 Bad Gateway",
             backend={"BACKEND": _html(TWO), "BACKEND_2": [Close()]}),
    Exchange("fields of the part's request", get("/part/x", "X-Own: y"), reached=1, forwarded=("X-Own: y",)),
    Exchange("a post and its parts", request("POST", "/proxied/", body=b"12345"), reached=3, unordered=True,
             backend={"BACKEND": _html(TWO), "BACKEND_2": reply(200, "<>", HTML)}, body=b"1<>2<>3"),
)  # fmt: skip
def test_upstreams(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
