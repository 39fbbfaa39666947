"""`aidsafe dev`: the web UI, behind its door, and the daemon, for a person at this machine."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import (
    print_paragraph,
    print_plain,
    quantity,
    setup_errors_explained,
)
from aidsafe_dagster.cli.project_folder import from_here

HOST = "127.0.0.1"
GRAPH = "locations/aidsafe_dagster/jobs/make_batch"
"""`code_location_name` in pyproject.toml, and the job of the recipe: its graph is the recipe alone,
while the lineage of the asset group has every report and experiment that reads its tables."""


def dev(
    port: Annotated[
        int, typer.Option(help="On 127.0.0.1 alone.", min=1, max=65535)
    ] = 3000,
    *,
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
    """Start the web UI and the daemon; Ctrl-C ends both."""
    with setup_errors_explained(has_own_handlers=True):
        import secrets

        from aidsafe_dagster.cli.dev_services import run_services
        from aidsafe_dagster.cli.local_runs import open_instance
        from aidsafe_dagster.runs.future_ticks import forget_future_ticks

        # A port that is taken, and an instance that cannot be opened, are told before anything
        # is started.
        if socket is None and not is_free(port):
            raise port_taken(port)
        with open_instance() as instance:
            forget_future_ticks(instance)
        secret = secrets.token_urlsafe() if token else ""
        where = f"http://{HOST}:{port}/{GRAPH}"
        if secret:
            where += f"?token={secret}"
        if socket:
            where = f"unix:{socket}"
        print_plain(f"The recipe: {where}")
        if not socket:
            print_plain(f"All rows:   http://{HOST}:{port}/rows")
        status = run_services(port, secret, socket)
        _print_runs_under_way()
        raise typer.Exit(status)


def _print_runs_under_way() -> None:
    """Say how many runs outlive the daemon that has started them."""
    import dagster as dg

    from aidsafe_dagster.cli.local_runs import open_instance

    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    with open_instance() as instance:
        count = instance.get_runs_count(started)
    if count:
        verb = "goes" if count == 1 else "go"
        print_paragraph(
            f"{quantity(count, 'run')} {verb} on without them. "
            "To see or cancel: aidsafe dev"
        )


def is_free(port: int) -> bool:
    """Tell whether a web server could listen on a port."""
    import socket

    with socket.socket() as listener:
        # As the web server does: a port whose last connections are closing counts as free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def port_taken(port: int, command: str = "dev") -> Exception:
    """Return the error of a command whose port is in use."""
    from aidsafe_dagster.recipe.errors import SetupError

    other = f", or make dev PORT={port + 1}" if command == "dev" else ""
    return SetupError(
        f"Port {port} is taken, perhaps by another `aidsafe {command}`. "
        f"Choose one: aidsafe {command} --port {port + 1}{other}"
    )
