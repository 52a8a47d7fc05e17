"""JSON Web Keys and Tokens: what `auth_jwt` and `auth_oidc` have in common.

    keys.py        JSON Web Key Sets (RFC 7517), and the algorithms that each key may be used with
    token.py       a compact token parsed and verified (RFC 7515)
    claims.py      what it says, as values of variables

What keeps a token from being accepted by mistake (RFC 8725):

* the algorithm is one that the *key* allows: a public key is never taken for the secret of an HMAC, and `none` fits no key;
* a token that names its key (`kid`) is only tried with keys of that name, or with keys that have none;
* `crit` is refused, as no extension is understood.

Signatures are verified by `joserfc` and `cryptography`. A client sends the same token again and again: what was verified is
stored by a keyed hash of the token, as long as the keys are the same; `exp` and `nbf` are looked at each time.
"""
