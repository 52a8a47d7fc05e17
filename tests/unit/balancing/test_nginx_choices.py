"""The same groups on real nginx and here: each balancer makes nginx's choices, retries too."""

import http.client
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import NGINX, free_port, wait_until

from portico.balancing.balancer import Balancer
from portico.balancing.hash import ConsistentHash, Hash
from portico.balancing.ip_hash import IpHash
from portico.balancing.least_conn import LeastConn
from portico.balancing.peer import Peer, ServerSettings
from portico.balancing.round_robin import RoundRobin

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not os.path.exists(NGINX), reason="nginx is not installed"),
]

# group: method, [(backend, parameters)].  Backends ok1 … answer 200, bad1 … 502, shut1 … refuse.
GROUPS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "rr": ("", [("ok1", "weight=5"), ("ok2", ""), ("ok3", "weight=2")]),
    "rr_fails": ("", [("ok1", "weight=2"), ("shut1", "weight=6 max_fails=3"), ("ok2", "")]),
    "rr_down": ("", [("ok1", "down"), ("ok2", "weight=3"), ("bad1", "weight=2 max_fails=0"), ("ok3", "")]),
    "rr_backup": (
        "",
        [
            ("shut1", "max_fails=2"),
            ("ok1", "backup weight=2"),
            ("shut2", ""),
            ("ok2", "backup"),
        ],
    ),
    "rr_none": ("", [("shut1", ""), ("shut2", "max_fails=2"), ("shut3", "backup")]),
    "single": ("", [("shut1", "")]),
    "least": (
        "least_conn;",
        [
            ("ok1", "weight=3"),
            ("ok2", ""),
            ("bad1", "max_fails=0"),
            ("ok3", "weight=2"),
        ],
    ),
    "least_fails": ("least_conn;", [("shut1", "max_fails=2"), ("ok2", ""), ("ok3", "weight=2")]),
    "hash": ("hash $arg_k;", [("ok1", ""), ("ok2", "weight=2"), ("ok3", ""), ("ok4", "weight=3")]),
    "hash_bad": ("hash $arg_k;", [(f"bad{i}", f"max_fails=0 weight={i}") for i in (1, 2, 3, 4)]),
    "hash_fails": (
        "hash $arg_k;",
        [("ok1", ""), ("shut2", "weight=8 max_fails=2"), ("ok3", "")],
    ),
    "ring": ("hash $arg_k consistent;", [("ok1", ""), ("ok2", "weight=2"), ("ok3", ""), ("ok4", "weight=3")]),
    "ring_bad": ("hash $arg_k consistent;", [(f"bad{i}", f"max_fails=0 weight={i}") for i in (1, 2, 3, 4)]),
    "ring_unix": ("hash $arg_k consistent;", [("ok1", ""), ("unix", "max_fails=0"), ("ok3", "weight=2")]),
    "ip": ("ip_hash;", [("ok1", ""), ("ok2", "weight=2"), ("ok3", ""), ("ok4", "weight=3")]),
    "ip_bad": ("ip_hash;", [(f"bad{i}", f"max_fails=0 weight={i}") for i in (1, 2, 3, 4)]),
}
METHODS: dict[str, type[Balancer]] = {
    "": RoundRobin,
    "least_conn;": LeastConn,
    "hash $arg_k;": Hash,
    "hash $arg_k consistent;": ConsistentHash,
    "ip_hash;": IpHash,
}


class Oracle:
    """A running nginx with all the groups; backends are servers of its own."""

    def __init__(self, folder: Path) -> None:
        names = ["front"] + [f"{kind}{i}" for kind in ("ok", "bad", "shut") for i in (1, 2, 3, 4)]
        self.ports = {name: free_port() for name in names}
        self.address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.address["unix"] = f"unix:{folder}/refused.sock"
        (folder / "nginx.conf").write_text(self.configuration(folder))
        command = [
            NGINX,
            "-p",
            str(folder),
            "-c",
            str(folder / "nginx.conf"),
            "-e",
            str(folder / "error.log"),
        ]
        self.process = subprocess.Popen(command)
        wait_until(self.answers, what="nginx")

    def answers(self) -> bool:
        assert self.process.poll() is None, "nginx did not start"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports["front"])) == 0

    def configuration(self, folder: Path) -> str:
        lines = ["daemon off; master_process off; pid nginx.pid; events {} http { access_log off;"]
        for path in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            lines.append(f"{path}_temp_path {folder}/{path};")
        for group, (method, servers) in GROUPS.items():
            lines.append(f"upstream {group} {{ {method}")
            lines += [f"server {self.address[backend]} {parameters};" for backend, parameters in servers]
            lines.append("}")
        for name, port in self.ports.items():
            if name.startswith(("ok", "bad")):
                code = 200 if name.startswith("ok") else 502
                lines.append(f"server {{ listen 127.0.0.1:{port}; return {code}; }}")
        lines.append(f"server {{ listen 127.0.0.1:{self.ports['front']};")
        lines.append("proxy_next_upstream error http_502; add_header X-Tried $upstream_addr always;")
        lines += [f"location /{group} {{ proxy_pass http://{group}; }}" for group in GROUPS]
        return "\n".join([*lines, "} }\n"])

    def tried(self, group: str, key: str, source: str) -> list[str]:
        client = http.client.HTTPConnection("127.0.0.1", self.ports["front"], 10, (source, 0))
        try:
            client.request("GET", f"/{group}?k={key}")
            answer = client.getresponse()
            answer.read()
            return (answer.getheader("X-Tried") or "").split(", ")
        finally:
            client.close()


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    made = Oracle(tmp_path_factory.mktemp("nginx"))
    yield made
    made.process.terminate()
    made.process.wait(10)


def group_here(oracle: Oracle, group: str) -> Balancer:
    method, servers = GROUPS[group]
    primaries: list[Peer] = []
    backups: list[Peer] = []
    for backend, parameters in servers:
        given = dict(item.partition("=")[::2] for item in parameters.split())
        name = oracle.address[backend].encode()
        settings = ServerSettings(
            weight=int(given.get("weight", 1)),
            max_fails=int(given.get("max_fails", 1)),
            fail_timeout=float(given.get("fail_timeout", 10)),
            down="down" in given,
        )
        peer = Peer(name, socket.AF_INET, ("127.0.0.1", 1), settings)
        (backups if "backup" in given else primaries).append(peer)
    return METHODS[method](primaries, backups)


def tried_here(oracle: Oracle, balancer: Balancer, group: str, key: bytes) -> list[str]:
    """One request: attempts until a backend answers 200 or nothing is left, as nginx goes on."""
    works = {oracle.address[name].encode() for name in oracle.address if name.startswith("ok")}
    answers = {oracle.address[name].encode() for name in oracle.address if name.startswith("bad")}
    result: list[str] = []
    tried: list[Peer] = []
    tries = balancer.most_tries()
    while tries:
        peer = balancer.pick(key, tried, 1000.0)
        if peer is None:
            return [*result, group]  # nginx shows the group's name for "no live upstreams"
        tried.append(peer)
        tries -= 1
        result.append(peer.name.decode())
        balancer.free(peer, peer.name not in works, 1000.0)
        if peer.name in works or (peer.name in answers and tries == 0):
            break
    return result


@pytest.mark.parametrize("group", GROUPS)
def test_same_choices_as_nginx(oracle: Oracle, group: str) -> None:
    balancer = group_here(oracle, group)
    hashed = METHODS[GROUPS[group][0]] in (Hash, ConsistentHash, IpHash)
    for number in range(200 if hashed else 40):
        key, source = f"key{number}", "127.0.0.1"
        if group.startswith("ip"):
            source = f"127.{number}.{number * 7 % 251}.{1 + number % 200}"
        packed = socket.inet_aton(source) if group.startswith("ip") else key.encode()
        theirs = oracle.tried(group, key, source)
        assert tried_here(oracle, balancer, group, packed) == theirs, number


@pytest.mark.parametrize("group", ["hash", "ring"])
def test_an_empty_key_as_nginx(oracle: Oracle, group: str) -> None:
    balancer = group_here(oracle, group)
    theirs = [oracle.tried(group, "", "127.0.0.1") for _ in range(12)]
    ours = [tried_here(oracle, balancer, group, b"") for _ in range(12)]
    assert [len(set(map(str, theirs))), sorted(theirs)] == [len(set(map(str, ours))), sorted(ours)]
