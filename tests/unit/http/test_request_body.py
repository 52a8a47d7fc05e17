"""The body of a request, whatever protocol brings it: read whole, as it comes, or thrown away."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.http.loaded import Loaded
from tests.unit.http.server.memory_stream import MemoryStream

import portico.http.server.stream
from portico.http.body import RequestBody
from portico.http.errors import FileFailed, HTTPError
from portico.http.request import Request
from portico.net.reactor import ClientFailed, Task

COMPILED = str(portico.http.server.stream.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Loaded]:
    (tmp_path / "temp").mkdir()
    made = Loaded("client_body_buffer_size 16; client_body_temp_path temp; server { listen 80; }", tmp_path)
    yield made
    made.close()


class Ask:
    """A request whose body comes in pieces, and what a coroutine that reads it came to."""

    def __init__(self, site: Loaded, *pieces: bytes | Exception, ended: bool = True) -> None:
        self.site = site
        self.request: Request = site.request(HEAD)
        self.stream = MemoryStream(site.client, list(pieces), ended)
        self.request.stream = self.stream
        self.body = RequestBody(self.request, self.stream)
        self.request.body = self.body
        self.result: object = None
        self.failure: BaseException | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Task:
        async def work() -> None:
            try:
                self.result = await coroutine
            except Exception as error:
                self.failure = error

        task = self.site.reactor.spawn(work())
        self.stream.take_turns()
        return task


def test_read_whole_into_memory(site: Loaded) -> None:
    ask = Ask(site, b"hello", ended=False)
    task = ask.run(ask.body.read_all())
    assert not task.done and not ask.body.was_read()
    ask.stream.bring(b"world", ended=True)
    assert task.done and ask.failure is None
    assert (ask.body.data, ask.body.length, ask.body.size, ask.body.done) == (b"helloworld", 10, 10, True)


def test_read_whole_into_a_file_past_the_buffer(site: Loaded) -> None:
    ask = Ask(site, b"x" * 16, b"y", b"z" * 5)
    assert ask.run(ask.body.read_all()).done
    body = ask.body
    assert body.data is None and body.file >= 0 and body.length == 22
    assert body.read_file(14, 100) == b"xxyzzzzz"
    assert list((site_folder(ask) / "temp").iterdir()) == []  # a crash leaves nothing behind
    copy = body.copy_for(ask.request)
    body.close()
    assert copy.read_file(16, 1) == b"y" and copy.done and copy.was_read()
    with pytest.raises(FileFailed):
        copy.read_file(22, 1)
    copy.close()


def site_folder(ask: Ask) -> Path:
    """The folder of the site's files."""
    return Path(ask.request.location.core.client_body_temp_path).parent


def test_a_folder_that_is_not_there(site: Loaded) -> None:
    ask = Ask(site, b"x" * 17)
    (site_folder(ask) / "temp").rmdir()
    ask.run(ask.body.read_all())
    assert isinstance(ask.failure, FileFailed)
    with pytest.raises(FileFailed):  # a part of a body must not pass for the whole of it
        ask.body.take()


def test_what_could_not_be_read_whole_fails_again(site: Loaded) -> None:
    ask = Ask(site, b"hello", HTTPError(400, "broken"))
    ask.run(ask.body.read_all())
    assert isinstance(ask.failure, HTTPError)
    with pytest.raises(HTTPError):
        ask.body.take()
    again = Ask(site)
    again.body.failure = ask.failure
    again.run(again.body.read_all())
    assert again.failure is ask.failure


def test_a_client_that_fails_is_not_asked_again(site: Loaded) -> None:
    ask = Ask(site, b"hello", ClientFailed(104, "Connection reset by peer"))
    ask.run(ask.body.read_all())
    assert isinstance(ask.failure, ClientFailed) and not ask.body.was_read()


def test_as_it_comes(site: Loaded) -> None:
    ask = Ask(site, b"a", b"b", ended=False)
    assert (ask.body.take(), ask.body.take(), ask.body.take()) == (b"a", b"b", None)
    ask.stream.bring(b"c", ended=True)
    assert (ask.body.take(), ask.body.done, ask.body.take(), ask.body.size) == (b"c", True, b"", 3)


def test_a_client_that_holds_its_body_back_is_told_when_somebody_wants_it(site: Loaded) -> None:
    ask = Ask(site, ended=False)
    ask.stream.expects = True
    assert ask.body.take() is None and not ask.stream.continued
    task = ask.run(ask.body.next(5.0))
    assert ask.stream.continued
    ask.stream.bring(b"x", ended=True)
    assert task.done and ask.result == b"x"


def test_discarded(site: Loaded) -> None:
    ask = Ask(site, b"a" * 1000, ended=False)
    task = ask.run(ask.body.discard(5.0, site.reactor.now + 10.0))
    assert not task.done
    ask.stream.bring(b"b", ended=True)
    assert task.done and ask.result is True and ask.body.size == 1001 and ask.body.data is None


def test_discarded_until_a_deadline(site: Loaded) -> None:
    ask = Ask(site, b"a", ended=False)
    task = ask.run(ask.body.discard(5.0, site.reactor.now + 10.0))
    site.reactor.now += 11.0
    ask.stream.bring(b"b")
    assert task.done and ask.result is False
