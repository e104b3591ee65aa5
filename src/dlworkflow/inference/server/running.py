"""A server on a port of this machine, until a signal ends it: requests that were taken are answered first."""

from __future__ import annotations

import errno
import logging
import math
import signal
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import uvicorn

from dlworkflow.errors import ConfigError
from dlworkflow.inference.server.limits import Limits

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # those that the system has
_WAITING = 2048  # connections that are not accepted yet


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 is any free one. Raises ConfigError where that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=_WAITING)
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"--host: {host!r} is no name or address of this machine, as 127.0.0.1 or 0.0.0.0") from None
    except OSError as error:
        raise ConfigError(_why_not(error, host, port)) from None
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # for its connections: an answer is two packets
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the address as a browser takes it; of a socket that listens everywhere, the one on this machine."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "127.0.0.1" if listening.family == socket.AF_INET else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def own_names(listening: socket.socket, host: str) -> set[str] | None:
    """Return the names by which a server is reached that only this machine reaches; None where others do, too."""
    return {"localhost", "127.0.0.1", "::1", host.casefold()} if is_local(listening) else None


def is_local(listening: socket.socket) -> bool:
    """Return whether only this machine reaches a socket."""
    return ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def serve(app: Any, listening: socket.socket, limits: Limits) -> None:
    """Answer requests until a signal comes; then answer those that were taken, and return.

    A second Ctrl-C raises KeyboardInterrupt at once. To be called in the main thread.
    """
    _allow_many_connections()
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every malformed form
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            backlog=_WAITING,
            timeout_graceful_shutdown=math.ceil(2 * limits.seconds),
        )
    )

    def end(number: int, _frame: Any) -> None:
        if server.force_exit and number == signal.SIGINT:
            raise KeyboardInterrupt
        server.should_exit = True

    found = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in found if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        server.run(sockets=[listening])  # handles some signals itself and raises them again when it has ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _allow_many_connections() -> None:
    """Let this process have as many connections as the system allows it."""
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port: {port} is in use; give another one, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"--port: {port} may not be used by you (permission denied); give one of at least 1024"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host: {host!r} is no address of this machine; 127.0.0.1 is for itself alone, 0.0.0.0 for all"
    return f"--host: cannot listen at {host!r}, port {port}: {error.strerror}"
