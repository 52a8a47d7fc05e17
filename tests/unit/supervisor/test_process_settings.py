"""The main and events contexts: nginx 1.22's defaults and messages."""

from __future__ import annotations

import os
import pwd

import pytest
from tests.unit.supervisor.conftest import Configure

from portico.config.diagnostics import ConfigError
from portico.config.directive import EVENTS, Scope
from portico.supervisor.settings import MAIN_DIRECTIVES, ProcessSettings
from portico.supervisor.worker import filter_environment

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")


def mistakes(scope: Scope) -> list[str]:
    return [error.message for error in scope.load.diagnostics.errors]


def settings(scope: Scope) -> ProcessSettings:
    assert mistakes(scope) == []
    return ProcessSettings(scope)


def test_defaults(configure: Configure) -> None:
    found = settings(configure("events {}"))
    assert (found.worker_processes, found.worker_connections, found.multi_accept) == (1, 512, False)
    assert (found.master_process, found.daemon) == (True, False)
    assert found.pid.endswith("/logs/portico.pid")
    assert (found.rlimit_nofile, found.rlimit_core, found.worker_priority) == (-1, -1, 0)
    assert found.worker_shutdown_timeout == 0.0
    assert found.working_directory == ""
    assert found.affinity.cpus(0) is None
    assert found.env == []


def test_everything_given(configure: Configure) -> None:
    found = settings(
        configure("""
            worker_processes 3; worker_priority -5; worker_rlimit_nofile 100; worker_rlimit_core 2g;
            worker_shutdown_timeout 1m30s; pid run/x.pid; master_process off; daemon on; env A; env B=1=2;
            working_directory /tmp; timer_resolution 100ms; lock_file x;
            events { worker_connections 10; multi_accept on; use epoll;
                accept_mutex off; accept_mutex_delay 1s; }
        """)
    )
    assert (found.worker_processes, found.worker_connections, found.multi_accept) == (3, 10, True)
    assert (found.master_process, found.daemon) == (False, True)
    assert found.pid.endswith("/run/x.pid")
    assert (found.rlimit_nofile, found.rlimit_core, found.worker_priority) == (100, 2 << 30, -5)
    assert found.worker_shutdown_timeout == 90.0
    assert found.env == [("A", None), ("B", "1=2")]


def test_auto_is_the_cpus_that_we_may_use(configure: Configure) -> None:
    found = settings(configure("worker_processes auto; worker_cpu_affinity auto; events {}"))
    assert found.worker_processes == len(os.sched_getaffinity(0))
    used = [found.affinity.cpus(number) for number in range(found.worker_processes)]
    assert used == [{cpu} for cpu in sorted(os.sched_getaffinity(0))]


def test_masks_go_to_workers_in_order(configure: Configure) -> None:
    scope = configure("worker_processes 3; worker_cpu_affinity 0001 1010; events {}")
    found = settings(scope)
    assert [found.affinity.cpus(number) for number in range(3)] == [{0}, {1, 3}, {1, 3}]
    (warning,) = scope.load.diagnostics.warnings
    assert warning.message.startswith('the number of "worker_processes" is not equal to the number of')


@as_root
def test_the_user_brings_its_group(configure: Configure) -> None:
    nobody = pwd.getpwnam("nobody")
    for text in ("", "user nobody;"):
        found = settings(configure(text + "events {}"))
        assert (found.user.uid, found.user.gid) == (nobody.pw_uid, nobody.pw_gid)
    found = settings(configure("user nobody root; events {}"))
    assert (found.user.uid, found.user.gid) == (nobody.pw_uid, 0)


def test_the_events_block_must_be_there(configure: Configure) -> None:
    with pytest.raises(ConfigError, match='no "events" section in configuration'):
        ProcessSettings(configure("daemon off;"))


# What nginx 1.22 says (`nginx -t`), word for word.
REFUSED = [
    ("user;", 'invalid number of arguments in "user" directive'),
    ("worker_processes x;", '"worker_processes" directive invalid value'),
    ("worker_processes -1;", '"worker_processes" directive invalid value'),
    ("worker_cpu_affinity 012;", 'invalid character "2" in "worker_cpu_affinity"'),
    ("worker_cpu_affinity;", 'invalid number of arguments in "worker_cpu_affinity" directive'),
    ("worker_cpu_affinity auto 01 10;", 'invalid number of arguments in "worker_cpu_affinity" directive'),
    ("worker_priority x;", '"worker_priority" directive invalid number'),
    ("worker_priority 5x;", '"worker_priority" directive invalid number'),
    ("worker_priority 99999999999999999999;", '"worker_priority" directive invalid number'),
    ("worker_processes 99999999999999999999;", '"worker_processes" directive invalid value'),
    ("events { worker_connections 99999999999999999999; }", 'invalid number "99999999999999999999"'),
    ("worker_rlimit_nofile x;", '"worker_rlimit_nofile" directive invalid number'),
    ("worker_rlimit_core x;", '"worker_rlimit_core" directive invalid value'),
    ("worker_shutdown_timeout x;", '"worker_shutdown_timeout" directive invalid value'),
    ("timer_resolution x;", '"timer_resolution" directive invalid value'),
    ("pid a; pid b;", '"pid" directive is duplicate'),
    ("daemon x;", 'invalid value "x" in "daemon" directive, it must be "on" or "off"'),
    ("worker_connections 5;", '"worker_connections" directive is not allowed here'),
    ("events { use foo; }", 'invalid event type "foo"'),
    ("events { use poll; }", 'invalid event type "poll"'),
    ("events { worker_connections x; }", 'invalid number "x"'),
    (
        "events { multi_accept x; }",
        'invalid value "x" in "multi_accept" directive, it must be "on" or "off"',
    ),
    ("error_log;", 'invalid number of arguments in "error_log" directive'),
    ("error_log x foo;", 'invalid log level "foo"'),
    ("error_log x info warn;", 'duplicate log level "warn"'),
    ("error_log x debug_http debug;", 'duplicate log level "debug"'),
    ("error_log x debug_foo;", 'invalid log level "debug_foo"'),
    ("error_log syslog:foo=1;", 'unknown syslog parameter "foo=1"'),
    ("error_log syslog:tag=x;", "no syslog server specified"),
    ("error_log syslog:server=127.0.0.1,facility=foo;", 'unknown syslog facility "foo"'),
    ("error_log syslog:server=127.0.0.1,severity=foo;", 'unknown syslog severity "foo"'),
    (
        "error_log syslog:server=127.0.0.1,tag=a-b;",
        'syslog "tag" only allows alphanumeric characters and underscore',
    ),
    (f"error_log syslog:server=127.0.0.1,tag={'a' * 40};", "syslog tag length exceeds 32"),
    ("error_log syslog:server=127.0.0.1,nohostname,bar;", 'unknown syslog parameter "bar"'),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused_in_the_words_of_nginx(configure: Configure, text: str, message: str) -> None:
    assert mistakes(configure(text)) == [message]


@as_root
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user nosuch;", 'getpwnam("nosuch") failed'),
        ("user nobody nosuch;", 'getgrnam("nosuch") failed'),
    ],
)
def test_unknown_users(configure: Configure, text: str, message: str) -> None:
    assert mistakes(configure(text)) == [message]


@pytest.mark.parametrize(
    "text",
    [
        "load_module modules/ngx_http_geoip_module.so;",
        "worker_processes 0;",
        "events { worker_connections 0; }",
        "error_log memory:1m;",
    ],
)
def test_refused_because_it_would_not_be_honoured(configure: Configure, text: str) -> None:
    assert len(mistakes(configure(text))) == 1


@pytest.mark.parametrize("directive", MAIN_DIRECTIVES, ids=lambda directive: directive.name)
def test_examples_load(configure: Configure, directive: object) -> None:
    found = next(one for one in MAIN_DIRECTIVES if one is directive)
    assert found.doc and found.syntax and found.default_text
    assert mistakes(configure(found.example)) == []
    assert found.contexts != EVENTS or found.example.startswith("events {")


def test_environment_variable_without_a_name(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to set one."""
    monkeypatch.setattr(os, "environ", {"TZ": "UTC", "HOME": "/"})
    filter_environment(settings(configure('env "=x"; env A=b; events {}')))
    assert os.environ == {"TZ": "UTC", "A": "b"}
