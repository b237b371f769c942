"""Serves the page of a review until it is interrupted."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from edgedistill.errors import UserError
from edgedistill.gate.review.app import app

if TYPE_CHECKING:
    from edgedistill.gate.review.store import Store

_LOOK_S = 0.2
_END_S = 5
"""How long requests may take that were begun before the end."""


def links(store: Store, host: str, port: int) -> dict[str, str]:
    """The address of the page for each reviewer. The token is behind #, so that browsers send it to no server and into no log."""
    shown = socket.gethostname() if ipaddress.ip_address(host).is_unspecified else host
    if ":" in shown:
        shown = f"[{shown}]"
    return {name: f"http://{shown}:{port}/#{token}" for name, token in store.tokens().items()}


def serve(store: Store, host: str, port: int, ready: Callable[[dict[str, str]], None]) -> None:
    """Answer requests at the IP address `host` until Ctrl-C. port: 0 takes a free one. ready: called once with the `links`.

    Raises UserError where it cannot listen there.
    """
    with _listening(host, port) as listening:
        server = uvicorn.Server(
            uvicorn.Config(
                app(store, host), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_END_S, ws="none"
            )
        )
        # Outside of the main thread uvicorn leaves signals alone.
        working = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        working.start()
        try:
            ready(links(store, host, listening.getsockname()[1]))
            while working.is_alive():
                working.join(_LOOK_S)
        except KeyboardInterrupt:
            pass
        finally:
            server.should_exit = True
            working.join()


def _listening(host: str, port: int) -> socket.socket:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError as error:
        raise UserError(f"--host: found {host}, expected an IP address, as 127.0.0.1") from error
    made = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        # A browser that is opened before the server is ready waits.
        made.listen()
    except OSError as error:
        made.close()
        raise UserError(f"cannot listen at {host}, port {port} ({error.strerror}); choose others by --host and --port") from error
    return made
