"""`auth_jwt`: JSON Web Tokens (RFC 7519), with the directives of nginx Plus's ngx_http_auth_jwt_module.

    feature.py     the directives, and the check of one location
    keys.py        JSON Web Key Sets (RFC 7517), and the algorithms that each key may be used with
    token.py       a compact token taken apart and verified (RFC 7515)
    claims.py      what it says, as values of variables

What keeps a token from being accepted by mistake (RFC 8725):

* the algorithm is one that the *key* allows: a public key is never taken for the secret of an HMAC, and `none` fits no key;
* a token that names its key (`kid`) is only tried with keys of that name, or with keys that have none;
* `crit` is refused, as no extension is understood;
* claims are seen by variables only once the signature was right, whatever the phase in which a variable is asked for.

Signatures are verified by `joserfc` and `cryptography`. A client sends the same token again and again: what was verified is
remembered by a keyed hash of the token, as long as the key files are the same; `exp` and `nbf` are looked at each time.
"""
