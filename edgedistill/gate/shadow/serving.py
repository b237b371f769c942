"""Serves the proxy until it is told to end."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.gate.shadow.proxy import Application

_GRACE_S = 10
"""How long answers that are on their way may take when the proxy ends."""
_KEPT_S = 75
"""How long a caller's connection is kept: longer than callers do, so that none asks while it is closed."""


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Server:
    """A proxy that serves at `port`, in a thread that ends early where it fails."""

    thread: threading.Thread
    port: int


@contextmanager
def serving(application: Application, host: str, port: int) -> Iterator[Server]:
    """Serve `application` at `host` and `port` for the block; 0 for any free port.

    Raises UserError where the address is not free.
    """
    import uvicorn

    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(f"found no free address {host}:{port} ({error.strerror}); name others by --host and --port") from error
    # Connections inherit it. Otherwise the end of each answer waits 40 ms for the receipt of its beginning.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Nothing is logged: requests hold what users wrote, and keys.
    config = uvicorn.Config(
        application, lifespan="off", log_config=None, log_level="critical", access_log=False, server_header=False, date_header=False,
        timeout_keep_alive=_KEPT_S, timeout_graceful_shutdown=_GRACE_S,
    )  # fmt: skip
    server = uvicorn.Server(config)
    # In a thread of its own it takes no signals, which are the command's.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="proxy", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise DeviceFailed("the proxy did not start")
            thread.join(0.01)
        yield Server(thread, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
