"""`aidsafe view`: all rows in a browser, served on this machine and from this machine alone."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import print_plain, setup_errors_explained
from aidsafe_dagster.cli.dev import HOST, is_free, port_taken
from aidsafe_dagster.cli.project_folder import from_here


def view(
    prompt_id: Annotated[
        str,
        typer.Argument(help="Begin at this prompt; its id, or as much as is unique."),
    ] = "",
    *,
    port: Annotated[
        int, typer.Option(help="On 127.0.0.1 alone.", min=1, max=65535)
    ] = 3100,
    token: Annotated[
        bool,
        typer.Option(
            "--token",
            help="Let in only who has the link that is printed: for shared machines.",
        ),
    ] = False,
    socket: Annotated[
        Path | None,
        typer.Option(
            help="Listen on this Unix socket instead, for your user alone.",
            callback=from_here,
        ),
    ] = None,
) -> None:
    """Show all rows in a browser: search, filters, and each prompt's whole story; Ctrl-C ends it.

    Failures and tried beliefs are among them. Nothing is loaded from the network, and nothing can
    be changed. `aidsafe dev` serves the same pages at /rows.
    """
    with setup_errors_explained(has_own_handlers=True):
        import secrets

        from aidsafe_dagster.lake.lake import Lake
        from aidsafe_dagster.settings.load import load_settings
        from aidsafe_dagster.viewer.pages import RowPages
        from aidsafe_dagster.viewer.prompt_ids import find_prompt
        from aidsafe_dagster.web_ui.listening import listen

        settings = load_settings().settings
        path = "/rows"
        if prompt_id:
            path = f"/prompt/{find_prompt(Lake(settings.lake), prompt_id).prompt_id}"
        if socket is None and not is_free(port):
            raise port_taken(port, "view")
        pages = RowPages(settings)
        # Before the first page is asked for: with many batches it takes a while.
        pages.bring_up_to_date()
        secret = secrets.token_urlsafe() if token else ""
        where = f"http://{HOST}:{port}{path}"
        if secret:
            where += f"?token={secret}"
        if socket:
            where = f"unix:{socket}, path {path}"
        print_plain(f"All rows: {where}")
        try:
            listen(pages.app(), port, secret, socket)
        except KeyboardInterrupt:
            # There is nothing to be told of: nothing was changed.
            raise typer.Exit(130) from None
        finally:
            pages.index.close()
