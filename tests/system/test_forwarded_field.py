"""`forwarded on` and `real_ip_header Forwarded`: what upstreams are told, and whom Portico believes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.parity.wire import Message
from tests.system.proxied import End, Proxied, answer, running

LOCATIONS = {
    "on": "forwarded on;",
    "own": "forwarded on; proxy_set_header Forwarded for=me;",
    "off": "",
}
SERVER = "set_real_ip_from 127.0.0.0/8; real_ip_header Forwarded; location = /who { return 200 $remote_addr:$remote_port; }"


@pytest.fixture(scope="module", params=[SERVER, ""], ids=["trusted", "not trusted"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    made = Proxied(LOCATIONS, server=request.param)
    made.trusting = bool(request.param)  # type: ignore[attr-defined]

    def say(end: End, message: Message) -> None:
        end.send(answer(b" | ".join(value for name, value in message.headers if name.lower() == b"forwarded")))

    for name in LOCATIONS:
        made.upstream(name).serve(say)
    with running(made):
        yield made


def told(proxy: Proxied, target: str, *fields: str) -> str:
    return re.sub(r'for="127\.0\.0\.1:\d+"', "for=LOCAL", proxy.fetch(target, *fields).body.decode())


OWN = "for=LOCAL;host=front.example;proto=http"


def test_the_client_is_told(proxy: Proxied) -> None:
    assert told(proxy, "/on/a") == OWN
    assert told(proxy, "/own/a") == "for=me"
    assert told(proxy, "/off/a") == ""


def test_what_the_client_says_is_believed_of_those_trusted(proxy: Proxied) -> None:
    said = 'for="[2001:db8::1]";proto=https'
    trusting: bool = proxy.trusting  # type: ignore[attr-defined]
    assert told(proxy, "/on/a", f"Forwarded: {said}") == (f"{said}, {OWN}" if trusting else OWN)
    assert told(proxy, "/off/a", f"Forwarded: {said}") == said
    if trusting:
        assert proxy.fetch("/who", f"Forwarded: {said}").body == b"2001:db8::1:"
        assert proxy.fetch("/who", 'Forwarded: for=9.9.9.9, for="1.2.3.4:567"').body == b"1.2.3.4:567"
        assert proxy.fetch("/who", "Forwarded: for=1.2.3.4,").body.startswith(b"127.0.0.1:")  # not the grammar
        assert proxy.fetch("/who", 'Forwarded: for="1.2.3.4, 5.6.7.8"').body.startswith(b"127.0.0.1:")


def test_a_broken_field_is_not_passed_on_as_the_truth(proxy: Proxied) -> None:
    assert told(proxy, "/on/a", "Forwarded: for=1.2.3.4;") == OWN
