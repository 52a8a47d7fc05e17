"""What variables say, and how access logs say it."""

from __future__ import annotations

from tests.parity.backend import reply
from tests.parity.exchange import Exchange, get, lines, request
from tests.parity.harness import Group, Servers, exchanges

SECONDS = r"\d+\.\d{3}"

VARIABLES = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        server_name main.example other.example ~^(?<sub>\w+)\.sub\.example$;
        root @ROOT@;
        default_type text/x;
        location /request {
            return 200 "$request|$request_method|$request_uri|$uri|$args|$scheme|$https|$server_protocol";
        }
        location /host { return 200 "$host|$http_host|$server_name|$server_port|$server_addr"; }
        location /client { return 200 "$remote_addr|$remote_user|$remote_port"; }
        location /binary { return 200 "$binary_remote_addr"; }
        location /headers {
            return 200 "$http_x_one|$http_user_agent|$http_referer|$http_cookie|$http_x_forwarded_for";
        }
        location /lengths { return 200 "$content_length|$content_type|$request_length"; }
        location /cookies { return 200 "$cookie_a|$cookie_B|$cookie_long_name|$cookie_none"; }
        location /nameless { return 200 "[$arg_][$http_][$cookie_][$sent_http_]"; }
        location /args { return 200 "$arg_a|$arg_b|$arg_A_b|$arg_none"; }
        location /paths/ { return 200 "$document_root|$request_filename|$realpath_root"; }
        location /aliased/ { alias @ROOT@/deeper/; return 200 "$document_root|$request_filename"; }
        location ~ ^/capture/(\w+)/(?<named>\w+)/? { return 200 "$1|$2|$named|$3"; }
        location /braces { return 200 "${arg_a}b ${uri}c"; }
        location /connection { return 200 "$connection_requests|$pipe|$request_completion"; }
        location /times { return 200 "$msec|$request_time|$time_iso8601|$time_local"; }
        location /id { return 200 "$request_id"; }
        location /rate { return 200 "$limit_rate"; }
        location /setrate { set $limit_rate $arg_a; return 200 "$limit_rate"; }
        location /status { error_page 404 /status2; return 404; }
        location /status2 { return 200 "$status"; }
        location /sub { return 200 "$sub|$server_name"; }
        location /nginx { return 200 "$nginx_version|$pid|$hostname"; }
        location /body {
            proxy_set_header Connection "";
            proxy_set_header X-Body $request_body;
            proxy_set_header X-File $request_body_file;
            proxy_pass http://@BACKEND@;
        }
        location /proxy {
            proxy_set_header Connection "";
            proxy_set_header X-A "$proxy_host|$proxy_port|$proxy_add_x_forwarded_for";
            proxy_pass http://@BACKEND@;
        }
        location /upstream {
            add_header X-Upstream "$upstream_addr|$upstream_status|$upstream_response_length";
            add_header X-Sent $upstream_bytes_sent;
            add_header X-Received $upstream_bytes_received;
            add_header X-Fields "$upstream_http_x_one|$upstream_http_no|$upstream_cookie_a";
            add_header X-Times "$upstream_response_time|$upstream_connect_time|$upstream_header_time";
            proxy_pass http://@BACKEND@;
        }
        location /none {
            return 200 "$upstream_addr|$upstream_status|$upstream_http_x|$proxy_host|$ssl_protocol";
        }
        location /secure {
            return 200 "$ssl_protocol|$ssl_cipher|$ssl_client_verify|$ssl_session_reused|$ssl_server_name|";
        }
    }
    """
)


def _says(target: str, body: str, *headers: str, host: str = "main.example") -> Exchange:
    return Exchange(
        f"{target} {' '.join(headers)}".strip(), get(target, *headers, host=host), body=body.encode()
    )


@exchanges(
    VARIABLES,
    _says(
        "/request/%61?x=%20&y",
        "GET /request/%61?x=%20&y HTTP/1.1|GET|/request/%61?x=%20&y|/request/a|x=%20&y|http||HTTP/1.1",
    ),
    Exchange("request of 1.0", request("HEAD", "/request", version="1.0"), status=200),
    Exchange(
        "request of another method",
        request("PUT", "/request"),
        status=200,
        contains=b"PUT /request HTTP/1.1|PUT",
    ),
    _says("/host", "main.example|Main.Example:1234|main.example|@PORT@|127.0.0.1", host="Main.Example:1234"),
    Exchange("second name", get("/host", host="other.example"), status=200),
    Exchange("no name", get("/host", host="", version="1.0"), status=200),
    Exchange("absolute form", get("http://abs.example:7/host", host="main.example"), status=200),
    Exchange("regex name", get("/sub", host="abc.sub.example"), body=b"abc|main.example"),
    Exchange("client", get("/client"), body=b"127.0.0.1||@CLIENT@"),
    _says("/client", "127.0.0.1|joe|@CLIENT@", "Authorization: Basic am9lOnNlY3JldA=="),
    Exchange("user not basic", get("/client", "Authorization: Bearer x"), status=200),
    Exchange("user not base64", get("/client", "Authorization: Basic ***"), status=200),
    Exchange("binary address", get("/binary"), body=b"\x7f\x00\x00\x01"),
    _says(
        "/headers",
        "1|ua|http://r/|a=1|10.0.0.1",
        "X-One: 1",
        "User-Agent: ua",
        "Referer: http://r/",
        "Cookie: a=1",
        "X-Forwarded-For: 10.0.0.1",
    ),
    Exchange("repeated cookie", get("/headers", "Cookie: a=1", "Cookie: b=2"), contains=b"a=1; b=2"),
    Exchange("repeated for", get("/headers", "X-Forwarded-For: 1", "X-Forwarded-For: 2"), contains=b"1, 2"),
    Exchange(
        "repeated other",
        get("/headers", "X-One: 1", "X-One: 2"),
        contains=b"1, 2|",
        differs="joined since nginx 1.23.0; nginx 1.22 gives the first",
    ),
    Exchange(
        "lengths", request("POST", "/lengths", "Content-Type: text/y", body=b"abc"), contains=b"3|text/y|"
    ),
    Exchange("no lengths", get("/lengths"), status=200),
    _says("/cookies", "1|2|3|", "Cookie: a=1; B=2;long_name=3"),
    Exchange("cookies, case", get("/cookies", "Cookie: A=1; b=2"), status=200),
    Exchange("cookies, quoted", get("/cookies", 'Cookie: a="1 2"; B=='), status=200),
    _says("/args?a=1&b=2&A_b=3", "1|2|3|"),
    _says("/args?A=1&B=%20x&a=2", "1|%20x||"),
    _says("/args?a&b=&a=2", "2|||"),
    _says("/args?xa=1&;a=3", "|||"),
    Exchange("paths", get("/paths/x"), contains=b"/root|"),
    Exchange("paths of an alias", get("/aliased/x/y"), contains=b"/root/deeper/x/y"),
    _says("/capture/one/two/", "one|two|two|"),
    _says("/braces?a=1", "1b /bracesc"),
    Exchange("first of a connection", get("/connection"), body=b"1|.|"),
    Exchange(
        "times",
        get("/times"),
        status=200,
        mask=(r"\d+\.\d{3}", r"\d{4}-\d\d-\d\dT[\d:]+", r"\d\d/\w{3}/\d{4}:[\d:]+"),
    ),
    Exchange("request id", get("/id"), status=200, body=b"*", mask=(r"\b[0-9a-f]{32}\b",)),
    _says("/rate", "0"),
    _says("/setrate?a=40k", "40960"),
    _says("/setrate?a=x", "0"),
    _says("/setrate", "0"),
    _says("/nameless?=x&a", "[][][][]"),
    _says("/status", "404"),
    Exchange("status before an answer", get("/status2"), status=200),
    Exchange("program", get("/nginx"), status=200, mask=(r"^[\d.]+\|\d+",)),
    Exchange("body", request("POST", "/body", body=b"some body"), forwarded=("X-Body: some body",)),
    Exchange("proxy", get("/proxy", "X-Forwarded-For: 1.1.1.1"), forwarded=("|1.1.1.1, 127.0.0.1",)),
    Exchange(
        "upstream",
        get("/upstream"),
        backend=reply(201, "hello", "X-One: 1", "Set-Cookie: a=7; Path=/", "Content-Type: text/z"),
        has={"X-Fields": "1||7", "X-Sent": "49", "X-Upstream": "127.0.0.1:@BACKEND@|201|5"},
        mask=(SECONDS,),
        differs="while the head is made nginx knows neither the bytes sent nor the length; they are known here",
    ),
    _says("/none", "||||"),
    _says("/secure", "|||||"),
)
def test_variables(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


LOGS = Group(
    r"""
    log_format parts '[$request_method][$server_protocol][$uri][$request_uri][$request]';
    log_format plain '[$request] $status $body_bytes_sent "$http_referer" "$http_user_agent" $http_x_one';
    log_format json escape=json '{"uri":"$uri","agent":"$http_user_agent","none":"$http_none"}';
    log_format none escape=none '$http_user_agent|$http_none';
    log_format own escape=default 'a'  'b$arg_x'
                   ' c ${arg_y}d';
    log_format sizes
        '$bytes_sent $body_bytes_sent $request_length $connection_requests $pipe $request_completion';
    log_format upstream
        '$upstream_addr $upstream_status $upstream_response_length $upstream_response_time $request_time';
    log_format times '$time_local|$time_iso8601|$msec';
    log_format sent '$sent_http_content_type|$sent_http_x_own|$sent_http_location';
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        location /plain { access_log @PREFIX@/plain.log plain; return 200 "$arg_t"; }
        location /json { access_log @PREFIX@/json.log json; return 200 "x"; }
        location /none { access_log @PREFIX@/none.log none; return 200 "x"; }
        location /own { access_log @PREFIX@/own.log own; return 200 "x"; }
        location /sizes { access_log @PREFIX@/sizes.log sizes; server_tokens off; return 200 "0123456789"; }
        location /combined { access_log @PREFIX@/combined.log; return 200 "x"; }
        location /combinedtoo { access_log @PREFIX@/combined.log combined; return 404 "x"; }
        location /upstream { access_log @PREFIX@/upstream.log upstream; proxy_pass http://@BACKEND@; }
        location /dead { access_log @PREFIX@/upstream.log upstream; proxy_pass http://@DEAD@; }
        location /times { access_log @PREFIX@/times.log times; return 200 "x"; }
        location /if { access_log @PREFIX@/if.log plain if=$arg_log; return 200 "x"; }
        location /two { access_log @PREFIX@/one.log plain; access_log @PREFIX@/two.log json; return 200 "x"; }
        location /name { access_log @PREFIX@/by-$arg_name.log plain; return 200 "x"; }
        location /off { access_log @PREFIX@/never.log plain; access_log off; return 200 "x"; }
        location /sent { access_log @PREFIX@/sent.log sent; add_header X-Own 1; return 301 /x; }
        location /file { access_log @PREFIX@/file.log plain; alias @ROOT@/file; }
        location /page { access_log @PREFIX@/page.log plain; error_page 404 /target; return 404; }
        location /target { access_log @PREFIX@/target.log plain; return 200 "target"; }
        location /444 { access_log @PREFIX@/444.log plain; return 444; }
        location /buffered { access_log @PREFIX@/buffered.log plain buffer=4k flush=50ms; return 200 "x"; }
    }
    server {
        listen 127.0.0.1:@PORT_BAD@;
        access_log @PREFIX@/bad.log plain;
        access_log @PREFIX@/parts.log parts;
        location / { return 200 "x"; }
    }
    """,
    {"file": b"0123456789"},
)


def _logs(id: str, log: str, line: str, sent: bytes, **more: tuple[str, ...]) -> Exchange:
    return Exchange(id, sent, log=f"{log}.log", logged=line, mask=more.get("mask", ()))


@exchanges(
    LOGS,
    _logs(
        "plain",
        "plain",
        '[GET /plain?t=abc HTTP/1.1] 200 3 "http://r/" "a b" -',
        get("/plain?t=abc", "Referer: http://r/", "User-Agent: a b"),
    ),
    _logs(
        "quotes",
        "plain",
        r'[GET /plain?t=\x22 HTTP/1.1] 200 1 "-" "say \x22hi\x22 \x5C" -',
        get('/plain?t="', 'User-Agent: say "hi" \\'),
    ),
    _logs(
        "high bytes",
        "plain",
        r'[GET /plain HTTP/1.1] 200 0 "-" "\xE9" -',
        lines("GET /plain HTTP/1.1", "Host: l", "User-Agent: \xe9"),
    ),
    _logs("tab", "plain", r'[GET /plain HTTP/1.1] 200 0 "-" "a\x09b" -', get("/plain", "User-Agent: a\tb")),
    _logs("head", "plain", '[HEAD /plain HTTP/1.1] 200 0 "-" "-" -', request("HEAD", "/plain")),
    _logs(
        "json",
        "json",
        r'{"uri":"/json/\"x\"","agent":"a \"b\" \\ \t.","none":""}',
        get('/json/"x"', 'User-Agent: a "b" \\ \t.'),
    ),
    _logs("none", "none", 'a "b" \\|', get("/none", 'User-Agent: a "b" \\')),
    _logs("joined strings", "own", "ab1 c 2d", get("/own?x=1&y=2")),
    _logs("joined strings, empty", "own", "ab- c -d", get("/own")),
    Exchange("sizes", get("/sizes"), log="sizes.log", mask=(r"^\d+(?= 10 )",)),
    Exchange(
        "sizes of a post", request("POST", "/sizes", body=b"abc"), log="sizes.log", mask=(r"^\d+(?= 10 )",)
    ),
    Exchange("sizes of a head", request("HEAD", "/sizes"), log="sizes.log", mask=(r"^\d+(?= 0 )",)),
    Exchange(
        "combined",
        get("/combined", "User-Agent: ua"),
        log="combined.log",
        mask=(r"\[[^]]+\]",),
        logged='"GET /combined HTTP/1.1" 200 1 "-" "ua"',
    ),
    Exchange(
        "combined, user",
        get("/combinedtoo", "Authorization: Basic am9lOng="),
        log="combined.log",
        mask=(r"\[[^]]+\]",),
        logged="127.0.0.1 - joe *",
    ),
    _logs("upstream", "upstream", "127.0.0.1:@BACKEND@ 200 5 * *", get("/upstream"), mask=(SECONDS,)),
    _logs("no upstream", "upstream", "127.0.0.1:@DEAD@ 502 0 * *", get("/dead"), mask=(SECONDS,)),
    Exchange(
        "times",
        get("/times"),
        log="times.log",
        mask=(SECONDS, r"\d{4}-\d\d-\d\dT[\d:]+", r"\d\d/\w{3}/\d{4}:[\d:]+"),
        logged="* ",
    ),
    _logs("condition met", "if", '[GET /if?log=1 HTTP/1.1] 200 1 "-" "-" -', get("/if?log=1")),
    Exchange("condition not met", get("/if?log=0") + get("/if?log="), methods=("GET", "GET")),
    _logs("first of two", "one", '[GET /two HTTP/1.1] 200 1 "-" "-" -', get("/two")),
    _logs("second of two", "two", '{"uri":"/two"', get("/two")),
    _logs("variable in the path", "by-abc", "[GET /name?name=abc HTTP/1.1] 200", get("/name?name=abc")),
    _logs("sent fields", "sent", "text/html|1|http://localhost:@PORT@/x", get("/sent")),
    _logs("file", "file", '[GET /file HTTP/1.1] 200 10 "-" "-" -', get("/file")),
    _logs("part of a file", "file", '[GET /file HTTP/1.1] 206 3 "-" "-" -', get("/file", "Range: bytes=0-2")),
    _logs("error page", "target", '[GET /page HTTP/1.1] 404 6 "-" "-" -', get("/page")),
    _logs("444", "444", '[GET /444 HTTP/1.1] 444 0 "-" "-" -', get("/444")),
    _logs("buffered", "buffered", '[GET /buffered HTTP/1.1] 200 1 "-" "-" -', get("/buffered")),
    Exchange(
        "a path that cannot be decoded", get("/%zz"), port="PORT_BAD",
        log="parts.log", logged="[GET][HTTP/1.1][][-][GET /%zz HTTP/1.1]",
    ),
    Exchange(
        "a path that leads out", get("/../x"), port="PORT_BAD",
        log="parts.log", logged="[GET][HTTP/1.1][][-][GET /../x HTTP/1.1]",
    ),
    Exchange(
        "bad request",
        lines("GET /x HTTP/1.1"),
        port="PORT_BAD",
        log="bad.log",
        logged="[GET /x HTTP/1.1] *",
        mask=(r"400 \d+",),
    ),
    Exchange(
        "bad line", b"nonsense\r\n\r\n", port="PORT_BAD", methods=("GET",), log="bad.log", mask=(r"400 \d+",)
    ),
    Exchange("pipelined", get("/plain?t=1") + get("/plain?t=2"), methods=("GET", "GET"), log="plain.log"),
)
def test_access_logs(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
