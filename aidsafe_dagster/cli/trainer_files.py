"""What leaves the lake for a trainer or for the Hub: the files of an export, a release."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.choices import Arm
from aidsafe_dagster.cli.chosen_batches import choose_batches
from aidsafe_dagster.cli.console import REHEARSAL, console
from aidsafe_dagster.cli.local_runs import BatchRun
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.batch_rows import POLICY_ROWS, Judging
from aidsafe_dagster.publishing.dataset import (
    SPLITS,
    ReleaseSelection,
    drop_outdated,
    drop_simulated,
    simulated_prompts,
)
from aidsafe_dagster.publishing.export import write_export
from aidsafe_dagster.publishing.release import simulated_rows_message
from aidsafe_dagster.publishing.rows import COUNTERFACTUALS
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.format_types import Format, Reasoning
from aidsafe_dagster.recipe.formats import get_format
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.selection.store import train_prompts
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.batch_selection import select_for_release

_FACTS = (
    "version",
    "path",
    "url",
    "commit",
    "tag",
    "committed",
    "bytes_sent",
    "bytes_unchanged",
    "rows_read_back",
)


def export_batches(
    instance: dg.DagsterInstance,
    out: Path,
    *,
    format_name: str,
    split: Split | None,
    file_kind: Literal["parquet", "jsonl"] | None,
    reasoning: Reasoning | None,
    allow_simulated: bool,
    rows_of: Arm = "all",
    batches: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
) -> None:
    """Write the batches that passed their gates to `out`, and print the files.

    Raises:
        SetupError: there is no such format or batch, all rows are simulated, there is no row to
            export, or a file cannot be written.
    """
    settings = load_settings().settings
    lake = Lake(settings.lake)
    # Checked before the lake is read, since a mistyped format should cost no time.
    format_ = get_format(format_name, reasoning or "inline")
    chosen = choose_batches(lake.batches(INGESTED), batches, sources, "export")
    requested = select_for_release(instance, lake).narrowed(chosen)
    selection = drop_outdated(lake, requested)
    if not allow_simulated:
        selection = drop_simulated(lake, selection)
    simulated = simulated_prompts(lake, selection.batches)
    if simulated and not allow_simulated:
        raise SetupError(simulated_rows_message(simulated, "--allow-simulated"))
    # Not every trainer reads a reasoning field.
    place: Reasoning = "inline"
    if format_.has_field:
        place = reasoning or settings.publish.reasoning
    splits = (split,) if split else SPLITS
    files = write_export(
        lake,
        selection.batches,
        format_,
        out,
        splits,
        _judging(settings, format_),
        reasoning=place,
        file_kind=file_kind,
        general_ratio=settings.splits.general_ratio,
        simulated=bool(simulated),
        without_dpo=selection.without_dpo,
        without_counterfactuals=selection.without_counterfactuals,
        train_prompts=train_prompts(lake, rows_of, selection.batches),
    )
    if not files:
        raise SetupError(_nothing_to_export(lake, selection, format_, splits))
    table = Table("file", "rows", "bytes", title=f"For {format_.trainer}")
    for file in files:
        table.add_row(
            escape(shown(out / file.path)), f"{file.rows:,}", f"{file.bytes:,}"
        )
    console.print(table)
    _print_left_out(selection, simulated)


def _judging(settings: Settings, format_: Format) -> Judging:
    # A mistake in a policy file is no reason to keep back rows that name no policy.
    if format_.rows in POLICY_ROWS:
        return Judging(settings.load_policies(), settings.pairs)
    return Judging(Policies(policies=()), settings.pairs)


def published_table(run: BatchRun, *, was_sent: bool) -> Table:
    """Return what a run of the job `publish` wrote or sent."""
    title = "Published" if was_sent else "Dry run: nothing was sent"
    table = Table(show_header=False, title=title)
    for name in _FACTS:
        if name in run.metadata:
            table.add_row(
                name.replace("_", " "), escape(_cell(run.metadata[name].value))
            )
    for record in (
        run.metadata["batches_left_out"].records if _has_left_out(run) else ()
    ):
        reason = Text(f"{record.data['batch']}: {record.data['why']}")
        table.add_row("[yellow]left out[/]", reason)
    if "selected_rows_left_out" in run.metadata:
        reason = Text(str(run.metadata["selected_rows_left_out"].value))
        table.add_row("[yellow]no selected rows[/]", reason)
    if "simulated" in run.metadata:
        table.add_row("[yellow]simulated[/]", REHEARSAL)
    return table


def _has_left_out(run: BatchRun) -> bool:
    return "batches_left_out" in run.metadata


def _nothing_to_export(
    lake: Lake, selection: ReleaseSelection, format_: Format, splits: Sequence[Split]
) -> str:
    """Return why there is no row, a line for each batch: its closed gate, or what it holds."""
    summary = f"export: no row for '{format_.name}' in {', '.join(splits)}"
    reasons = dict(selection.left_out)
    for batch in selection.batches:
        if format_.rows == "dpo" and batch in selection.without_dpo:
            reasons[batch] = f"closed gate: {selection.without_dpo[batch]}"
        elif format_.rows in COUNTERFACTUALS:
            reasons[batch] = _counterfactuals(lake, batch, selection)
        else:
            reasons[batch] = _contents(lake, batch, format_, splits)
    if not reasons:
        return f"{summary}: nothing has been ingested yet (`aidsafe ingest`)"
    lines = [f"  {batch}: {reason}" for batch, reason in sorted(reasons.items())]
    return "\n".join((f"{summary}. Nothing was written", *lines))


def _counterfactuals(lake: Lake, batch: str, selection: ReleaseSelection) -> str:
    """Return why a batch gave no policy counterfactual."""
    if batch in selection.without_counterfactuals:
        return f"closed gate: {selection.without_counterfactuals[batch]}"
    stage = Stage.POLICY_COUNTERFACTUALS
    if not lake.has(stage, batch):
        return (
            f"{stage} has not been made: name a second set of policies in "
            "[counterfactuals], then `aidsafe backfill`"
        )
    kept = lake.rows(stage, batch, ["prompt_id"]).height
    reasons = Counter(lake.failures(stage, batch)["reason"].to_list())
    listed = [f"{count:,} {reason}" for reason, count in reasons.most_common()]
    contents = f"{kept:,} {'pair' if kept == 1 else 'pairs'} in {stage}"
    if listed:
        contents += f"; none came of: {', '.join(listed)}"
    if kept:
        contents += "; a floor, another split or evaluation set keeps the prompt out"
    return contents


_MADE_OF = {
    "prm": "deliberations whose thoughts the refiner judged",
    "kto": "answers that the grades call clearly good or bad",
    "reward": "answers that are graded lower than another one to the same prompt",
    "guard": "as many violations with their rule as answers that keep to the same policy, "
    "judged under the policies of today",
}
"""What rows of these formats come from, which is not counted in a batch."""


def _contents(lake: Lake, batch: str, format_: Format, splits: Sequence[Split]) -> str:
    """Return which rows a batch holds that gave none to an export."""
    rows = lake.rows(Stage.FINE_TUNE_SPLITS, batch, ["kind", "split"])
    # A deliberation is exported for each SFT row.
    kind = "dpo" if format_.rows == "dpo" else "sft"
    counts = Counter(rows.iter_rows())
    held = [
        f"{count:,} {row_kind} in {split}"
        for (row_kind, split), count in sorted(counts.items())
    ]
    contents = f"passed its gates and holds {', '.join(held) or 'no row'}"
    if format_.rows in _MADE_OF:
        contents += f"; {format_.name} is made of {_MADE_OF[format_.rows]}"
    elif any(counts[kind, split] for split in splits):
        # Such rows are not written in any format.
        contents += "; a think tag in its text or the general mix keeps a row out"
    elif kind == "dpo":
        failures = lake.failures(Stage.PREFERENCE_PAIRS, batch)
        reasons = Counter(failures["reason"].to_list())
        lost = [f"{count:,} {reason}" for reason, count in reasons.most_common()]
        if lost:
            contents += f"; no pair came of: {', '.join(lost)}"
    return contents


def _cell(value: Any) -> str:
    # A bool is an int in Python, and would be printed as one.
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else str(value)


def _print_left_out(selection: ReleaseSelection, simulated: Mapping[str, int]) -> None:
    if simulated:
        console.print(REHEARSAL)
    for batch, reason in sorted(selection.left_out.items()):
        console.print(
            f"[yellow]left out[/] {escape(batch)}: {escape(reason)}", highlight=False
        )
    for batch, reason in sorted(selection.without_dpo.items()):
        console.print(
            f"[yellow]no DPO rows[/] {escape(batch)}: {escape(reason)}", highlight=False
        )
    for batch, reason in sorted(selection.without_counterfactuals.items()):
        console.print(
            f"[yellow]no counterfactuals[/] {escape(batch)}: {escape(reason)}",
            highlight=False,
        )
