"""Serves Dagster's web UI behind the door: `python -m aidsafe_dagster.web_ui.server PORT`.

The token, if there is one, is in the environment, where no list of processes shows it.
"""

import os
import sys
from pathlib import Path

import dagster as dg
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from starlette.types import ASGIApp, Receive, Scope, Send

from aidsafe_dagster.runs.dagster_internals import (
    WorkspaceFileTarget,
    WorkspaceProcessContext,
)
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.viewer.pages import RowPages, is_row_page
from aidsafe_dagster.web_ui.listening import listen

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
        app = create_app_from_workspace_process_context(context)
        listen(_with_rows(app), port, token, socket)


def _with_rows(web_ui: ASGIApp) -> ASGIApp:
    """Add the pages on all rows, to which the UI's own pages link."""
    rows = RowPages(load_settings().settings).app()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_of_rows = scope["type"] == "http" and is_row_page(scope["path"])
        await (rows if is_of_rows else web_ui)(scope, receive, send)

    return app


def main(port: str, socket: str = "") -> None:
    # Taken out of the environment, since the code server would inherit it.
    token = os.environ.pop(TOKEN_VARIABLE, "")
    serve(int(port), token, Path(socket) if socket else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
