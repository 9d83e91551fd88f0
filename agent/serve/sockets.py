"""A socket to listen on, apart from everything that the model brings with it."""

from __future__ import annotations

import socket

from agent.errors import UsageError


def bound(host: str, port: int) -> socket.socket:
    """A socket on that address, not yet listening; port 0 is any that is free. Raises UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"--host {host}: is no address of this machine ({error.strerror})") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise UsageError(
            f"{host}:{port} cannot be listened on ({error.strerror}); stop what listens there, or choose another"
            " --port"
        ) from error
    return made
