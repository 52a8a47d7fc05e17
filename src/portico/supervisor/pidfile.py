"""The pid file: it appears whole, by one rename, and whoever removes it looks first whose it is."""

import errno
import os
import stat
from typing import Final

from portico.config.diagnostics import ConfigError
from portico.errorlog import failed_call

OLD_SUFFIX: Final = ".oldbin"  # what the file is called while a new binary is tried
SIZE_LIMIT: Final = 22  # bytes that nginx reads: the longest number that it knows, and a line end
LARGEST: Final = 2**31 - 1  # pid_t's


def write(path: str, pid: int) -> None:
    """Put the pid there; raises ConfigError in nginx's words."""
    temporary = f"{path}.{pid}"
    try:
        _refuse_directory(path)
        if is_device(path):
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, f"{pid}\n".encode())
            os.close(fd)
            return
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
    """Raise ConfigError unless the file could be written, for ``-t``."""
    directory = os.path.dirname(path)
    try:
        os.stat(directory)
        if not os.access(directory, os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _refuse_directory(path)
    except OSError as error:
        raise ConfigError(failed_call(f'open() "{path}"', error)) from None


def is_device(path: str) -> bool:
    """Return whether it is a device, which root could replace or rename: `pid /dev/null;` is how some say that they want no file."""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def move(path: str, target: str) -> None:
    """Give the file another name; raises OSError. A device keeps its name."""
    if not (is_device(path) or is_device(target)):
        os.rename(path, target)


def _refuse_directory(path: str) -> None:
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def read(path: str) -> int:
    """Return the pid. Raises ConfigError with nginx's words, and its level, when there is none."""
    call, level = "open()", "error"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            call, level = "pread()", "crit"
            text = os.read(fd, SIZE_LIMIT).decode("utf-8", "replace").rstrip("\r\n")
        finally:
            os.close(fd)
    except OSError as error:
        raise _failed(failed_call(f'{call} "{path}"', error), level) from None
    # 0 is a process group to kill(2), our own.
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= LARGEST):
        raise _failed(f'invalid PID number "{text}" in "{path}"', "error")
    return int(text)


def _failed(message: str, level: str) -> ConfigError:
    failed = ConfigError(message)
    failed.level = level
    return failed


def remove(path: str, pid: int) -> None:
    """Remove the file if it is still that process's. Never raises: at exit nobody could do anything about
    it.
    """
    try:
        if read(path) == pid:
            os.unlink(path)
    except (ConfigError, OSError):
        pass
