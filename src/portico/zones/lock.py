"""Locks in shared memory that outlive their holder.

Workers share tables, and a worker can be killed at any instruction.  A lock whose holder is dead has to
open again by itself, or one crash stops every worker.  The kernel knows who died, so the two kinds here
leave that to it:

``RobustLock``
    a process-shared *robust* POSIX mutex that lives in the shared memory itself
    (``pthread_mutexattr_setrobust``). Uncontended it is one atomic instruction and no system call: lock +
    unlock take 0.5 µs, nearly all of it the call through ``ctypes``.  When the holder dies the kernel marks
    the word and the next ``acquire`` is told so.
``RecordLock``
    an ``fcntl`` record lock on one byte of a memfd, for a libc without robust mutexes.  Two system calls: 2
    µs. It must be a process-owned (POSIX) lock: one of the open-file-description kind would be *shared* by
    every process forked from the one that opened the file.  Such locks vanish when their process closes any
    descriptor of the file, so the file stays open for good.

Rules: a lock is held for microseconds, never across a wait; one process never takes two at once; nothing
forks while holding one.  What a dead holder left half done stays as it is: each table must make sense after
any single store, or say that it does not (rows.py's `dirty`).
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final, final

# pthread_mutex_t is 40 bytes (x86-64) or 48 (arm64), and a cache line of its own is best.
LOCK_SIZE: Final = 64

# These are from <pthread.h>; the numbers are the same in glibc and musl.
_PTHREAD_PROCESS_SHARED: Final = 1
_PTHREAD_MUTEX_ROBUST: Final = 1
_PTHREAD_MUTEX_ERRORCHECK: Final = 2


class Lock:
    """Mutual exclusion between the processes that share it."""

    def acquire(self) -> None:
        """Wait for the lock and acquire it.  Raises RuntimeError if this process holds it already."""
        raise NotImplementedError

    def release(self) -> None:
        """Release it.  Raises RuntimeError if this process does not hold it."""
        raise NotImplementedError


@final
class _Pthread:
    """The functions of libpthread that robust mutexes need, looked up once."""

    def __init__(self) -> None:
        # PyDLL keeps the GIL over the call: these return at once, and releasing it would cost more.
        libc = ctypes.PyDLL(None, use_errno=False)
        pointer = [ctypes.c_void_p]
        for name in ("lock", "unlock", "consistent"):
            getattr(libc, f"pthread_mutex_{name}").argtypes = pointer
        self.libc: Final = libc
        self.lock: Callable[[int], int] = libc.pthread_mutex_lock
        self.unlock: Callable[[int], int] = libc.pthread_mutex_unlock
        self.consistent: Callable[[int], int] = libc.pthread_mutex_consistent
        self.attributes = ctypes.create_string_buffer(64)
        attributes = ctypes.c_void_p(ctypes.addressof(self.attributes))
        for call, value in (
            (libc.pthread_mutexattr_init, None),
            (libc.pthread_mutexattr_setpshared, _PTHREAD_PROCESS_SHARED),
            (libc.pthread_mutexattr_settype, _PTHREAD_MUTEX_ERRORCHECK),
            (libc.pthread_mutexattr_setrobust, _PTHREAD_MUTEX_ROBUST),
        ):
            _check(call(attributes) if value is None else call(attributes, value))

    def initialise(self, address: int) -> None:
        """Make the 64 zero bytes at ``address`` an unlocked mutex."""
        attributes = ctypes.c_void_p(ctypes.addressof(self.attributes))
        _check(self.libc.pthread_mutex_init(ctypes.c_void_p(address), attributes))


def _check(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))


@final
class RobustLock(Lock):
    """A robust pthread mutex at an address of shared memory (see the top of this file)."""

    def __init__(self, pthread: _Pthread, address: int, fresh: bool = True) -> None:
        if fresh:
            pthread.initialise(address)
        self.address = address
        self.recovered = 0  # how often this process found the holder dead
        self._lock = pthread.lock
        self._unlock = pthread.unlock
        self._consistent = pthread.consistent

    def acquire(self) -> None:
        code = self._lock(self.address)
        if code:
            self._recover(code)

    def _recover(self, code: int) -> None:
        if code == errno.EOWNERDEAD:
            self.recovered += 1
            self._consistent(self.address)  # else the mutex is lost for good at unlock
        elif code == errno.EDEADLK:
            raise RuntimeError("this process holds the lock already")
        else:
            raise OSError(code, os.strerror(code))

    def release(self) -> None:
        code = self._unlock(self.address)
        if code:
            raise RuntimeError("this process does not hold the lock")


@final
class RecordLock(Lock):
    """A POSIX record lock on one byte of a file (see the top of this file)."""

    def __init__(self, fd: int, byte: int) -> None:
        self.fd = fd
        self.byte = byte
        self._held = False  # the kernel would grant a process its own lock twice

    def acquire(self) -> None:
        if self._held:
            raise RuntimeError("this process holds the lock already")
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, self.byte)
        self._held = True

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("this process does not hold the lock")
        self._held = False
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, self.byte)


@final
class LockMaker:
    """Makes locks of the best kind that this system has; one per program, ``LOCKS``."""

    def __init__(self) -> None:
        self._pthread: _Pthread | None = None
        self._fd = -1
        self._bytes = 0
        self._looked = False

    def robust(self) -> _Pthread | None:
        """Return the pthread functions, or None where robust mutexes do not exist."""
        if not self._looked:
            self._looked = True
            try:
                self._pthread = _Pthread()
            except (AttributeError, OSError):
                self._pthread = None
        return self._pthread

    def make(self, address: int) -> Lock:
        """Return a lock for the ``LOCK_SIZE`` zero bytes of shared memory at ``address``; before forking."""
        pthread = self.robust()
        return self.record() if pthread is None else RobustLock(pthread, address)

    def record(self) -> RecordLock:
        """Return a lock on a new byte of the program's lock file.  Call it before forking."""
        if self._fd < 0:
            self._fd = os.memfd_create("portico-locks", os.MFD_CLOEXEC)
        self._bytes += 1
        return RecordLock(self._fd, self._bytes)


LOCKS: Final = LockMaker()
