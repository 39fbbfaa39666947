"""The work of `aidsafe policy import`: read, draft, write a file that was not there."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    print_problem,
    quantity,
)
from aidsafe_dagster.cli.engine_line import print_engine
from aidsafe_dagster.cli.policy_progress import editor_of, waiting
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.policy_work.drafting import (
    PolicyDraft,
    draft_policy,
    policy_id_of,
    policy_toml,
)
from aidsafe_dagster.policy_work.places import drafts_folder
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.documents import read_document
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets

_MOST_SHOWN = 8


@dataclass(frozen=True)
class Request:
    """What a person asked to import."""

    file: Path
    policy_id: str
    """Empty: by the file's name."""
    out: Path | None
    as_json: bool


def import_policy(request: Request) -> bool:
    """Draft a policy from a document, and write it to a file of its own.

    Returns:
        Whether every part of the document was read by the model, and a rule came of it.

    Raises:
        SetupError: the document cannot be read, the file is there already, or no call can succeed.
    """
    settings = load_settings().settings
    policy_id = request.policy_id or policy_id_of(request.file)
    out = request.out or drafts_folder(settings) / f"{policy_id}.toml"
    # Before anything is asked, since answers cost money.
    _require_new(out)
    document = read_document(request.file)
    if not request.as_json:
        print_engine(settings)
        if document.empty_pages:
            pages = quantity(document.empty_pages, "page")
            print_paragraph(f"{pages} of {document.pages} without text: not read.")
    with waiting(settings, "Drafting rules …") as polling:
        editor = editor_of(settings, Policies(policies=()), polling)
        editor.require_servers(Role.POLICY_EDITOR)
        draft = draft_policy(document, settings, editor)
    if draft.rules:
        text = policy_toml(draft, policy_id, request.file.name)
        _write_new(out, text)
    if request.as_json:
        typer.echo(json.dumps(_as_values(draft, out)))
    else:
        _print_draft(draft, out, settings)
    return bool(draft.rules) and not draft.failed


def _require_new(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise SetupError(
            f"{shown(out)}: there is such a file already, and nothing is overwritten; "
            "name another with --out, or move it away"
        )


def _write_new(out: Path, text: str) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # "x" fails, rather than overwrites, whatever has come there meanwhile.
        with out.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        _require_new(out)
        raise
    except OSError as error:
        raise SetupError(f"{out}: cannot be written ({error.strerror})") from error


def _print_draft(draft: PolicyDraft, out: Path, settings: Settings) -> None:
    for number, rule in enumerate(draft.rules[:_MOST_SHOWN], start=1):
        print_paragraph(f"{number}. {visible(rule.text)}")
        print_paragraph(f"{rule.place}: “{visible(rule.passage)}”", 4)
        if rule.doubt:
            print_paragraph(f"check this one: {rule.doubt}", 4)
    if len(draft.rules) > _MOST_SHOWN:
        print_plain(f"… and {len(draft.rules) - _MOST_SHOWN} more")
    print_plain("")
    parts = quantity(len(draft.parts), "part")
    if draft.rules:
        print_paragraph(
            f"{quantity(len(draft.rules), 'rule')} from {parts} of the document, each with its "
            "passage found there word for word."
        )
    doubtful = sum(bool(rule.doubt) for rule in draft.rules)
    if doubtful:
        print_paragraph(
            f"{quantity(doubtful, 'rule')} may say more than the passage; marked in the file."
        )
    for text in draft.unfounded[:_MOST_SHOWN]:
        print_paragraph(f"left out, no passage says so: {visible(text)}", 2)
    if draft.repeated:
        print_paragraph(f"{quantity(draft.repeated, 'rule')} drafted twice; kept once.")
    for part, failure in draft.failed:
        detail = mask_secrets(failure.detail, settings)
        print_problem("Not read", f"{part.place}: {failure.reason}: {visible(detail)}")
    spending = Spending(draft.usage, draft.replayed)
    print_paragraph(f"Cost: {describe_spending(spending, settings.currency)}")
    if not draft.rules:
        print_problem("Error", "no rule came of it, so no file was written")
        return
    console.print(f"Written to {shown(out)}", markup=False, highlight=False)
    print_plain(f"  aidsafe policy lint {shown(out)}    checks it")
    print_plain(
        "Then edit it, and move it to your policies: until then nothing uses it."
    )


def _as_values(draft: PolicyDraft, out: Path) -> dict[str, object]:
    rules = []
    for number, rule in enumerate(draft.rules, start=1):
        rules.append({"number": number, **asdict(rule), "doubt": rule.doubt})
    failed = []
    for part, failure in draft.failed:
        failed.append({"place": part.place, "reason": failure.reason})
    return {
        "file": str(out) if draft.rules else "",
        "title": draft.head.title,
        "purpose": draft.head.purpose,
        "rules": rules,
        "left_out": list(draft.unfounded),
        "parts": len(draft.parts),
        "not_read": failed,
        "model": draft.model,
        "simulated": draft.simulated,
        "usage": draft.usage.model_dump(),
        "replayed": draft.replayed,
    }
