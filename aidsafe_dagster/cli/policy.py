"""`aidsafe policy report`: the policy as a program."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained
from aidsafe_dagster.cli.project_folder import from_here

app = typer.Typer(
    help="The policy as a program: draft it, check it, test it, see what it does.",
    no_args_is_help=True,
)


@app.command()
def report(
    *,
    html: Annotated[
        Path | None,
        typer.Option(
            callback=from_here,
            help="Where the page goes; policy_report.html among the reports if not given.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One object of JSON, and no page without --html."),
    ] = False,
) -> None:
    """Say what the rows made of each rule: cited, misused, disputed, behind needless refusals.

    Each line names three prompts to read. Nothing is asked of a model.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.policy_report import print_policy_report

        print_policy_report(html, as_json=as_json)
