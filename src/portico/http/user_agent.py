"""Old browsers that nginx knows by their User-Agent (ngx_http_process_user_agent)."""

from __future__ import annotations


def is_msie6(agent: bytes) -> bool:
    """Internet Explorer 4 to 6, but for 6 with the service pack that mended it, and Opera that calls itself so."""
    at = agent.find(b"MSIE ")
    if at < 0 or len(agent) <= at + 7 or agent[at + 6] != 46 or agent.find(b"Opera") >= 0:
        return False
    version = agent[at + 5]
    return version == 52 or version == 53 or (version == 54 and agent.find(b"SV1", at) < 0)


def is_msie(agent: bytes) -> bool:
    """Internet Explorer up to 10, but not an Opera that calls itself so."""
    at = agent.find(b"MSIE ")
    return at >= 0 and len(agent) > at + 7 and agent.find(b"Opera") < 0
