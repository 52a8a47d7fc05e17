"""Browsers by what they say of themselves."""

from __future__ import annotations

from tests.parity.exchange import Exchange, get
from tests.parity.harness import Group, Servers, exchanges

AGENTS = {
    "opera 7": "Opera/7.50 (X11; FreeBSD i386; U)  [en]",
    "opera 8": "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0; en) Opera 8.0",
    "opera 9": "Opera/9.01 (X11; FreeBSD 6 i386; U; en)",
    "opera 5000": "Opera/5000.1 (X11)",
    "msie 5": "Mozilla/4.0 (compatible; MSIE 5.5; Windows NT 5.1)",
    "msie 6": "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)",
    "msie 10": "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2)",
    "msie early": "MSIE 6.0; but this is too early, it is looked for further behind",
    "msie alone": "Mozilla/4.0 (compatible; MSIE ",
    "msie short": "Mozilla/4.0 (compatible; MSIE 6",
    "gecko 1.0": "Mozilla/5.0 (X11; U; Linux i686; en-US; rv:1.0.0) Gecko/20020610",
    "gecko 1.8": "Mozilla/5.0 (X11; U; FreeBSD i386; en-US; rv:1.8.0.5) Gecko/20060729 Firefox/1.5.0.5",
    "gecko 1.0.1": "Mozilla/5.0 (X11; U; Linux i686; en-US; rv:1.0.1) Gecko",
    "safari": "Mozilla/5.0 (Macintosh; U; PPC Mac OS X; ru-ru) AppleWebKit/125.2 (KHTML, like Gecko) Safari/125.7",
    "safari 413": "Mozilla/5.0 (SymbianOS/9.1; U; en-us) AppleWebKit/413 (KHTML, like Gecko) Safari/413",
    "konqueror": "Mozilla/5.0 (compatible; Konqueror/3.1; Linux)",
    "konqueror 3.5": "Mozilla/5.0 (compatible; Konqueror/3.5; FreeBSD) KHTML/3.5.1 (like Gecko)",
    "netscape 4": "Mozilla/4.72 [en] (X11; U; Linux)",
    "netscape 3": "Mozilla/3.0 (Win16; I)",
    "netscape short": "Mozilla/4.72 ",
    "netscape 0": "Mozilla/0.9 something old",
    "lynx": "Lynx/2.8.5rel.1 libwww-FM/2.14",
    "links": "Links (2.1pre15; FreeBSD 5.3-RELEASE i386; 80x25)",
    "curl": "curl/7.88.1",
    "no version": "Opera x",
    "many digits": "Opera/99999999999999 (X)",
    "many parts": "Mozilla/5.0 (X; rv:1.0.0.0.0.0.0.1) G",
    "empty": "",
}  # fmt: skip
PLACES = ("none", "modern", "unlisted", "both", "ancient", "netscape", "values", "values/inner", "inherits", "inherits/overrides")

BROWSERS = Group(
    r"""
    map $msie $internet_explorer { default "$modern_browser|$ancient_browser|$msie"; }
    server {
        listen 127.0.0.1:@PORT@;
        location /none { return 200 "$internet_explorer"; }
        location /modern {
            modern_browser msie 6.0; modern_browser gecko 1.0.1; modern_browser SAFARI 413; modern_browser konqueror 3.5;
            return 200 "$internet_explorer";
        }
        location /unlisted { modern_browser unlisted; return 200 "$internet_explorer"; }
        location /both {
            modern_browser unlisted; modern_browser opera 8.0; modern_browser msie 5.5; ancient_browser Links Lynx netscape4;
            return 200 "$internet_explorer";
        }
        location /ancient { ancient_browser Lynx; ancient_browser curl; modern_browser unlisted; return 200 "$internet_explorer"; }
        location /netscape { ancient_browser netscape4; modern_browser unlisted; return 200 "$internet_explorer"; }
        location /values {
            modern_browser gecko 1.8; modern_browser_value new; ancient_browser_value old; modern_browser_value newer;
            return 200 "$internet_explorer";
            location /values/inner { modern_browser_value ""; return 200 "$internet_explorer"; }
        }
        location /inherits {
            modern_browser opera 9.0; modern_browser unlisted; ancient_browser curl;
            location /inherits/overrides { modern_browser opera 7.0; return 200 "$internet_explorer"; }
            return 200 "$internet_explorer";
        }
    }
    """,
)


@exchanges(
    BROWSERS,
    *(
        Exchange(f"{place}, {name}", get(f"/{place}", f"User-Agent: {agent}"), status=200)
        for place in PLACES
        for name, agent in AGENTS.items()
    ),
    *(Exchange(f"{place}, no agent", get(f"/{place}"), status=200) for place in PLACES),
)
def test_browsers(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
