"""The work of `aidsafe policy lint`: check, print a line per finding, say how it ended."""

import json
from dataclasses import dataclass
from pathlib import Path

import typer

from aidsafe_dagster.cli.console import print_paragraph, print_plain, quantity
from aidsafe_dagster.cli.engine_line import print_engine
from aidsafe_dagster.cli.policy_progress import editor_of, waiting
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.policy_work.findings import Finding
from aidsafe_dagster.policy_work.lint import Lint, counts, lint_by_model, lint_by_rule
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets


@dataclass(frozen=True)
class Request:
    """What a person asked to check."""

    place: Path | None
    with_model: bool
    as_json: bool


def lint_policies(request: Request) -> bool:
    """Check policies, and print what was found.

    Returns:
        Whether there is nothing to mend, and the model reviewed every rule that it was to review.

    Raises:
        SetupError: there is no policy file, or no call can succeed.
    """
    settings = load_settings().settings
    if request.with_model and not request.as_json:
        print_engine(settings)
    lint = lint_by_rule(request.place, settings, asks=request.with_model)
    if request.with_model and lint.rules:
        with waiting(settings, "Reviewing rules …") as polling:
            editor = editor_of(settings, lint.policies, polling)
            editor.require_servers(Role.POLICY_EDITOR)
            lint_by_model(lint, editor)
    if request.as_json:
        typer.echo(json.dumps(_as_values(lint)))
    else:
        _print_lint(lint, settings)
    return not lint.problems


def _print_lint(lint: Lint, settings: Settings) -> None:
    for finding in lint.findings:
        print_paragraph(_heading(finding))
        for line in mask_secrets(finding.message, settings).split("\n"):
            print_paragraph(visible(line), 4)
    if lint.findings:
        print_plain("")
    files = quantity(len(lint.files), "file")
    rules = quantity(len(lint.rules), "rule")
    looked_at = f"{rules} in {files}"
    if lint.model:
        looked_at += f"; {lint.reviewed} of {lint.due} reviewed by {lint.model}"
    else:
        looked_at += "; no model was asked"
    listing = [f"{check} {count}" for check, count in counts(lint.problems)]
    outcome = ", ".join(listing) if listing else "nothing to mend"
    print_paragraph(f"{looked_at}: {outcome}.")
    if lint.model:
        spending = Spending(lint.usage, lint.replayed)
        print_paragraph(f"Cost: {describe_spending(spending, settings.currency)}")


def _heading(finding: Finding) -> str:
    place = shown(finding.file)
    if finding.line:
        place += f":{finding.line}"
    what = "note, " if finding.is_note else ""
    heading = f"{place}: {what}{finding.check}"
    if finding.rule:
        heading += f": {finding.rule}"
    if finding.other:
        heading += f" and {finding.other}"
        if finding.other_file and finding.other_file != finding.file:
            heading += f" in {shown(finding.other_file)}"
    return f"{heading} (by {finding.by})"


def _as_values(lint: Lint) -> dict[str, object]:
    return {
        "files": [str(file.path) for file in lint.files],
        "rules": len(lint.rules),
        "reviewed": lint.reviewed,
        "due": lint.due,
        "model": lint.model,
        "simulated": lint.simulated,
        "findings": [one.model_dump(mode="json") for one in lint.findings],
        "usage": lint.usage.model_dump(),
        "replayed": lint.replayed,
    }
