"""`proxy_pass` and its directives: nginx's ngx_http_proxy_module.

    directives.py   the families of directives that it shares with other protocols (passing/families.py), and its own
    rewriting.py    proxy_redirect, proxy_cookie_*
    feature.py      a location's handler (passing/handler.py), built from its settings
"""
