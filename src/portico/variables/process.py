"""Variables of this process and the machine that it runs on."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final, final

from portico.variables.variable import STABLE_FIELDS, STABLE_LOAD, Variable

if TYPE_CHECKING:
    from portico.variables.session import Session

NGINX_VERSION: Final = b"1.29.7"  # the nginx whose configuration language this is


@final
class _HostName:
    """The machine's name in lower case, as nginx keeps it; asked for once."""

    def __init__(self) -> None:
        self.name: bytes = b""

    def get(self) -> bytes:
        if not self.name:
            self.name = socket.gethostname().lower().encode("utf-8", "surrogateescape")
        return self.name


_HOST_NAME: Final = _HostName()


def _hostname(session: Session) -> bytes | None:
    return _HOST_NAME.get()


def _nginx_version(session: Session) -> bytes | None:
    return NGINX_VERSION


def _pid(session: Session) -> bytes | None:
    return b"%d" % os.getpid()


PROCESS_VARIABLES: Final[tuple[Variable[Session], ...]] = (
    Variable("hostname", _hostname, STABLE_LOAD, "The machine's host name."),
    Variable("nginx_version", _nginx_version, STABLE_LOAD, "The version of nginx whose configuration language Portico speaks."),
    Variable("pid", _pid, STABLE_FIELDS, "The worker's process number."),
)
