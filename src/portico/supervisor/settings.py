"""The directives of the main and events contexts, and what they come to: `ProcessSettings`."""

import grp
import os
import pwd
from typing import Final, NoReturn, final

from portico.config.diagnostics import ConfigError
from portico.config.directive import EVENTS, MAIN, Directive, Scope
from portico.config.reader import Statement
from portico.config.values import flag, msec, number, number_of, offset, text
from portico.errorlog import ERROR_LOG

DEFAULT_USER: Final = "nobody"
DEFAULT_PID: Final = "logs/portico.pid"
AUTO: Final = -1
MASK_LIMIT: Final = 1024  # CPUs that a mask can name (CPU_SETSIZE)
PRIORITIES: Final = 20  # on either side of 0; setpriority(2) takes what is beyond for the last one
NO_LIMIT: Final = -1


@final
class User:
    """Whom the workers run as; -1 stands for "unchanged"."""

    def __init__(self, name: str, uid: int, gid: int) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid


@final
class Affinity:
    """``worker_cpu_affinity``: with `auto` one CPU of the mask for each worker, else one mask for each
    worker.
    """

    def __init__(self, auto: bool, masks: list[set[int]]) -> None:
        self.auto = auto
        self.masks = masks

    def cpus(self, worker: int) -> set[int] | None:
        """Return the CPUs of that worker; None: no matter."""
        if not self.masks:
            return None
        if not self.auto:
            return self.masks[min(worker, len(self.masks) - 1)]
        allowed = sorted(self.masks[0])
        return {allowed[worker % len(allowed)]} if allowed else None


def _parse_user(statement: Statement) -> User:
    name = statement.args[0].text
    if os.geteuid() != 0:
        statement.load.diagnostics.warn(
            'the "user" directive makes sense only if the master process runs '
            "with super-user privileges, ignored",
            statement.where,
        )
        return User("", -1, -1)
    try:
        return find_user(name, statement.args[1].text if len(statement.args) > 1 else "")
    except ConfigError as error:
        raise statement.fail(error.message, statement.args[0]) from None


def find_user(name: str, group: str = "") -> User:
    """Look both names up; the group is by default the user's own. Raises ConfigError in nginx's words."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f'getpwnam("{name}") failed') from None
    try:
        # In nginx it is the group of the user's name; the user's primary group is that one wherever both exist.
        gid = grp.getgrnam(group).gr_gid if group else _group_of(name, entry.pw_gid)
    except KeyError:
        raise ConfigError(f'getgrnam("{group}") failed') from None
    return User(name, entry.pw_uid, gid)


def _group_of(name: str, primary: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return primary


def _parse_worker_processes(statement: Statement) -> int:
    argument = statement.args[0]
    if argument.text == "auto":
        return AUTO
    count = number_of(argument.text)
    if count is None:
        raise statement.fail('"worker_processes" directive invalid value', argument)
    if count == 0:
        raise statement.fail(
            '"worker_processes" directive invalid value: without a worker nothing is served', argument
        )
    return count


def _parse_affinity(statement: Statement) -> Affinity:
    arguments = statement.args
    auto = arguments[0].text == "auto"
    if auto and len(arguments) > 2:
        raise statement.fail(f'invalid number of arguments in "{statement.name}" directive')
    masks = [_parse_mask(statement, index) for index in range(int(auto), len(arguments))]
    if auto and not masks:
        masks = [os.sched_getaffinity(0)]
    return Affinity(auto, masks)


def _parse_mask(statement: Statement, index: int) -> set[int]:
    argument = statement.args[index]
    mask = argument.text.replace(" ", "")
    if len(mask) > MASK_LIMIT:
        raise statement.fail(f'"worker_cpu_affinity" supports up to {MASK_LIMIT} CPUs only', argument)
    for character in mask:
        if character not in "01":
            raise statement.fail(f'invalid character "{character}" in "worker_cpu_affinity"', argument)
    return {cpu for cpu, bit in enumerate(reversed(mask)) if bit == "1"}


def _parse_priority(statement: Statement) -> int:
    value = statement.args[0].text
    found = number_of(value[1:] if value[:1] in ("-", "+") else value)
    if found is None:
        raise statement.fail('"worker_priority" directive invalid number', statement.args[0])
    found = min(found, PRIORITIES)
    return -found if value.startswith("-") else found


def _parse_connections(statement: Statement) -> int:
    value = statement.args[0].text
    count = number_of(value)
    if count is None:
        raise statement.fail(f'invalid number "{value}"', statement.args[0])
    if count == 0:
        raise statement.fail(
            'invalid number "0": a worker without connections serves nobody', statement.args[0]
        )
    return count


def _parse_use(statement: Statement) -> str:
    name = statement.args[0].text
    if name != "epoll":
        error = statement.fail(f'invalid event type "{name}"', statement.args[0])
        error.hint = 'Portico always uses "epoll"; the directive can be left out'
        raise error
    return name


def _parse_load_module(statement: Statement) -> NoReturn:
    argument = statement.args[0]
    error = statement.fail(
        f'dynamic module "{argument.text}" cannot be loaded: it is compiled for nginx', argument
    )
    error.hint = "remove the line: features are built in (`portico -V` lists them), and of directives it is said which are missing"
    raise error


def _parse_env(statement: Statement) -> tuple[str, str | None]:
    name, equals, value = statement.args[0].text.partition("=")
    return name, value if equals else None


def _parse_path(statement: Statement) -> str:
    return statement.load.full_path(statement.args[0].text)


def _nothing(statement: Statement) -> None:
    """Return no value: the events block has none of its own."""


USER: Final = Directive[User](
    "user",
    MAIN,
    _parse_user,
    args="1-2",
    default=User("", -1, -1),
    default_text="nobody",
    syntax="user USER [GROUP];",
    doc="""The user and group that worker processes run as, with the user's supplementary groups. Without
GROUP it is the group of the same name as the user. Only a supervisor that runs as root can change it;
otherwise the line is ignored with a warning.""",
    example="user nobody;",
)
WORKER_PROCESSES: Final = Directive[int](
    "worker_processes",
    MAIN,
    _parse_worker_processes,
    args="1",
    default=1,
    default_text="1",
    syntax="worker_processes NUMBER | auto;",
    doc="""How many worker processes serve. `auto` is one for each CPU that Portico may run on.""",
    example="worker_processes auto;",
)
WORKER_CPU_AFFINITY: Final = Directive[Affinity](
    "worker_cpu_affinity",
    MAIN,
    _parse_affinity,
    args="1+",
    default=Affinity(False, []),
    default_text="—",
    syntax="worker_cpu_affinity MASK ...;\nworker_cpu_affinity auto [MASK];",
    doc="""Binds workers to CPUs. Each MASK is for one worker, its last digit is CPU 0; workers beyond the
last mask use that one. `auto` gives each worker one CPU, of those in the mask if there is one.""",
    example="worker_processes 2;\nworker_cpu_affinity auto;",
)
WORKER_PRIORITY: Final = Directive[int](
    "worker_priority",
    MAIN,
    _parse_priority,
    args="1",
    default=0,
    default_text="0",
    syntax="worker_priority NUMBER;",
    doc="""The scheduling priority (the "nice" value) of workers, normally between -20 (favoured) and 20.""",
    example="worker_priority 5;",
)
WORKER_RLIMIT_NOFILE: Final = Directive[int](
    "worker_rlimit_nofile",
    MAIN,
    number,
    args="1",
    default=NO_LIMIT,
    default_text="—",
    syntax="worker_rlimit_nofile NUMBER;",
    doc="""The limit on open files (`RLIMIT_NOFILE`) of a worker. Raise it with `worker_connections`: files that
are sent or buffered, logs and pipes need descriptors besides the connections. An eighth of the limit (16 at
least, 1024 at most) is kept for them, so a limit that is too low lowers the number of connections.""",
    example="worker_rlimit_nofile 8192;",
)
WORKER_RLIMIT_CORE: Final = Directive[int](
    "worker_rlimit_core",
    MAIN,
    offset,
    args="1",
    default=NO_LIMIT,
    default_text="—",
    syntax="worker_rlimit_core SIZE;",
    doc="""The limit on the size of a worker's core file (`RLIMIT_CORE`).""",
    example="worker_rlimit_core 500m;",
)
WORKER_SHUTDOWN_TIMEOUT: Final = Directive[float](
    "worker_shutdown_timeout",
    MAIN,
    msec,
    args="1",
    default=0.0,
    default_text="—",
    syntax="worker_shutdown_timeout TIME;",
    doc="""How long a worker that shuts down gracefully waits for its connections before it closes them.
Without it, as long as they last.""",
    example="worker_shutdown_timeout 30s;",
)
PID: Final = Directive[str](
    "pid",
    MAIN,
    _parse_path,
    args="1",
    default="",
    default_text=DEFAULT_PID,
    syntax="pid FILE;",
    doc="""The file that holds the supervisor's process id. It appears once every socket listens, in one
rename, and goes away when the supervisor ends.""",
    example="pid logs/portico.pid;",
)
MASTER_PROCESS: Final = Directive[bool](
    "master_process",
    MAIN,
    flag,
    args="1",
    default=True,
    default_text="on",
    syntax="master_process on | off;",
    doc="""`off` serves from a single process without supervisor, for development and debugging: it keeps
the user that started it, nothing replaces it when it dies, and a reload first waits for open requests.""",
    example="master_process off;",
)
DAEMON: Final = Directive[bool](
    "daemon",
    MAIN,
    flag,
    args="1",
    default=False,
    default_text="off",
    syntax="daemon on | off;",
    doc="""Whether Portico goes to the background. The command returns once the sockets listen; mistakes
before that are printed and make it exit with 1. nginx's default is `on`.""",
    example="daemon on;",
)
ENV: Final = Directive[tuple[str, str | None]](
    "env",
    MAIN,
    _parse_env,
    args="1",
    many=True,
    default=("TZ", None),
    default_text="env TZ;",
    syntax="env VARIABLE[=VALUE];",
    doc="""Keeps an environment variable for the workers, or sets it. All others are removed, except `TZ`. A
process started by `USR2` gets the environment that Portico itself was started with.""",
    example="env TMPDIR;\nenv MODE=production;",
)
WORKING_DIRECTORY: Final = Directive[str](
    "working_directory",
    MAIN,
    text,
    args="1",
    default="",
    default_text="—",
    syntax="working_directory DIRECTORY;",
    doc="""The current directory of workers: where they write core files, so they need the right to write
there.""",
    example="working_directory /tmp;",
)
TIMER_RESOLUTION: Final = Directive[float](
    "timer_resolution",
    MAIN,
    msec,
    args="1",
    default=0.0,
    default_text="—",
    syntax="timer_resolution INTERVAL;",
    doc="""Read and checked, and without effect: in nginx it saves calls of `gettimeofday()`, and Portico
reads the clock at most once each time that a worker wakes up.""",
    example="timer_resolution 100ms;",
)
LOCK_FILE: Final = Directive[str](
    "lock_file",
    MAIN,
    _parse_path,
    args="1",
    default="",
    default_text="logs/nginx.lock",
    syntax="lock_file FILE;",
    doc="""Read and without effect: Portico needs no lock file, as nginx needs none where the CPU has atomic
operations.""",
    example="lock_file logs/portico.lock;",
)
LOAD_MODULE: Final = Directive[object](
    "load_module",
    MAIN,
    _parse_load_module,
    args="1",
    many=True,
    default=None,
    default_text="—",
    syntax="load_module FILE;",
    doc="""Always an error: modules compiled for nginx cannot be loaded. Features of Portico are built in,
and `portico -V` lists them.""",
    example="# load_module modules/ngx_http_geoip_module.so;   remove such lines",
)
EVENTS_BLOCK: Final = Directive[None](
    "events",
    MAIN,
    _nothing,
    args="0",
    block=EVENTS,
    default=None,
    default_text="—",
    syntax="events { ... }",
    doc="""How workers handle connections. The block must be there, and may be empty.""",
    example="events {\n    worker_connections 1024;\n}",
)
WORKER_CONNECTIONS: Final = Directive[int](
    "worker_connections",
    EVENTS,
    _parse_connections,
    args="1",
    default=512,
    default_text="512",
    syntax="worker_connections NUMBER;",
    doc="""How many connections one worker may have open, those to upstream servers included.

When less than a sixteenth of them is free, idle connections are closed, those that have been idle longest
first: clients that have sent nothing, or nothing since their last response, then idle connections to
upstreams. When nothing is idle, new clients are refused, and a request that needs a connection to an upstream
gets 500. The error log tells, at most once a second. Fewer connections are allowed where
`worker_rlimit_nofile` leaves no room for so many.""",
    example="events {\n    worker_connections 4096;\n}",
)
MULTI_ACCEPT: Final = Directive[bool](
    "multi_accept",
    EVENTS,
    flag,
    args="1",
    default=False,
    default_text="off",
    syntax="multi_accept on | off;",
    doc="""Whether a worker that wakes up accepts all waiting connections or one.""",
    example="events {\n    multi_accept on;\n}",
)
USE: Final = Directive[str](
    "use",
    EVENTS,
    _parse_use,
    args="1",
    default="epoll",
    default_text="epoll",
    syntax="use epoll;",
    doc="""How a worker waits for its connections. Portico knows `epoll` only.""",
    example="events {\n    use epoll;\n}",
)
ACCEPT_MUTEX: Final = Directive[bool](
    "accept_mutex",
    EVENTS,
    flag,
    args="1",
    default=False,
    default_text="off",
    syntax="accept_mutex on | off;",
    doc="""Whether nginx's workers take turns to accept connections. Portico's never do: the kernel wakes one of those that wait, and
`listen … reuseport` spreads connections further. Checked, then of no effect.""",
    example="events {\n    accept_mutex on;\n}",
)
ACCEPT_MUTEX_DELAY: Final = Directive[float](
    "accept_mutex_delay",
    EVENTS,
    msec,
    args="1",
    default=0.5,
    default_text="500ms",
    syntax="accept_mutex_delay TIME;",
    doc="""How long an nginx worker waits for its turn to accept. Checked, then of no effect.""",
    example="events {\n    accept_mutex_delay 500ms;\n}",
)

MAIN_DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    USER, WORKER_PROCESSES, WORKER_CPU_AFFINITY, WORKER_PRIORITY, WORKER_RLIMIT_NOFILE, WORKER_RLIMIT_CORE,
    WORKER_SHUTDOWN_TIMEOUT, PID, MASTER_PROCESS, DAEMON, ENV, WORKING_DIRECTORY, TIMER_RESOLUTION, LOCK_FILE,
    LOAD_MODULE, ERROR_LOG, EVENTS_BLOCK, WORKER_CONNECTIONS, MULTI_ACCEPT, USE, ACCEPT_MUTEX,
    ACCEPT_MUTEX_DELAY,
)  # fmt: skip


@final
class ProcessSettings:
    """What the main and events contexts come to. Raises ConfigError for what no single directive can tell."""

    def __init__(self, scope: Scope) -> None:
        events = scope.blocks(EVENTS_BLOCK)
        if not events:
            raise ConfigError('no "events" section in configuration')
        self.user: User = scope.own(USER) or default_user()
        self.worker_processes: int = scope.get(WORKER_PROCESSES)
        if self.worker_processes == AUTO:
            self.worker_processes = len(os.sched_getaffinity(0))
        self.affinity: Affinity = scope.get(WORKER_CPU_AFFINITY)
        self.worker_priority: int = scope.get(WORKER_PRIORITY)
        self.rlimit_nofile: int = scope.get(WORKER_RLIMIT_NOFILE)
        self.rlimit_core: int = scope.get(WORKER_RLIMIT_CORE)
        self.worker_shutdown_timeout: float = scope.get(WORKER_SHUTDOWN_TIMEOUT)
        self.pid: str = scope.get(PID) or scope.load.full_path(DEFAULT_PID)
        self.master_process: bool = scope.get(MASTER_PROCESS)
        self.daemon: bool = scope.get(DAEMON)
        self.is_transparent: bool = scope.load.is_transparent
        self.env: list[tuple[str, str | None]] = scope.all(ENV)
        self.working_directory: str = scope.get(WORKING_DIRECTORY)
        self.worker_connections: int = events[0].get(WORKER_CONNECTIONS)
        self.multi_accept: bool = events[0].get(MULTI_ACCEPT)
        self._warn_of_masks(scope)

    def _warn_of_masks(self, scope: Scope) -> None:
        masks = len(self.affinity.masks)
        if masks > 0 and not self.affinity.auto and masks not in (1, self.worker_processes):
            scope.load.diagnostics.warn(
                'the number of "worker_processes" is not equal to the number of "worker_cpu_affinity" masks, '
                "using last mask for remaining worker processes",
                None,
            )


def default_user() -> User:
    """Return nginx's default: ``nobody`` when started by root, otherwise whoever started it."""
    return find_user(DEFAULT_USER) if os.geteuid() == 0 else User("", -1, -1)
