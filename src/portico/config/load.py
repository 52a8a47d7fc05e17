"""What everything in one load of a configuration shares: paths, texts read, mistakes, unfinished values."""

import os
import stat
from typing import Final, final

from portico.config.diagnostics import ConfigError, Diagnostics
from portico.config.files import Copy

_PATIENCE: Final = 0.5  # seconds for whoever writes into a FIFO to begin


class Late:
    """A value that can be finished only when the whole configuration was read, such as a text with variables
    (a `map` or `geo` further down may define them)."""

    def resolve(self, environment: object) -> None:
        """Finish the value; raises ConfigError."""
        raise NotImplementedError


@final
class Load:
    """One load of a configuration.

    prefix: as given by -p.  conf_path: as given by -c; relative to the prefix.
    """

    def __init__(self, prefix: str, conf_path: str) -> None:
        absolute = os.path.join(os.getcwd(), prefix)
        self.prefix = absolute if absolute.endswith("/") else absolute + "/"
        self.conf_path = conf_path if conf_path.startswith("/") else self.prefix + conf_path
        self.conf_prefix = self.conf_path[: self.conf_path.rindex("/") + 1]
        self.files: dict[str, str] = {}
        """Path -> text of every file read, in the order of reading (for -T, and for carets)."""
        self.diagnostics = Diagnostics(self.files)
        self.block = ""
        """The outermost block that is being read or built: "http", "stream"; "" outside of them."""
        self._unresolved: dict[str, list[Late]] = {}  # by the outermost block: each has variables of its own
        self.said: set[str] = set()
        """Warnings that one load gives once, by a key of the directive's choice."""
        self.is_transparent = False
        """Connections may come from addresses that are not this machine's (`*_bind … transparent`): workers need CAP_NET_RAW."""
        self._names: dict[str, bool] = {}  # by `names`
        self._copies: dict[str, Copy] = {}  # by `readable`
        self.order = 0
        """How many words were read so far (see Where.order)."""

    def full_path(self, name: str, conf: bool = False) -> str:
        """Return a path as nginx completes it: relative to the prefix, or to the configuration file's directory."""
        if name.startswith("/"):
            return name
        return (self.conf_prefix if conf else self.prefix) + name

    def readable(self, path: str) -> str:
        """Return a path by which a file can be read several times: a FIFO is read now, once, for all who name it.

        What cannot be read has its own path: whoever wants it says what is wrong.
        """
        copy = self._copies.get(path)
        if copy is None:
            try:
                if not stat.S_ISFIFO(os.stat(path).st_mode):
                    return path
                copy = self._copies[path] = Copy(path, _PATIENCE)
            except (OSError, ValueError):
                return path
        return copy.path

    def names(self, word: str) -> bool:
        """Return whether any file of the configuration has the word, wherever: for what costs something and is rarely wanted."""
        found = self._names.get(word)
        if found is None:
            found = self._names[word] = any(word in text for text in self.files.values())
        return found

    def resolve_later(self, value: Late) -> None:
        """Have `resolve_all` of the outermost block in which it stands finish a value."""
        self._unresolved.setdefault(self.block, []).append(value)

    def resolve_all(self, environment: object) -> None:
        """Resolve what stands in the outermost block that is being built (`block`); mistakes are collected."""
        values = self._unresolved.pop(self.block, [])
        while values:
            for value in values:
                try:
                    value.resolve(environment)
                except ConfigError as error:
                    self.diagnostics.error(error)
            values = self._unresolved.pop(self.block, [])  # resolving may register more
