"""`aidsafe policy import | lint | test | report`: the policy as a program."""

from pathlib import Path
from typing import Annotated

import typer

from aidsafe_dagster.cli.chosen_batches import Batches, Sources
from aidsafe_dagster.cli.console import setup_errors_explained
from aidsafe_dagster.cli.project_folder import from_here

app = typer.Typer(
    help="The policy as a program: draft it, check it, test it, see what it does.",
    no_args_is_help=True,
)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="Markdown, plain text or PDF.", callback=from_here),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=from_here,
            help="Where the draft goes; `drafts/` beside the policies if not given.",
        ),
    ] = None,
    policy_id: Annotated[
        str,
        typer.Option("--id", help="Id of the policy; by the file's name if not given."),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One object of JSON, beside the file.")
    ] = False,
) -> None:
    """Draft numbered rules from a document, each with the passage it comes from.

    A person edits the draft; no file is ever overwritten. Exit status 1: a part of the document
    could not be read by the model, or no rule came of it.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.policy_import import Request, import_policy

        request = Request(file=file, policy_id=policy_id, out=out, as_json=as_json)
        if not import_policy(request):
            raise typer.Exit(1)


@app.command()
def lint(
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE|FOLDER]",
            callback=from_here,
            help="A policy, or a folder of them; without it, those of the settings.",
        ),
    ] = None,
    *,
    model: Annotated[
        bool, typer.Option(help="Let the model of the role policy_editor review too.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object of JSON.")
    ] = False,
) -> None:
    """Find rules that are duplicate, contradictory, vague, untestable or too long.

    Also files that do not parse, and categories that meet no prompt. Exit status 1: there is
    something to mend, or a rule could not be reviewed.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.policy_lint import Request, lint_policies

        request = Request(place=place, with_model=model, as_json=as_json)
        if not lint_policies(request):
            raise typer.Exit(1)


@app.command("test")
def run_cases(
    *,
    draft: Annotated[
        int,
        typer.Option(
            help="Draft cases until each rule has so many, instead of running them.",
            min=0,
        ),
    ] = 0,
    policies: Annotated[
        Path | None,
        typer.Option(
            callback=from_here,
            file_okay=False,
            help="A folder of policies, instead of that of the settings.",
        ),
    ] = None,
    cases: Annotated[
        Path | None,
        typer.Option(
            callback=from_here,
            file_okay=False,
            help="The folder of the cases; `cases/` beside the policies if not given.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            callback=from_here,
            file_okay=False,
            help="The folder of an earlier run to compare with; else the last one.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object of JSON.")
    ] = False,
) -> None:
    """Run the cases beside the policies through the recipe, and say what changed since.

    A case has a prompt, the rule that decides it, and what must and must not happen. Exit status 1:
    a case failed.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.policy_cases import Request, run_policy_cases

        request = Request(
            policies=policies,
            cases=cases,
            draft=draft,
            against=against,
            as_json=as_json,
        )
        if not run_policy_cases(request):
            raise typer.Exit(1)


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
    batches: Batches = None,
    sources: Sources = None,
) -> None:
    """Say what the rows made of each rule: cited, misused, disputed, behind needless refusals.

    Each line names three prompts to read. Nothing is asked of a model.
    """
    with setup_errors_explained():
        from aidsafe_dagster.cli.policy_report import print_policy_report

        print_policy_report(html, as_json=as_json, batches=batches, sources=sources)
