"""Failed rows to read: a line or two of each, or one with the answer that failed it.

Details and answers are a model's words. They may hold terminal controls or markup, and reach the
terminal as text alone.
"""

import unicodedata
from collections import Counter

import polars as pl
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from aidsafe_dagster.cli.console import print_paragraph, print_plain, quantity
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    UNANSWERED_REASONS,
    Failure,
    FailureReason,
)
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.failure_lines import mask_secrets, plain_line

_WIDTH = 80
_INDENT = "    "
_COLUMNS = ["prompt_id", "batch", "stage", "reason", "detail"]


def print_failures(
    settings: Settings,
    *,
    stage: str | None,
    reason: str | None,
    batch: str | None,
    limit: int,
) -> None:
    """Print the failures that match, at most `limit` of them (0: all), and a count by reason.

    Raises:
        SetupError: there is no such stage, reason or batch.
    """
    lake = Lake(settings.lake)
    if stage is not None and stage not in STAGES:
        raise unknown("stage", stage, STAGES, "failures")
    if reason is not None and reason not in list(FailureReason):
        raise unknown("reason", reason, map(str, FailureReason), "failures")
    if batch is not None and batch not in lake.batches(INGESTED):
        raise unknown("batch", batch, lake.batches(INGESTED), str(lake.root))
    failures = lake.all_failures().select(_COLUMNS)
    wanted = {"stage": stage, "reason": reason, "batch": batch}
    for column, value in wanted.items():
        if value is not None:
            failures = failures.filter(pl.col(column) == value)
    if not failures.height:
        print_plain("No row failed or was left out here.")
        return
    shown = failures.head(limit) if limit else failures
    for prompt_id, in_batch, at_stage, why, detail in shown.iter_rows():
        print_plain(plain_line(f"{prompt_id} {at_stage} {why} {in_batch}", _WIDTH))
        masked = mask_secrets(detail, settings)
        print_plain(_INDENT + plain_line(masked, _WIDTH - len(_INDENT)))
    _print_counts(failures)
    if shown.height < failures.height:
        print_paragraph(f"{shown.height:,} of them listed above; --limit 0 lists all.")
    print_paragraph("`aidsafe show PROMPT_ID` prints one in full, with its answer.")


def failed_answer(failure: Failure, settings: Settings) -> RenderableType | None:
    """Return the answer that a row failed on, as the journal holds it, or why there is none.

    Of a row that was left out it is the last answer. None if the stage asks nobody.
    """
    is_unanswered = failure.reason in UNANSWERED_REASONS
    if not failure.turn and not is_unanswered:
        return None
    title = "The answer that failed"
    if failure.reason in EXCLUSION_REASONS:
        title = "The last answer"
    answer: RenderableType = Text("The call brought no answer.")
    if not is_unanswered:
        answer = _recorded_answer(failure, settings)
    return Panel(answer, title=title, border_style="red")


def visible(text: str) -> str:
    """Return text with every control or invisible character as an escape, such as \\x1b.

    Line breaks stay.
    """
    return "".join(_visible(character) for character in text)


def _recorded_answer(failure: Failure, settings: Settings) -> RenderableType:
    # Here alone: a prompt that did not fail is shown without SQLAlchemy.
    from aidsafe_dagster.engines.journal import read_answers

    draw = _draw(failure)
    place = (failure.prompt_id, failure.stage, failure.turn - 1, draw)
    try:
        answers = read_answers(settings.journal, *place)
    except SetupError as error:
        return Text(visible(mask_secrets(str(error), settings)))
    if not answers:
        return Text("The journal has no answer to this call.")
    answer = answers[-1]
    model = visible(answer.model)
    about = f"Call {failure.turn} of the stage, to {answer.role} ({model})"
    if draw:
        about += f", draw {draw + 1}"
    if len(answers) > 1:
        about += f"; the latest of {len(answers)} that are recorded"
    text = visible(mask_secrets(answer.text, settings))
    return Group(Text(f"{about}:\n", style="dim"), Text(text or "(empty)"))


def _draw(failure: Failure) -> int:
    """Return the draw of the last call: how many earlier runs failed the row at it or before."""
    redraws = failure.redraws
    # The last entry is this failure's own, for the next run. A defect of ours draws nothing anew.
    if failure.reason != FailureReason.INTERNAL_ERROR:
        redraws = redraws[:-1]
    return sum(1 for turn in redraws if turn <= failure.turn - 1)


def _print_counts(failures: pl.DataFrame) -> None:
    counts = Counter(failures.select("stage", "reason").iter_rows())
    print_plain(f"\n{quantity(failures.height, 'row')}:")
    for (stage, reason), count in counts.most_common():
        print_plain(f"{count:>8,}  {stage} {reason}")


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if character == "\n" or not (category.startswith("C") or category in ("Zl", "Zp")):
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
