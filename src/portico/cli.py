"""The command line: nginx's, and what Portico adds to it. The composition root."""

from __future__ import annotations

import os
import sys
from typing import Final, final

from portico import __version__, catalogue, errorlog
from portico.config.diagnostics import COMMAND_LINE
from portico.program import Program, Source, load_program
from portico.supervisor import control, start
from portico.supervisor.plan import LoadFailed, Plan
from portico.supervisor.report import Report
from portico.supervisor.supervisor import supervise

DEFAULT_PREFIX: Final = "/etc/portico/"
DEFAULT_CONF: Final = "nginx.conf"
NO_CONF: Final = (
    "name your configuration: portico -c /etc/nginx/nginx.conf; or go without one: portico to localhost:3000"
)

USAGE: Final = """\
portico version: portico/{version}
Usage: portico [-?hvVtTq] [-s signal] [-p prefix]
               [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {prefix})
  -e filename   : set error log file (default: logs/error.log)
  -c filename   : set configuration file (default: {conf})
  -g directives : set global directives out of configuration file

Commands:
  portico to TARGET...       : a proxy in one line, without a configuration
  portico directives [NAME]  : what a directive means; without a name, all of them

"""


@final
class Options:
    """The command line, parsed."""

    def __init__(self) -> None:
        self.help = False
        self.version = False
        self.verbose_version = False
        self.test = False
        self.dump = False
        self.quiet = False
        self.signal = ""
        self.prefix = DEFAULT_PREFIX
        self.conf: str | None = None
        self.error_log = ""
        self.globals_text = ""


class UsageError(Exception):
    """The command line is wrong; the text says how, in nginx's words."""


def parse_options(words: list[str]) -> Options:
    """Read options as nginx does: letters may be joined, a value may follow its letter directly. Raises UsageError."""
    options = Options()
    index = 0
    while index < len(words):
        word = words[index]
        if not word.startswith("-"):
            raise UsageError(f'invalid option: "{word}"')
        at = 1
        while at < len(word):
            letter = word[at]
            at += 1
            if letter in "?hvVtTq":
                _flag(options, letter)
                continue
            if letter not in "specg":
                raise UsageError(f'invalid option: "{letter}"')
            value = word[at:]
            if not value:
                index += 1
                if index >= len(words):
                    raise UsageError(f'option "-{letter}" requires {_WANTS[letter]}')
                value = words[index]
            _value(options, letter, value)
            break
        index += 1
    return options


_WANTS: Final = {
    "s": "parameter", "p": "directory name", "e": "file name", "c": "file name", "g": "parameter",
}  # fmt: skip


def _flag(options: Options, letter: str) -> None:
    if letter in "?h":
        options.help = True
    elif letter == "v":
        options.version = True
    elif letter == "V":
        options.verbose_version = True
    elif letter == "t":
        options.test = True
    elif letter == "T":
        options.test = options.dump = True
    else:
        options.quiet = True


def _value(options: Options, letter: str, value: str) -> None:
    if letter == "s":
        if value not in control.SIGNALS:
            raise UsageError(f'invalid option: "-s {value}"')
        options.signal = value
    elif letter == "p":
        options.prefix = value
    elif letter == "e":
        options.error_log = value or "stderr"  # nginx's meaning of a name that is empty
    elif letter == "c":
        options.conf = value
    else:
        options.globals_text = value


def main(words: list[str] | None = None) -> int:
    """Run the `portico` command; return its exit code."""
    try:
        return _main(sys.argv[1:] if words is None else words)
    except BrokenPipeError:  # the reader of what we print has seen enough, as in `portico -T | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _main(arguments: list[str]) -> int:
    if arguments and arguments[0] == "to":
        from portico.oneliner import run_to

        return run_to(arguments[1:])
    if arguments and arguments[0] == "directives":
        from portico.reference import print_directives

        return print_directives(arguments[1:])
    try:
        options = parse_options(arguments)
    except UsageError as error:
        sys.stderr.write(f"portico: {error}\n")
        return 1
    if options.help or options.version or options.verbose_version:
        _show(options)
        if not options.test:
            return 0
    return run(options)


def _show(options: Options) -> None:
    if options.help:
        conf = DEFAULT_PREFIX + DEFAULT_CONF
        sys.stderr.write(USAGE.format(version=__version__, prefix=DEFAULT_PREFIX, conf=conf))
    elif options.verbose_version:
        sys.stderr.write(version_text())
    else:
        sys.stderr.write(f"portico version: portico/{__version__}\n")


def is_compiled() -> bool:
    """Return whether the data plane was compiled by mypyc."""
    from portico.net import reactor

    return not str(reactor.__file__).endswith(".py")


def version_text() -> str:
    """Return what `-V` prints."""
    import platform
    import ssl

    return (
        f"portico version: portico/{__version__}\n"
        f"data plane: {'compiled by mypyc' if is_compiled() else 'interpreted'}\n"
        f"built with {platform.python_implementation()} {platform.python_version()}\n"
        f"running with {ssl.OPENSSL_VERSION}\n"
        "TLS SNI support enabled\n"
        f"configure arguments: --prefix={DEFAULT_PREFIX.rstrip('/')} "
        f"--conf-path={DEFAULT_PREFIX}{DEFAULT_CONF} {catalogue.configure_arguments()}\n"
    )


def run(options: Options) -> int:
    """Serve, test or signal, as the options say."""
    prefix = _full_prefix(options.prefix)
    conf = DEFAULT_CONF if options.conf is None else options.conf
    source = Source(prefix, conf, options.error_log, options.globals_text)

    def load(running: Plan | None) -> Plan:
        return _load(source, running, options)

    early = _early_log(prefix, options)
    if options.test:
        return _test(source, options, early)
    if options.signal:
        return _signal(source, options, early)
    return supervise(load, early)


def _full_prefix(prefix: str) -> str:
    """Return an absolute prefix, for a process may leave its directory; without the "." that every message would show."""
    while prefix.startswith("./"):
        prefix = prefix[2:].lstrip("/")
    return os.path.join(os.getcwd(), "" if prefix == "." else prefix)


def _early_log(prefix: str, options: Options) -> errorlog.ErrorLog:
    """Return the log that is used until the configuration names one.

    nginx warns when it cannot be opened, whatever the configuration says later, and so do we. Only of the default prefix
    nobody need have heard: who gives -c with nginx's own file does without it.
    """
    path = os.path.join(prefix, options.error_log or errorlog.DEFAULT_PATH)
    if prefix == DEFAULT_PREFIX and not options.error_log and not os.path.isdir(os.path.dirname(path)):
        return errorlog.ErrorLog([], errorlog.LogFiles())
    return errorlog.early(path)


def _load(source: Source, running: Plan | None, options: Options) -> Program:
    """Load a program as load_program() does; tell a user who has no configuration yet how to give one. Raises LoadFailed."""
    try:
        return load_program(source, running)
    except LoadFailed as failed:
        if not os.path.exists(os.path.join(source.prefix, source.conf)):
            for error in failed.diagnostics.errors:
                error.hint = error.hint or _where_it_may_be(options.conf)
        raise


def _where_it_may_be(conf: str | None) -> str:
    """Return what to do about a configuration that is not there. One given by -c is most often in the current directory."""
    if conf is None:
        return NO_CONF
    if conf.startswith("/") or not os.path.isfile(conf):
        return ""
    here = os.path.join(os.getcwd(), conf)
    return f"-c is relative to the prefix: portico -c {here}; or, for all other paths too: portico -p . -c {conf}"


def _test(source: Source, options: Options, early: errorlog.ErrorLog) -> int:
    report = Report(early, starting=True)
    conf = os.path.join(source.prefix, source.conf)
    try:
        program = _load(source, None, options)
    except LoadFailed as failed:
        report.mistakes(failed)
        sys.stderr.write(f"portico: configuration file {conf} test failed\n")
        return 1
    report.warnings(program)
    if not options.quiet:
        sys.stderr.write(f"portico: the configuration file {conf} syntax is ok\n")
    if not start.test(program, report):
        sys.stderr.write(f"portico: configuration file {conf} test failed\n")
        return 1
    if not options.quiet:
        sys.stderr.write(f"portico: configuration file {conf} test is successful\n")
    if options.dump:
        _dump(program)
    return 0


def _dump(program: Program) -> None:
    """Print every file as it was read, for -T; what -g gave is no file."""
    for path, text in program.load.files.items():
        if path == COMMAND_LINE:
            continue
        shown = f"# configuration file {path}:\n{text}\n"
        sys.stdout.buffer.write(shown.encode("utf-8", "surrogateescape"))  # byte for byte
    sys.stdout.buffer.flush()


def _signal(source: Source, options: Options, early: errorlog.ErrorLog) -> int:
    report = Report(early, starting=True)
    try:
        program = _load(source, None, options)
    except LoadFailed as failed:
        report.mistakes(failed)
        return 1
    return control.send(options.signal, program.settings.pid, early)


if __name__ == "__main__":
    sys.exit(main())
