"""The work of `aidsafe policy test`: run the cases, print them, and what changed since."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.text import Text

from aidsafe_dagster.cli.console import (
    console,
    cut,
    print_paragraph,
    print_plain,
    print_problem,
    quantity,
)
from aidsafe_dagster.cli.engine_line import print_engine
from aidsafe_dagster.cli.policy_progress import editor_of, server_log, waiting
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.cli.tryout_changes import word_by_word
from aidsafe_dagster.policy_work.case_diff import CaseDiff, ChangedCase, compare_runs
from aidsafe_dagster.policy_work.case_drafts import Drafts, draft_missing
from aidsafe_dagster.policy_work.case_run import (
    CaseOutcome,
    CaseRunner,
    KeptRun,
    latest_run,
    load_run,
)
from aidsafe_dagster.policy_work.places import cases_folder
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.policy_cases import CaseFile, load_cases
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets
from aidsafe_dagster.tryout.comparison import ChangedText

_MOST_SHOWN = 10


@dataclass(frozen=True)
class Request:
    """What a person asked to test."""

    policies: Path | None
    cases: Path | None
    draft: int
    """Cases that each rule is to have; 0: the cases are run."""
    against: Path | None
    as_json: bool


def run_policy_cases(request: Request) -> bool:
    """Run the cases beside the policies, or draft some.

    Returns:
        Whether every case passed; of drafting, whether every rule has its drafts.

    Raises:
        SetupError: policies or cases cannot be read, there is no case, or no call can succeed.
    """
    settings = load_settings().settings
    if request.policies:
        changes = {"policies": request.policies, "use_policies": ()}
        settings = settings.model_copy(update=changes)
    policies = settings.load_policies()
    folder = request.cases or cases_folder(settings, settings.policies)
    files = load_cases(folder, policies)
    if not request.as_json:
        print_engine(settings)
    if request.draft:
        return _draft(request, settings, policies, files, folder)
    if not any(file.cases for file in files):
        raise SetupError(
            f"{shown(folder)}: there are no cases yet; `aidsafe policy test --draft 2` drafts two "
            "per rule, to be read and mended, or write the first one yourself (docs/policies.md)"
        )
    before = load_run(request.against) if request.against else latest_run(settings)
    kept_run = _run(settings, policies, files)
    diff = compare_runs(before.run, kept_run.run) if before else None
    if request.as_json:
        typer.echo(json.dumps(_as_values(kept_run, before, diff)))
    else:
        _print_run(kept_run, settings)
        if before and diff:
            _print_diff(diff, before)
        _print_summary(kept_run, settings)
    return not kept_run.run.failures


def _run(settings: Settings, policies: Policies, files: Sequence[CaseFile]) -> KeptRun:
    with waiting(settings, "Running the cases …") as polling:
        editor = editor_of(settings, policies, polling)
        runner = CaseRunner(settings, policies, editor, server_log(settings))
        return runner.run(files, polling)


def _draft(
    request: Request,
    settings: Settings,
    policies: Policies,
    files: Sequence[CaseFile],
    folder: Path,
) -> bool:
    with waiting(settings, "Drafting cases …") as polling:
        editor = editor_of(settings, policies, polling)
        editor.require_servers(Role.POLICY_EDITOR)
        drafts = draft_missing(policies, files, folder, request.draft, editor)
    if request.as_json:
        typer.echo(json.dumps(_draft_values(drafts)))
    else:
        _print_drafts(drafts, settings)
    return not drafts.failed


def _print_drafts(drafts: Drafts, settings: Settings) -> None:
    for path, cases in drafts.by_file.items():
        print_paragraph(f"{shown(path)}: {quantity(len(cases), 'case')} drafted")
        for case in cases[:3]:
            print_paragraph(f"{case.rule}: {visible(case.prompt)}", 2)
    if not drafts.by_file and not drafts.failed:
        print_paragraph("Every rule has as many cases already.")
    for rule, failure in drafts.failed:
        detail = visible(mask_secrets(failure.detail, settings))
        print_problem("Not drafted", f"{rule}: {failure.reason}: {detail}")
    spending = Spending(drafts.usage, drafts.replayed)
    print_paragraph(f"Cost: {describe_spending(spending, settings.currency)}")
    if drafts.by_file:
        print_paragraph("Read them, mend them, then run them: aidsafe policy test")


def _print_run(kept_run: KeptRun, settings: Settings) -> None:
    for outcome in kept_run.run.outcomes:
        sign = "✓" if outcome.passed else "✗"
        drafted = ", drafted" if outcome.drafted else ""
        print_paragraph(f"{sign} {visible(outcome.name)} ({outcome.rule}{drafted})")
        if not outcome.passed:
            _print_failure(outcome, settings)
        if outcome.held_back:
            detail = visible(mask_secrets(outcome.held_back, settings))
            print_paragraph(f"a run would hold the row back: {detail}", 4)


def _print_failure(outcome: CaseOutcome, settings: Settings) -> None:
    print_paragraph(f"{outcome.file}: {visible(cut(outcome.prompt, 160))}", 4)
    if outcome.failed:
        detail = visible(mask_secrets(outcome.failed, settings))
        print_paragraph(f"no response: {detail}", 4)
        return
    for check in outcome.checks:
        if not check.passed:
            detail = visible(mask_secrets(check.detail, settings))
            print_paragraph(f"expected: {visible(check.expected)}", 4)
            print_paragraph(f"but: {detail}", 4)
    print_paragraph(f"response: {visible(cut(outcome.response, 300))}", 4)


def _print_diff(diff: CaseDiff, before: KeptRun) -> None:
    print_plain("")
    print_paragraph(f"Since {before.folder.name}:")
    if diff.models:
        print_paragraph(f"other models: {diff.models[0]}, now {diff.models[1]}", 2)
    for rule in diff.rules:
        _print_change(f"{rule.title}: ", rule)
    if not diff.rules:
        print_paragraph("the wording of the rules is the same", 2)
    for words, cases in (("now fails", diff.broken), ("now passes", diff.mended)):
        for case in cases:
            print_paragraph(f"{words}: {visible(case.after.name)}", 2)
            _print_change_of(case)
    for case in diff.moved[:_MOST_SHOWN]:
        verdict = "passes" if case.after.passed else "fails"
        print_paragraph(f"still {verdict}, otherwise: {visible(case.after.name)}", 2)
        _print_change_of(case)
    if len(diff.moved) > _MOST_SHOWN:
        print_paragraph(f"and {len(diff.moved) - _MOST_SHOWN} more", 2)
    for words, names in (("new", diff.added), ("gone", diff.gone)):
        if names:
            print_paragraph(f"{words}: {visible(', '.join(names))}", 2)
    print_paragraph(f"unchanged: {quantity(diff.same, 'case')}", 2)


def _print_change_of(case: ChangedCase) -> None:
    if case.before.cited != case.after.cited:
        old = ", ".join(case.before.cited) or "none"
        new = ", ".join(case.after.cited) or "none"
        print_paragraph(f"cited {old}; now {new}", 4)
    if case.is_other_response:
        text = ChangedText("response", case.before.response, case.after.response)
        _print_change("response: ", text, 4)


def _print_change(title: str, text: ChangedText, indent: int = 2) -> None:
    words = word_by_word(text).plain
    print_paragraph(f"{title}{visible(cut(words, 600))}", indent)


def _print_summary(kept_run: KeptRun, settings: Settings) -> None:
    run = kept_run.run
    passed = len(run.outcomes) - len(run.failures)
    style = "green" if not run.failures else "red"
    print_plain("")
    line = f"{passed} of {quantity(len(run.outcomes), 'case')} passed."
    console.print(Text(line, style=style))
    drafted = sum(outcome.drafted for outcome in run.outcomes)
    if drafted:
        print_paragraph(f"{drafted} of them drafted by a model, and not confirmed yet.")
    again = sum(outcome.asked_again for outcome in run.outcomes)
    if again:
        cases = quantity(again, "case")
        print_paragraph(
            f"In {cases} an answer of the model was not valid. The next run asks for it again."
        )
    spending = Spending(run.usage, run.replayed)
    print_paragraph(f"Cost: {describe_spending(spending, settings.currency)}")
    print_plain(f"Kept in {shown(kept_run.folder)}")


def _as_values(
    kept_run: KeptRun, before: KeptRun | None, diff: CaseDiff | None
) -> dict[str, object]:
    run = kept_run.run
    cases = []
    for outcome in run.outcomes:
        cases.append({**outcome.model_dump(mode="json"), "passed": outcome.passed})
    values: dict[str, object] = run.model_dump(mode="json", exclude={"outcomes"})
    values |= {"cases": cases, "folder": str(kept_run.folder), "since": None}
    if before and diff:
        values["since"] = {
            "folder": str(before.folder),
            "changed_rules": [one.title for one in diff.rules],
            "broken": [one.after.name for one in diff.broken],
            "mended": [one.after.name for one in diff.mended],
            "moved": [one.after.name for one in diff.moved],
            "added": list(diff.added),
            "gone": list(diff.gone),
            "unchanged": diff.same,
        }
    return values


def _draft_values(drafts: Drafts) -> dict[str, object]:
    files = {}
    for path, cases in drafts.by_file.items():
        files[str(path)] = len(cases)
    return {
        "files": files,
        "drafted": drafts.count,
        "failed": {rule: str(failure.reason) for rule, failure in drafts.failed},
        "model": drafts.model,
        "simulated": drafts.simulated,
        "usage": drafts.usage.model_dump(),
        "replayed": drafts.replayed,
    }
