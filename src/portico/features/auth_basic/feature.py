"""`auth_basic`, `auth_basic_user_file`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.config.directive import HTTP, LIMIT_EXCEPT, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.errorlog import CRIT, ERR, INFO, failed_call
from portico.features.auth_basic.passwords import CryptError, is_quick, prepare, verify
from portico.features.auth_basic.users import parse_users
from portico.features.auth_basic.verifier import Verifier
from portico.http.access import ALLOWED, NO_OPINION, PENDING, AccessStep, challenge
from portico.http.content.watched_file import FilePath, WatchedFiles, file_path
from portico.http.errors import HTTPError
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.variables.request import basic_credentials
from portico.http.waiting import result_of
from portico.variables.template import Template, template
from portico.worker.hook import WorkerHook

if TYPE_CHECKING:
    from portico.http.request import Request

_ALL: Final = HTTP | SERVER | LOCATION | LIMIT_EXCEPT
_OFF: Final = b"off"


def _user_file(statement: Statement) -> FilePath:
    return file_path(statement, "make the file (htpasswd writes such ones), or correct its name")


AUTH_BASIC: Final = Directive[Template | None](
    "auth_basic", _ALL, template, args="1", default=None, default_text="off",
    syntax="REALM | off",
    doc="Asks for a name and a password from `auth_basic_user_file`; the realm is what the client shows its user. `off` undoes what "
    "an outer level says. The realm may hold variables, and a value of `off` counts as such.",
    example="location /private/ { auth_basic staff; auth_basic_user_file $document_root/../users; }",
)
AUTH_BASIC_USER_FILE: Final = Directive[FilePath | None](
    "auth_basic_user_file", _ALL, _user_file, args="1", default=None,
    syntax="FILE",
    doc="Names and passwords, a `name:password` to a line, `#` for comments, as htpasswd writes them: apr1, bcrypt, `{SHA}`, "
    "`{SSHA}`, `{PLAIN}`, and whatever the system's crypt(3) knows (MD5-, SHA-crypt, yescrypt). The file is read again when it "
    "changes. Slow schemes are checked on a thread, and what was right is remembered for a minute. A path without variables must be "
    "readable when the configuration is loaded.",
    example="auth_basic_user_file $document_root/../users;",
)


@final
class BasicState(WorkerHook):
    """What all locations share: the files read, the passwords verified."""

    def __init__(self) -> None:
        self.files: WatchedFiles[dict[bytes, bytes]] = WatchedFiles(parse_users)
        self.verifier = Verifier()

    def stop(self) -> None:
        self.verifier.stop()


@final
class BasicAuth(AccessStep):
    """The check of one location."""

    def __init__(self, realm: Template, file: FilePath, state: BasicState) -> None:
        self.realm = realm
        self.file = file
        self.state = state

    def waits(self) -> bool:
        return True

    def check(self, request: Request) -> int:
        realm = self.realm.render(request)
        if realm == _OFF:
            return NO_OPINION
        user, password = self._credentials(request, realm)
        stored = self._stored(request, realm, user)
        if is_quick(stored):
            if verify(password, stored):
                return ALLOWED
            raise _mismatch(realm, user)
        verifier = self.state.verifier
        tag = verifier.tag(user, password, stored)
        return ALLOWED if verifier.remembers(tag, request.reactor.now) else PENDING

    async def check_async(self, request: Request) -> int:
        realm = self.realm.render(request)
        user, password = self._credentials(request, realm)
        stored = self._stored(request, realm, user)
        verifier = self.state.verifier
        tag = verifier.tag(user, password, stored)
        hashing = verifier.begin(tag, password, stored, request.reactor.now)
        try:
            right = await result_of(request, hashing.future)
        except CryptError as error:
            raise HTTPError(500, f'user "{_shown(user)}": {error}', CRIT) from None
        finally:
            verifier.leave(hashing)
        if not right:
            raise _mismatch(realm, user)
        return ALLOWED

    def _credentials(self, request: Request, realm: bytes) -> tuple[bytes, bytes]:
        field = request.fields.get(b"authorization")
        found = None if field is None else basic_credentials(field)
        if found is None:
            raise _refusal(realm, "no user/password was provided for basic authentication", INFO)
        return found

    def _stored(self, request: Request, realm: bytes, user: bytes) -> bytes:
        path = self.file.of(request)
        try:
            users = self.state.files.get(path)
        except FileNotFoundError as missing:
            raise HTTPError(403, failed_call(f'open() "{os.fsdecode(path)}"', missing), ERR) from None
        except OSError as failed:
            raise HTTPError(500, failed_call(f'open() "{os.fsdecode(path)}"', failed), CRIT) from None
        stored = users.get(user)
        if stored is None:
            raise _refusal(realm, f'user "{_shown(user)}" was not found in "{os.fsdecode(path)}"', ERR)
        return stored

    def describe(self) -> str:
        return f'auth_basic "{self.realm.text}" ({self.file.path.text})'


def _refusal(realm: bytes, reason: str, level: int) -> HTTPError:
    return challenge(401, b'Basic realm="' + realm + b'"', reason, level)


def _mismatch(realm: bytes, user: bytes) -> HTTPError:
    return _refusal(realm, f'user "{_shown(user)}": password mismatch', ERR)


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _new_state(build: HttpBuild) -> BasicState:
    state = BasicState()
    build.workers.append(state)
    return state


_STATE: Final = BuildSlot[BasicState](_new_state)


class AuthBasicFeature(Feature):
    """Adds the check where there are a realm and a file."""

    def location(self, build: LocationBuild) -> None:
        realm = build.scope.get(AUTH_BASIC)
        file = build.scope.get(AUTH_BASIC_USER_FILE)
        if realm is None or file is None or realm.constant == _OFF:
            return
        prepare()
        build.add_access(BasicAuth(realm, file, _STATE.of(build.http)))


FEATURE: Final = AuthBasicFeature("http_auth_basic", (AUTH_BASIC, AUTH_BASIC_USER_FILE))
