"""`auth_oidc`: users who sign in at an OpenID Provider, with the directives of nginx Plus's ngx_http_oidc_module.

    directives.py         what the configuration says
    provider.py           one `oidc_provider`, as all parts below know it
    provider_requests.py  requests to the provider, through passing/fetch.py
    discovery.py          its metadata and keys (OpenID Connect Discovery 1.0)
    tokens.py             the token endpoint, ID tokens, the UserInfo endpoint (OpenID Connect Core 1.0)
    sealing.py            what browsers store for us, encrypted
    session.py            a session, and the cookies it is in
    sessions.py           the sessions of one provider
    shared.py             what all workers share about sessions
    own_uris.py           our URIs as browsers see them
    login.py              to the provider and back (authorization code flow with PKCE)
    logout.py             the end of a session
    refresh.py            new tokens for a session
    known_refreshes.py    which refreshes are under way in a worker
    check.py              the check of one location
    feature.py            attaches all this

A session is in the browser's cookies, sealed: any worker can read it, a reload keeps it, nothing fills up. Its key is made when the
configuration is first loaded and lives as long as the supervisor. What must be known of sessions that have ended stands in shared
memory.

Threats, and what keeps them off:

* somebody else's login put under a user's nose (CSRF): `state` is sealed together with a random value that a cookie of the same
  browser has; `nonce` and the PKCE verifier are derived from it, so the code and the ID token belong to this very login;
* a code or a callback sent twice: the random value changes once a login has succeeded, and the provider takes a code once;
* a token for somebody else: issuer, audience, authorized party, nonce, times, and a signature by one of the provider's public keys;
* an open redirect: where to go after a login is a path of the same host, sealed in `state`;
* another provider's response taken for this one's: each provider has its own key, `iss` in the callback must fit (RFC 9207), and
  providers that share a redirect URI on one server are warned of (RFC 9700 section 4.4);
* a provider that sends us elsewhere: its endpoints are asked over TLS as it is itself, no redirect is followed, and time and size are
  bounded;
* a cookie stolen and used after a logout: sessions that were ended are refused;
* secrets in logs: codes and tokens are in no message, and the first thing that happens to a callback is that its query is taken
  out of what logs show of the request.
"""
