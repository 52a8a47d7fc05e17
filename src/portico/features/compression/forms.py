"""`compression_cache`: compressed forms of files, in the memory of a worker.

A form is that of one file as it was: device, inode, size, times of modification and of change to the nanosecond, with the content
encoding and its level. Whoever changes a file changes one of them; and a file that was changed just now is not stored, as the
clock of a file system stands still for some milliseconds.
"""

from __future__ import annotations

import os
from typing import Final, final

from portico.features.compression.codings import Coding

_OVERHEAD: Final = 512  # bytes that an entry costs besides its content
_SHARE: Final = 8  # the largest form is an eighth of it all
_MAKING_SHARE: Final = 4  # the forms that are being made have a quarter of it
_JUST_NOW: Final = 0.1  # seconds; a kernel's tick is at most 0.01

FormKey = tuple[tuple[bytes, int, int], int, int, int, int, int]


@final
class Form:
    """A compressed file."""

    def __init__(self, content: bytes, original: int) -> None:
        self.content = content
        self.original = original  # bytes before


@final
class Forms:
    """The forms of one `compression_cache` directive; the one used longest ago first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self.making = 0  # bytes of forms that are not whole yet
        self._forms: dict[FormKey, Form] = {}

    def __len__(self) -> int:
        return len(self._forms)

    def get(self, key: FormKey) -> Form | None:
        """Return the form, which counts as used now."""
        form = self._forms.pop(key, None)
        if form is not None:
            self._forms[key] = form
        return form

    def takes(self, length: int) -> bool:
        """Return whether a form of so many bytes is not too large."""
        return (length + _OVERHEAD) * _SHARE <= self.size

    def put(self, key: FormKey, form: Form) -> None:
        """Keep a form; others leave for it."""
        if not self.takes(len(form.content)):
            return
        old = self._forms.pop(key, None)
        if old is not None:
            self.used -= len(old.content) + _OVERHEAD
        self._forms[key] = form
        self.used += len(form.content) + _OVERHEAD
        while self.used > self.size:
            oldest = next(iter(self._forms))
            self.used -= len(self._forms.pop(oldest).content) + _OVERHEAD


@final
class Forming:
    """A form that comes into being as fast as its client reads. Given up when it, or all that are under way, grow too large."""

    def __init__(self, forms: Forms, key: FormKey) -> None:
        self.forms = forms
        self.key = key
        self.length = 0
        self.pieces: list[bytes] = []

    def add(self, made: bytes) -> bool:
        """Add the next piece; return False when the form is given up."""
        forms = self.forms
        self.pieces.append(made)
        self.length += len(made)
        forms.making += len(made)
        if forms.takes(self.length) and forms.making * _MAKING_SHARE <= forms.size:
            return True
        self.give_up()
        return False

    def finish(self, original: int) -> None:
        """Store the form: it is whole."""
        form = Form(b"".join(self.pieces), original)
        self.give_up()
        self.forms.put(self.key, form)

    def give_up(self) -> None:
        """Drop what was made of it; safe to call twice."""
        self.forms.making -= self.length
        self.length = 0
        self.pieces = []


def form_key(coding: Coding, status: os.stat_result) -> FormKey:
    """Return the key of a form."""
    return (coding.key, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def is_settled(status: os.stat_result, now: float) -> bool:
    """Return whether the file has not been changed just now. `now`: seconds since the epoch."""
    return now - status.st_ctime > _JUST_NOW
