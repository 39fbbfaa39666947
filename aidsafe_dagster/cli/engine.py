"""`aidsafe engine start | status | logs | stop`: the managed vLLM server of this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    setup_errors_explained,
)

if TYPE_CHECKING:
    from aidsafe_dagster.engines.vllm.server import VLLMServer

app = typer.Typer(help="The managed vLLM server of this machine.", no_args_is_help=True)


@app.command()
def start() -> None:
    """Start the server of the settings, or find it running, and wait until it is ready."""
    with setup_errors_explained():
        import asyncio

        server = _open_server()
        lease = asyncio.run(server.acquire())
        # This process is done with the server, which runs on until it has been idle for too long.
        server.release()
        console.print(
            f"vLLM serves {lease.model} at {lease.root}/v1; "
            f"it stops after {lease.idle_stop_s:.0f} s without use."
        )


@app.command()
def status() -> None:
    """Say whether the server runs, with what, and who uses it."""
    with setup_errors_explained():
        server = _open_server()
        lease = server.lease()
        if lease is None:
            print_plain("No vLLM server runs.")
            raise typer.Exit(1)
        # A lease outlives its server, so the process is asked too.
        is_up = server.is_running() and lease.state in ("starting", "ready")
        if not is_up:
            detail = lease.detail or "no detail"
            print_paragraph(f"No vLLM server runs (last: {lease.state}, {detail}).")
            raise typer.Exit(1)
        # A server that somebody started with other settings is not reused.
        is_same = lease.fingerprint == server.settings.fingerprint
        arguments = "the settings' own" if is_same else "with other arguments"
        address = f"{lease.root}/v1"
        print_paragraph(f"{lease.state}: {lease.model} at {address}, {arguments}")
        users = ", ".join(map(str, server.users()))
        if not users:
            users = "nobody"
        print_paragraph(
            f"process {lease.server}, kept by {lease.keeper}; used by {users}"
        )


@app.command()
def logs(
    lines: Annotated[int, typer.Option(help="Lines from the end.", min=1)] = 100,
) -> None:
    """Print the end of the server's log."""
    with setup_errors_explained():
        for line in _open_server().log_tail(lines):
            print_plain(line)


@app.command()
def stop() -> None:
    """Stop the server now, whoever uses it: their calls are tried again once it runs."""
    with setup_errors_explained():
        was_running = _open_server().stop()
        console.print("Stopped." if was_running else "No vLLM server ran.")


def _open_server() -> "VLLMServer":
    from aidsafe_dagster.engines.vllm.server import VLLMServer
    from aidsafe_dagster.settings.load import load_settings

    return VLLMServer(load_settings().settings.vllm, print_plain)
