"""What is wrong with a configuration is told in nginx's words and at nginx's place: `nginx -t` beside Portico's load."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from portico.config.diagnostics import Diagnostics
from portico.program import LoadFailed, Source, load_program
from tests.processes import NGINX

pytestmark = pytest.mark.skipif(not os.access(NGINX, os.X_OK), reason=f"{NGINX} is missing: apt-get install nginx-light")

REQ = "limit_req_zone $host zone=a:1m rate=1r/s; "
CONN = "limit_conn_zone $host zone=c:1m; "
LOOP = "map $b $a { } map $a $b { }"

HTTP_ROWS = f"""
http2_recv_buffer_size 16;
upstream a {{ least_conn; ip_hash; server 127.0.0.1:1; }}
upstream a {{ hash $uri; random; hash $host; server 127.0.0.1:1; }}
proxy_cache_path /tmp/portico_a keys_zone=a:1m; proxy_cache_path /tmp/portico_a keys_zone=b:1m;
map $nope $b {{}}
map $host $b {{ default a; default b; }}
map $host $b {{ a b c; }}
map $host $b {{ a; }}
map $host $b {{ default; }}
map $host b {{ }}
map $host {{ }}
map $host $uri {{ }}
map $host $b {{ a 1; a 2; }}
map $host $b {{ a 1; A 2; }}
map $host $b {{ a $nope; }}
map $host $b {{ include /none/at/all; }}
map $host $b {{ hostnames; *.a 1; *.a 2; }}
map $host $b {{ hostnames; a.*.b 1; }}
map $host $b {{ hostnames; "" 1; }}
map $host $b {{ }} map $host $b {{ }}
map $host $b {{ volatile x; }}
map $host $b {{ *.a 1; hostnames; *.a 2; }}
map $host $b {{ *.a 1; hostnames; *.a 2; *.a 3; }}
map $host $b {{ .a 1; hostnames; .a 2; a 3; }}
map $host $b {{ a 1; hostnames; .a 2; }}
map $host $b {{ a.*.b 1; hostnames; hostnames; volatile; volatile; }}
map $host $b {{ hostnames 1; volatile 2; default 3; default 4; }}
map $uri $x {{ ~^(?<host>.*)$ 1; }}
{LOOP}
map_hash_max_size x;
geo $a {{ 1.2.3.4/33 x; }}
geo $a {{ ::1/129 x; }}
geo $a {{ x y; }}
geo $a {{ 1.2.3.4/24 x; }}
geo $a {{ 1.2.3.4 a b; }}
geo $a {{ 1.2.3.4 x; 1.2.3.4 y; }}
geo $a {{ 1.2.3.0/24 x; ranges; }}
geo $a {{ delete x; }}
geo $a {{ proxy 1.2.3.4; proxy_recursive; ranges; ranges; 1.2.3.4-1.2.3.5 x; ranges; }}
geo $a {{ delete 1.2.3.4; ranges; }}
geo $a {{ default x; ranges; }}
geo $a {{ ranges x; }}
geo $a {{ volatile; }}
geo $a {{ delete 1.2.3.4; }}
geo $a {{ proxy x; }}
geo $a {{ default; }}
geo $a {{ include /none/at/all; }}
geo a {{ }}
geo $nope $a {{ }}
geo $a {{ ranges; 1.2.3.4 x; }}
geo $a {{ ranges; 1.2.3.0/24 x; }}
geo $a {{ ranges; ::1-::2 x; }}
geo $a {{ ranges; 1.2.3.4-1.2.3.3 x; }}
geo $a {{ ranges; default x; default y; }}
geo $a {{ ranges; delete 1.2.3.4-1.2.3.9; }}
geo $a {{ ranges; delete 1.2.3.4; }}
geo $a {{ ranges; 1.1.1.1-1.1.1.9 a; 1.1.1.1-1.1.1.9 b; }}
geo $a {{ ranges; 1.1.1.1-1.1.1.2 a; 1.1.1.4-1.1.1.5 b; 1.1.1.0-1.1.1.9 c; }}
geo $a {{ ranges; 10.1.0.0-10.1.255.255 a; 10.0.0.0-10.255.255.255 b; }}
geo $a {{ ranges; 10.1.0.5-10.1.255.255 a; 10.0.0.0-10.255.255.255 b; }}
geo $a {{ ranges; 10.1.0.5-10.1.0.9 a; 10.1.0.1-10.1.0.5 b; }}
geo $a {{ ranges; 10.1.0.5-10.1.0.9 a; 10.1.0.9-10.1.0.10 b; }}
geo $a {{ ranges; 10.1.0.5-10.1.0.9 a; 10.1.0.8-10.1.0.9 b; 10.1.0.5-10.1.0.6 c; 10.1.0.0-10.1.0.4 d; delete 10.1.0.8-10.1.0.8; }}
split_clients $host $a {{ 50% a; 51% b; }}
split_clients $host $a {{ * a; 50% b; }}
split_clients $host $a {{ * a; * b; }}
split_clients $host $a {{ 100% a; * c; }}
split_clients $host $a {{ 50 a; }}
split_clients $host $a {{ 50% a; volatile; }}
split_clients $host $a {{ default a; }}
split_clients $host $a {{ 0% a; }}
split_clients $host $a {{ 0.001% a; }}
split_clients $host $a {{ 0.01% a; .5% b; 50.% c; }}
split_clients $host $a {{ .% a; }}
split_clients $host $a {{ -1% a; }}
split_clients $host $a {{ 1x% a; }}
split_clients $host $a {{ 50.5.5% a; }}
{REQ}limit_req_zone $host zone=a:2m rate=1r/s;
{REQ}limit_req_zone $host zone=a:1m rate=1r/s;
{REQ}limit_conn_zone $host zone=a:1m;
limit_req_zone $host zone=a:1k rate=1r/s;
limit_req_zone $host zone=a rate=1r/s;
limit_req_zone $host zone=a:x rate=1r/s;
limit_req_zone $host zone=:1m rate=1r/s;
limit_req_zone $host zone=a:1m rate=0r/s;
limit_req_zone $host zone=a:1m rate=1r/h;
limit_req_zone $host zone=a:1m rate=1.5r/s;
limit_req_zone $host zone=a:1m;
limit_req_zone $nope zone=a:1m rate=1r/s;
limit_req_zone "" zone=a:1m rate=1r/s;
{CONN}limit_conn_zone $host zone=c:1m;
limit_conn_zone $host zone=c:1k;
limit_conn_zone $host x;
server {{ listen 127.0.0.1:8080 proxy_protocol=on; }}
server {{ listen a..b:80; }}
server {{ listen 127.0.0.1:٣; }}
server {{ listen ٣; }}
server {{ listen {"x" * 64}:80; }}
server {{ listen 127.0.0.1:99999999999999999999; }}
server {{ listen [::x]:80; }}
server {{ listen [é]:80; }}
server {{ listen [1.2.3.4]:80; }}
server {{ listen 127.0.0.1:8080 backlog=0; }}
server {{ listen 127.0.0.1:8080 backlog=٣; }}
server {{ listen 127.0.0.1:8080 backlog=99999999999; }}
server {{ listen 127.0.0.1:8080 backlog=9999999999999999999; }}
server {{ listen 127.0.0.1:8080 rcvbuf=x; }}
server {{ listen 127.0.0.1:8080 sndbuf=99999999999999999999; }}
server {{ listen 127.0.0.1:8080 rcvbuf=99999999999 sndbuf=0; }}
server {{ listen 127.0.0.1:8080 fastopen=x; }}
server {{ listen 127.0.0.1:8080 fastopen=0; }}
server {{ listen 127.0.0.1:8080 ipv6only=x; }}
server {{ listen 127.0.0.1:8080 ipv6only=ox; }}
server {{ listen 127.0.0.1:8080 ipv6only=off; }}
server {{ listen 127.0.0.1:8080 so_keepalive=5; }}
server {{ listen 127.0.0.1:8080 so_keepalive=:2; }}
server {{ listen 127.0.0.1:8080 so_keepalive=0:0:0; }}
server {{ listen 127.0.0.1:8080 so_keepalive=1:2:3:4; }}
server {{ listen 127.0.0.1:8080 so_keepalive=1:2:٣; }}
server {{ listen 127.0.0.1:8080; server_name ...; }}
server {{ listen 127.0.0.1:8080; server_name ...; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name ..; }}
server {{ listen 127.0.0.1:8080; server_name ..; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name .; }}
server {{ listen 127.0.0.1:8080; server_name .; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name a..b; }}
server {{ listen 127.0.0.1:8080; server_name a..b; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name *.a.*; }}
server {{ listen 127.0.0.1:8080; server_name *.a.*; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name a.*.b; }}
server {{ listen 127.0.0.1:8080; server_name a.*.b; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name a*; }}
server {{ listen 127.0.0.1:8080; server_name a*; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name a*b; }}
server {{ listen 127.0.0.1:8080; server_name a*b; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name *; }}
server {{ listen 127.0.0.1:8080; server_name *; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name *.; }}
server {{ listen 127.0.0.1:8080; server_name *.; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name ..a; }}
server {{ listen 127.0.0.1:8080; server_name ..a; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name *a; }}
server {{ listen 127.0.0.1:8080; server_name *a; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name *.a..b; }}
server {{ listen 127.0.0.1:8080; server_name *.a..b; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name a..*; }}
server {{ listen 127.0.0.1:8080; server_name a..*; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name .a*; }}
server {{ listen 127.0.0.1:8080; server_name .a*; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name .a.b*; }}
server {{ listen 127.0.0.1:8080; server_name .a.b*; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name *.*; }}
server {{ listen 127.0.0.1:8080; server_name *.*; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name ~; }}
server {{ listen 127.0.0.1:8080; server_name ~; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name ~a/b; }}
server {{ listen 127.0.0.1:8080; server_name ~a/b; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name a/b; }}
server {{ listen 127.0.0.1:8080; server_name a/b; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name a~b; }}
server {{ listen 127.0.0.1:8080; server_name a~b; }} server {{ listen 127.0.0.1:8080; server_name x; }}
server {{ listen 127.0.0.1:8080; server_name ... ~(a); }}
server {{ listen 127.0.0.1:8080; server_name ~(a) ... ~b; }}
server {{ listen 127.0.0.1:8080; server_name $hostname $HOSTNAME; }} server {{ listen 127.0.0.1:8080; }}
server {{ listen 127.0.0.1:8080; }} server {{ listen 127.0.0.1:8080; }}
server {{ listen 127.0.0.1:8080; listen 8080; }} server {{ listen 127.0.0.1:8080; server_name a; }} server {{ listen 8080; }}
server {{ listen 127.0.0.1:8080; server_name a; }} server {{ listen 127.0.0.1:8080; server_name b a; }}
upstream u {{ server 127.0.0.1:٣; }}
upstream u {{ server [::x]:80; }}
upstream u {{ server [1.2.3.4]:80; }}
upstream u {{ server 127.0.0.1 weight=٣; }}
upstream u {{ server 127.0.0.1 max_fails=99999999999999999999; }}
upstream u {{ server 127.0.0.1; keepalive ٣; }}
server {{ listen 127.0.0.1:8080; error_page ٣00 /x; }}
server {{ listen 127.0.0.1:8080; error_page 404 =٣ /x; }}
server {{ listen 127.0.0.1:8080; allow 1.2.3.4/٣; }}
server {{ listen 127.0.0.1:8080; access_log syslog:server=a..b; }}
server {{ listen 127.0.0.1:8080; access_log syslog:server=127.0.0.1:٣; }}
""".strip().split("\n")

SERVER_ROWS = """
listen 127.0.0.1:18081-18080;
listen 127.0.0.1:18081-;
listen 127.0.0.1:-18081;
listen 127.0.0.1:18081-x;
listen 18081-18080;
listen 18081-99999;
listen [::1]:18081-18080;
listen -18081;
fastcgi_temp_path fcgi 4 4 2;
fastcgi_temp_path fcgi 4 4 3;
fastcgi_temp_path fcgi 10;
fastcgi_temp_path fcgi 0 1;
uwsgi_temp_path bodies 1 2 3 1;
scgi_temp_path;
location / { if ($host) { fastcgi_temp_path /tmp; } }
disable_symlinks maybe;
disable_symlinks from=/x;
disable_symlinks on if_not_owner;
disable_symlinks from=/x from=/y;
disable_symlinks off from=/x;
disable_symlinks from=/x on; location / { disable_symlinks off; disable_symlinks on; }
disable_symlinks on from=$nope;
disable_symlinks on from=;
resolver valid=1s;
resolver 127.0.0.1 valid=x;
resolver 127.0.0.1 ipv6=maybe;
resolver 127.0.0.1:x;
resolver 127.0.0.1:0;
resolver_timeout x;
connection_pool_size 100;
connection_pool_size 520;
request_pool_size 257;
request_pool_size x;
output_buffers 0 4k;
output_buffers 2 0;
output_buffers 2;
postpone_output x;
aio maybe;
aio threadsy;
aio threads=nope;
directio x;
directio_alignment 1t;
gzip_window 3k;
gzip_window 64k;
gzip_hash 256;
send_lowat 1k;
send_lowat x;
http2_pool_size 1;
http2_chunk_size 0;
http2_body_preread_size 3g;
http2_streams_index_size 3;
http2_max_requests 5;
types { a x; b x; }
types { a x; } types { b x; }
keepalive_disable x;
keepalive_disable none none;
proxy_next_upstream error; proxy_next_upstream timeout;
proxy_next_upstream error; proxy_next_upstream error bad;
gzip_types a/b; gzip_types c/d a/b;
set $document_root x;
set $host x;
set $limit_req_status x;
set $realip_remote_addr x;
set x y;
set $ y;
set $args a; set $http_foo b; set $arg_x c; set $cookie_a d; set $limit_rate 3k; set $sent_http_x e; set $1 f;
rewrite ^/(?<uri>.*)$ /x;
rewrite ^/(?<limit_req_status>.*)$ /x;
rewrite ^/(?<arg_x>.*)$ /x; rewrite ^/(?<arg_x>.*)$ /x; location ~ (?<arg_x>.) { } set $arg_x 1; return 200 $arg_x;
rewrite ^/(?<http_foo>.*)$ /$http_foo;
location ~ ^/(?<host>.*)$ { }
server_name ~^(?<request_method>.*)$;
if ($uri ~ (?<remote_addr>.)) { }
set $a $b; set $b $a;
set $A 1; return 200 $a;
set $a-b 1;
if ($nope) { }
if (-f$uri) {}
if (-f /a /b) {}
if (! -f /a) {}
rewrite ^(.*)$ $1 last break;
rewrite "" /x;
rewrite "^/{2}" /x;
return 99;
return 204 x;
auth_request off;
auth_request /a /b;
auth_request_set a b;
auth_request_set $uri b;
if ($host == a) {}
if ($host = $nope) {}
if (-f) {}
if (-q $uri) {}
if $host {}
if (!$host) {}
if (a = b) {}
if {}
if ($host) { if ($host) {} }
if ($host) { proxy_pass http://127.0.0.1; }
if ($host) { root /a; }
if ($request_method = POST) { limit_rate 1k; }
location / { if ($host) { root /a; set $x 1; limit_rate 1k; proxy_pass http://127.0.0.1; } }
rewrite a b c;
rewrite a "";
rewrite a;
rewrite a b last last;
rewrite a ?;
rewrite a $1$2;
rewrite (a) $nope;
break x;
return;
return 200 a b;
return x;
return 1000;
return -1;
return /a;
rewrite_log x;
uninitialized_variable_warn x;
limit_req zone=b;
limit_req zone=c;
limit_req zone=a burst=0;
limit_req zone=a burst=x;
limit_req zone=a delay=0;
limit_req zone=a nodelay delay=3;
limit_req zone=a burst=5 delay=9;
limit_req zone=a; limit_req zone=a;
limit_req burst=3;
limit_req zone=a x;
limit_req_log_level crit;
limit_req_dry_run x;
limit_conn c 0;
limit_conn c x;
limit_conn c 65536;
limit_conn c 1; limit_conn c 2;
limit_conn b 1;
limit_conn a 1;
limit_conn c;
limit_rate x;
limit_rate_after x;
proxy_limit_rate x;
proxy_bind x;
proxy_bind 127.0.0.1:0;
proxy_bind 127.0.0.1:65536;
proxy_bind 127.0.0.1: ;
proxy_bind [::1;
proxy_bind off transparent;
proxy_bind 127.0.0.1 opaque;
proxy_bind x opaque;
proxy_bind $nope;
proxy_bind off; proxy_bind 127.0.0.1;
limit_rate $nope;
limit_except GET { }
location / { limit_except { deny all; } }
location / { limit_except FOO { deny all; } }
location / { limit_except GET { root /; } }
allow x;
allow 1.2.3.4/33;
allow 1.2.3.4/24;
allow 1.2.3.4/255.255.255.0;
deny unix:;
deny unix;
allow all all;
allow ::1;
allow [::1];
satisfy some;
auth_basic;
auth_basic_user_file;
auth_delay x;
auth_delay -1;
set_real_ip_from 1.2.3.4/24;
set_real_ip_from unix:;
real_ip_header;
real_ip_header a b;
real_ip_recursive x;
valid_referers;
valid_referers none "";
valid_referers a.*.b;
secure_link_md5 $nope;
modern_browser gecko x;
modern_browser gecko 1.0a;
modern_browser nothing 1.0;
modern_browser;
ancient_browser;
dav_methods;
dav_methods get;
dav_methods put PUT;
dav_methods off put;
dav_access group:rwx;
dav_access everybody:r;
dav_access;
create_full_put_path yes;
min_delete_depth x;
ssi yes;
ssi_types;
ssi_types text/html text/css text/css;
ssi_value_length x;
ssi_silent_errors 1;
ssi_last_modified;
ssi_min_file_chunk x;
subrequest_output_buffer_size x;
sub_filter "" x;
sub_filter a;
sub_filter_once x;
sub_filter_types;
add_before_body;
mirror;
mirror_request_body x;
userid x;
userid_name "a b";
userid_expires x;
userid_mark aa;
userid_mark !;
userid_p3p;
userid_service x;
empty_gif;
location / { empty_gif x; }
stub_status x y;
autoindex x;
autoindex_format x;
random_index x;
add_header a;
add_header a b c;
add_trailer a b c;
expires x;
expires @25h;
expires modified @1h;
expires $nope;
expires modified;
""".strip().split("\n")

LINE = re.compile(r"\[(emerg|warn)\] (?:\d+#\d+: )?(.*)")


def told(text: str) -> list[str]:
    """Messages with their places, in the order given."""
    return [f"{found.group(1)}: {found.group(2)}" for found in LINE.finditer(text)]


def of_portico(conf: Path) -> list[str]:
    diagnostics: Diagnostics
    try:
        program = load_program(Source(f"{conf.parent}/", str(conf), "", ""), None)
        diagnostics = program.load.diagnostics
        program.close()
    except LoadFailed as failed:
        diagnostics = failed.diagnostics
    return told(diagnostics.render())


def of_nginx(conf: Path) -> list[str]:
    return told(subprocess.run([NGINX, "-t", "-q", "-p", str(conf.parent), "-c", str(conf)], capture_output=True, text=True).stderr)


def _write(folder: Path, http: str) -> Path:
    conf = folder / "nginx.conf"
    text = f"pid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{http}\n}}\n"
    conf.write_bytes(text.encode("utf-8", "surrogateescape"))
    return conf


def _same(conf: Path) -> None:
    assert_same(of_nginx(conf), of_portico(conf))


def assert_same(theirs: list[str], ours: list[str]) -> None:
    """Compares the messages of nginx and of Portico, with their places as far as nginx has them."""
    if theirs and " in /" not in theirs[-1]:  # nginx names no place for what it finds when all is read
        ours = [message.partition(" in /")[0] for message in ours]
    assert ours == theirs


@pytest.mark.parametrize("text", HTTP_ROWS)
def test_in_http(tmp_path: Path, text: str) -> None:
    _same(_write(tmp_path, text))


@pytest.mark.parametrize("text", SERVER_ROWS)
def test_in_a_server(tmp_path: Path, text: str) -> None:
    _same(_write(tmp_path, f"{REQ}{CONN}\nserver {{ listen 127.0.0.1:8080;\n{text} }}"))


@pytest.mark.parametrize(
    "text", ["listen unix:%s/\udcff;", "types { text/html \udcff; \udcfe html; }", "default_type \udcff;", "server_name \udcff;"]
)
def test_bytes_that_are_not_utf_8(tmp_path: Path, text: str) -> None:
    listen = "" if "listen" in text else "listen 127.0.0.1:8080; "
    _same(_write(tmp_path, f"server {{ {listen}{text.replace('%s', str(tmp_path))} }}"))
