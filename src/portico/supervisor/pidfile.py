"""The pid file: it appears whole, by one rename, and whoever removes it looks first whose it is."""

import os
from typing import Final

from portico.config.diagnostics import ConfigError
from portico.errorlog import failed_call

OLD_SUFFIX: Final = ".oldbin"  # what the file is called while a new binary is tried
SIZE_LIMIT: Final = 24


def write(path: str, pid: int) -> None:
    """Put the pid there; raises ConfigError in nginx's words."""
    temporary = f"{path}.{pid}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(failed_call(f'open() "{path}"', error)) from None
    try:
        os.write(fd, f"{pid}\n".encode())
        os.rename(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        raise ConfigError(failed_call(f'write() "{path}"', error)) from None
    finally:
        os.close(fd)


def check(path: str) -> None:
    """For ``-t``: whether the file could be written; raises ConfigError."""
    directory = os.path.dirname(path)
    try:
        os.stat(directory)
        if not os.access(directory, os.W_OK, effective_ids=True):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise ConfigError(failed_call(f'open() "{path}"', error)) from None


def read(path: str) -> int:
    """The pid; raises ConfigError with nginx's words when there is none."""
    try:
        with open(path, "rb") as file:
            text = file.read(SIZE_LIMIT).decode("utf-8", "replace").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(failed_call(f'open() "{path}"', error)) from None
    # 0 is a process group to kill(2), our own.
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ConfigError(f'invalid PID number "{text}" in "{path}"')
    return int(text)


def remove(path: str, pid: int) -> None:
    """Remove the file if it is still that process's. Never raises: at exit nobody could do anything about
    it.
    """
    try:
        if read(path) == pid:
            os.unlink(path)
    except (ConfigError, OSError):
        pass
