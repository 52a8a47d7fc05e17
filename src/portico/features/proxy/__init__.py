"""`proxy_pass` and its family: nginx's ngx_http_proxy_module.

    directives.py   what can be configured
    target.py       where a request goes: scheme, group, URI
    fields.py       the head that the upstream is sent
    answer.py       the upstream's head, made the client's
    rewrite.py      proxy_redirect, proxy_cookie_*
    handler.py      the location's handler that puts them together
    feature.py      building all of it from a location's settings
"""
