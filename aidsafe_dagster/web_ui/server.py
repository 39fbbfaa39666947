"""Serves Dagster's web UI behind the door: `python -m aidsafe_dagster.web_ui.server PORT`.

The token, if there is one, is in the environment, where no list of processes shows it.
"""

import os
import sys
from functools import cache
from pathlib import Path

import dagster as dg
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from aidsafe_dagster.recipe.errors import SetupError
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

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_row_page(scope["path"]):
            await web_ui(scope, receive, send)
            return
        try:
            rows = await run_in_threadpool(_row_pages)
        except SetupError as error:
            # The UI itself is of use where the settings have a mistake.
            reply = PlainTextResponse(f"{error}\n", status_code=500)
            await reply(scope, receive, send)
            return
        await rows(scope, receive, send)

    return app


@cache
def _row_pages() -> ASGIApp:
    # When they are first asked for: reading the lake costs a moment.
    return RowPages(load_settings().settings).app()


def main(port: str, socket: str = "") -> None:
    # Taken out of the environment, since the code server would inherit it.
    token = os.environ.pop(TOKEN_VARIABLE, "")
    serve(int(port), token, Path(socket) if socket else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
