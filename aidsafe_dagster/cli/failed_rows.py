"""Failed rows to read: a line or two of each, or one with the answer that failed it.

Details and answers are a model's words. They may hold terminal controls or markup, and reach the
terminal as text alone.
"""

from collections import Counter

import polars as pl
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from aidsafe_dagster.cli.console import print_paragraph, print_plain, quantity
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import translation_failures, translation_tables
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.records import NOT_ASKED_REASONS, Failure, FailureReason
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.failed_answers import failed_answer
from aidsafe_dagster.stages.failure_lines import mask_secrets, plain_line
from aidsafe_dagster.stages.own_ids import own_ids
from aidsafe_dagster.viewer.prompt_ids import find_prompt

_WIDTH = 80
_INDENT = "    "
_COLUMNS = ["prompt_id", "batch", "stage", "reason", "detail"]


def print_failures(
    settings: Settings,
    *,
    prompt_id: str,
    stage: str | None,
    reason: str | None,
    batch: str | None,
    limit: int,
) -> None:
    """Print the failures that match, at most `limit` of them (0: all), and a count by reason.

    Raises:
        SetupError: there is no such prompt, stage, reason or batch.
    """
    lake = Lake(settings.lake)
    stages = [*STAGES, *translation_tables(lake)]
    if stage is not None and stage not in stages:
        raise unknown("stage", stage, stages, "failures")
    if reason is not None and reason not in list(FailureReason):
        raise unknown("reason", reason, map(str, FailureReason), "failures")
    if batch is not None and batch not in lake.batches(INGESTED):
        raise unknown("batch", batch, lake.batches(INGESTED), str(lake.root))
    every = lake.all_failures(), translation_failures(lake)
    failures = pl.concat([frame.select(_COLUMNS) for frame in every])
    wanted = {"stage": stage, "reason": reason, "batch": batch}
    if prompt_id:
        wanted["prompt_id"] = find_prompt(lake, prompt_id).prompt_id
    for column, value in wanted.items():
        if value is not None:
            failures = failures.filter(pl.col(column) == value)
    if not failures.height:
        print_plain("No row failed or was left out here.")
        return
    # First what went wrong. Of the others there may be thousands.
    not_asked = pl.col("reason").is_in([str(one) for one in NOT_ASKED_REASONS])
    failures = failures.sort(not_asked, maintain_order=True)
    shown = failures.head(limit) if limit else failures
    named = own_ids(lake, shown["prompt_id"].unique())
    for failed_id, in_batch, at_stage, why, detail in shown.iter_rows():
        print_plain(plain_line(f"{failed_id} {at_stage} {why} {in_batch}", _WIDTH))
        if failed_id in named:
            own_id = plain_line(f"own id {named[failed_id]}", _WIDTH - len(_INDENT))
            print_plain(_INDENT + own_id)
        masked = mask_secrets(detail, settings)
        print_plain(_INDENT + plain_line(masked, _WIDTH - len(_INDENT)))
    _print_counts(failures)
    if shown.height < failures.height:
        print_paragraph(f"{shown.height:,} of them listed above; --limit 0 lists all.")
    print_paragraph("`aidsafe show PROMPT_ID` prints one in full, with its answer.")


def failed_answer_panel(failure: Failure, settings: Settings) -> RenderableType | None:
    """Return the answer that a row failed on, or why there is none; None if nobody was asked."""
    answer = failed_answer(failure, settings)
    if answer is None:
        return None
    text: RenderableType = Text(answer.text or "(empty)")
    if answer.about:
        text = Group(Text(f"{answer.about}:\n", style="dim"), text)
    return Panel(text, title=answer.title, border_style="red")


def _print_counts(failures: pl.DataFrame) -> None:
    counts = Counter(failures.select("stage", "reason").iter_rows())
    print_plain(f"\n{quantity(failures.height, 'row')}:")
    for (stage, reason), count in counts.most_common():
        print_plain(f"{count:>8,}  {stage} {reason}")
