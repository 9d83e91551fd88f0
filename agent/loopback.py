"""Names and addresses of this machine: what keeps pages of the web from asking servers on loopback (DNS rebinding). Pure."""

from __future__ import annotations

import ipaddress

_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_local(header: str) -> bool:
    """Whether a Host header names this machine, with any port."""
    name = header.strip().lower()
    if name.startswith("["):
        name, closed, _ = name[1:].partition("]")
        if not closed:
            return False
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    return name.rstrip(".") in _NAMES or is_loopback(name)
