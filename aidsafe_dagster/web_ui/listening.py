"""Where the web servers listen: on loopback, or on a Unix socket of this user's own."""

import os
from pathlib import Path
from socket import AF_UNIX
from socket import socket as Socket  # noqa: N812 - beside an argument of that name

import uvicorn
from starlette.types import ASGIApp

from aidsafe_dagster.web_ui.door import Door, loopback_hosts

HOST = "127.0.0.1"


def listen(
    app: ASGIApp, port: int, token: str = "", socket: Path | None = None
) -> None:
    """Serve an application behind the door until the process is ended.

    Args:
        app: what is served.
        port: on loopback.
        token: what requests have to know; empty: nothing.
        socket: listen on this Unix socket instead of the port.
    """
    door = Door(app, loopback_hosts(port), token)
    config = uvicorn.Config(door, host=HOST, port=port, log_level="warning")
    sockets = [_private_socket(socket)] if socket else None
    uvicorn.Server(config).run(sockets)


def _private_socket(path: Path) -> Socket:
    """Return a listening Unix socket that this user alone may connect to."""
    # Left over from a server that was killed.
    path.unlink(missing_ok=True)
    listener = Socket(AF_UNIX)
    # Not afterwards by chmod: for a moment others could connect.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen()
    return listener
