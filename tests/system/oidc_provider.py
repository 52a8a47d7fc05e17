"""An OpenID Provider as a process of its own: `oidc-provider-mock` behind TLS, with PKCE, which it lacks, put before its endpoints.

    python -m tests.system.oidc_provider PORT CERTIFICATE KEY SECONDS

SECONDS is how long its tokens last. `/seen` tells which grants it was asked for, and what of the logouts.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import oidc_provider_mock
import werkzeug.serving
from oidc_provider_mock import User

USERS = [
    User(sub="ann", claims={"email": "ann@example.com", "name": "Ann\r\nX-Injected: yes", "groups": ["a", "b"]}),
    User(sub="long", claims={"email": "long@example.com", "name": "n" * 2500}),
    User(sub="huge", claims={"email": "huge@example.com", "noise": [hashlib.sha256(b"%d" % n).hexdigest() for n in range(130)]}),
]


def application(seconds: int) -> flask.Flask:
    """The provider."""
    app = oidc_provider_mock.app(require_nonce=True, access_token_max_age=timedelta(seconds=seconds), user_claims=USERS)
    challenges: dict[str, str] = {}
    seen: list[dict[str, str]] = []

    @app.before_request
    def check_verifier() -> Any:
        if flask.request.path == "/oauth2/end_session":
            seen.append(flask.request.args.to_dict())
        if flask.request.path != "/oauth2/token":
            return None
        form = flask.request.form
        seen.append({"grant": form["grant_type"]})
        challenge = challenges.get(form.get("code", ""))
        if challenge is None:
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
            return flask.jsonify({"error": "invalid_grant"}), 400
        return None

    @app.after_request
    def note_challenge(response: flask.Response) -> flask.Response:
        arguments = flask.request.args
        code = parse_qs(urlsplit(response.headers.get("Location", "")).query).get("code")
        if flask.request.path == "/oauth2/authorize" and code:
            if arguments.get("code_challenge_method") != "S256":
                return flask.Response("PKCE is required", 400)
            challenges[code[0]] = arguments["code_challenge"]
        if flask.request.path == "/.well-known/openid-configuration":
            metadata = response.get_json()
            metadata["code_challenge_methods_supported"] = ["S256"]
            response.set_data(flask.json.dumps(metadata))
        return response

    @app.get("/seen")
    def tell() -> Any:
        return flask.jsonify(seen)

    return app


def main() -> None:
    port, certificate, key, seconds = sys.argv[1:]
    app = application(int(seconds))
    werkzeug.serving.make_server("127.0.0.1", int(port), app, threaded=True, ssl_context=(certificate, key)).serve_forever()


if __name__ == "__main__":
    main()
