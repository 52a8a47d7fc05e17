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
from portico.http.variables.core import CORE_VARIABLES
from portico.net.reactor import ClientFailed, Task

COMPILED = str(portico.http.server.stream.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")

CORE_VARIABLES_BY_NAME = {variable.name: variable for variable in CORE_VARIABLES}
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


@pytest.mark.parametrize(
    ("words", "left", "mode"),
    [("on", True, 0o660), ("clean", False, 0o660), ("off", False, 0o600)],
)
def test_a_file_whose_name_is_wanted(tmp_path: Path, words: str, left: bool, mode: int) -> None:
    """By `client_body_in_file_only`, or because the configuration names `$request_body_file`."""
    (tmp_path / "temp").mkdir()
    named = 'server { listen 80; client_body_buffer_size 4; error_page 404 "/$request_body_file"; }'
    made = Loaded(f"client_body_temp_path temp; client_body_in_file_only {words}; {named}", tmp_path)
    ask = Ask(made, b"hello", b"world")
    ask.run(ask.body.read_all())
    (file,) = (tmp_path / "temp").iterdir()
    find = CORE_VARIABLES_BY_NAME["request_body_file"]
    assert find.get(ask.request) == str(file).encode()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"helloworld", mode)
    ask.body.close()
    assert file.exists() is left
    assert find.get(ask.request) is None
    made.close()


def test_a_small_body_goes_to_a_file_too_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    made = Loaded("client_body_temp_path temp; client_body_in_file_only on; server { listen 80; }", tmp_path)
    ask = Ask(made)
    ask.run(ask.body.read_all())
    assert ask.body.data is None and ask.body.file >= 0 and ask.body.length == 0
    ask.body.close()
    assert len(list((tmp_path / "temp").iterdir())) == 1
    made.close()


def test_a_file_that_is_not_whole_is_removed(tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    made = Loaded("client_body_temp_path temp; client_body_in_file_only on; server { listen 80; }", tmp_path)
    ask = Ask(made, b"hello", ClientFailed(104, "Connection reset by peer"))
    ask.run(ask.body.read_all())
    assert len(list((tmp_path / "temp").iterdir())) == 1
    ask.body.close()
    assert list((tmp_path / "temp").iterdir()) == []
    made.close()


def test_what_came_with_the_header_section_is_held_although_it_is_passed_on(site: Loaded) -> None:
    ask = Ask(site, b"hello", b"world")
    ask.body.read_if_here(100)
    assert (ask.body.data, ask.body.length, ask.body.done) == (b"helloworld", 10, True)


@pytest.mark.parametrize(("pieces", "ended", "most"), [((b"hello", b"wor"), False, 100), ((b"hello", b"wor", b"ld"), True, 4)])
def test_what_was_looked_at_is_the_next_to_be_taken(site: Loaded, pieces: tuple[bytes, ...], ended: bool, most: int) -> None:
    """There is more to come, or it is more than may be held."""
    ask = Ask(site, *pieces, ended=ended)
    ask.body.read_if_here(most)
    assert ask.body.data is None and not ask.body.done
    got = b""
    while data := ask.body.take():
        got += data
    assert got == b"".join(pieces)


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
