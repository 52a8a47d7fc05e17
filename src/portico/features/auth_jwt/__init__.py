"""`auth_jwt`: JSON Web Tokens (RFC 7519), with the directives of nginx Plus's ngx_http_auth_jwt_module.

    feature.py      the directives and variables
    check.py        the check of one location
    key_request.py  keys that a subrequest fetches, cached for `auth_jwt_key_cache`

Keys and tokens themselves are in `jose/`. Claims are seen by variables only once the signature was right, whatever the phase in
which a variable is asked for.
"""
