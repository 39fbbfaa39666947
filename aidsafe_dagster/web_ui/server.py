"""Serves Dagster's web UI behind the door: `python -m aidsafe_dagster.web_ui.server PORT`.

The token, if there is one, is in the environment, where no list of processes shows it.
"""

import os
import sys
from pathlib import Path
from socket import AF_UNIX
from socket import socket as Socket  # noqa: N812 - beside an argument of that name

import dagster as dg
import uvicorn
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from starlette.types import ASGIApp

from aidsafe_dagster.runs.dagster_internals import (
    WorkspaceFileTarget,
    WorkspaceProcessContext,
)
from aidsafe_dagster.web_ui.definitions_reload import reloads_definitions
from aidsafe_dagster.web_ui.door import Door, loopback_hosts

HOST = "127.0.0.1"
TOKEN_VARIABLE = "AIDSAFE_WEB_TOKEN"  # noqa: S105 - the name of a variable
WORKSPACE_FILE = "workspace.yaml"


def serve(port: int, token: str = "", socket: Path | None = None) -> None:
    """Serve the web UI of the instance in DAGSTER_HOME until the process is ended.

    Args:
        port: on loopback.
        token: what requests have to know; empty: nothing.
        socket: listen on this Unix socket instead of the port.
    """
    target = WorkspaceFileTarget(paths=[WORKSPACE_FILE])
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, target, version=__version__) as context,
    ):
        app: ASGIApp = create_app_from_workspace_process_context(context)
        door = Door(app, loopback_hosts(port), token)
        config = uvicorn.Config(door, host=HOST, port=port, log_level="warning")
        sockets = [_private_socket(socket)] if socket else None
        with reloads_definitions(lambda: _reload(context)):
            uvicorn.Server(config).run(sockets)


def _reload(context: WorkspaceProcessContext) -> None:
    for name in context.code_location_names:
        context.reload_code_location(name)


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


def main(port: str, socket: str = "") -> None:
    # Taken out of the environment, since the code server would inherit it.
    token = os.environ.pop(TOKEN_VARIABLE, "")
    serve(int(port), token, Path(socket) if socket else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
