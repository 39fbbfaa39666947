"""`aidsafe engine start | status | logs | stop`: the managed vLLM server of this machine."""

import asyncio
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import console, explained
from aidsafe_dagster.engines.vllm.server import VLLMServer
from aidsafe_dagster.settings.load import load_settings

app = typer.Typer(help="The managed vLLM server of this machine.", no_args_is_help=True)


@app.command()
def start() -> None:
    """Start the server of the settings, or find it running, and wait until it is ready."""
    with explained():
        server = _server()
        lease = asyncio.run(server.acquire())
        server.release()
        console.print(
            f"vLLM serves {lease.model} at {lease.root}/v1; it stops after {lease.idle_stop_s:.0f} s without use."
        )


@app.command()
def status() -> None:
    """Say whether the server runs, with what, and who uses it."""
    with explained():
        server = _server()
        lease = server.lease()
        if lease is None or not server.is_running():
            told = f" (last: {lease.state}, {lease.detail or 'no detail'})" if lease else ""
            console.print(f"No vLLM server runs{told}.", markup=False)
            raise typer.Exit(1)
        users = ", ".join(map(str, server.users())) or "nobody"
        same = (
            "the settings' own"
            if lease.fingerprint == server.settings.fingerprint
            else "with other arguments"
        )
        console.print(f"{lease.state}: {lease.model} at {lease.root}/v1, {same}", markup=False)
        console.print(
            f"process {lease.server}, kept by {lease.keeper}; used by {users}", markup=False
        )


@app.command()
def logs(lines: Annotated[int, typer.Option(help="Lines from the end.", min=1)] = 100) -> None:
    """Print the end of the server's log."""
    with explained():
        for line in _server().log_tail(lines):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def stop() -> None:
    """Stop the server now, whoever uses it: their calls are tried again once it runs."""
    with explained():
        console.print("Stopped." if _server().stop() else "No vLLM server ran.")


def _server() -> VLLMServer:
    return VLLMServer(
        load_settings().settings.vllm,
        lambda line: console.print(line, markup=False, highlight=False),
    )
