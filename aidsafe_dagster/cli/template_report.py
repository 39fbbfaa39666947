"""What becomes of the dataset's rows in a model's chat template, as tables and verdicts."""

from collections.abc import Iterator

from huggingface_hub import HfApi
from rich.markup import escape
from rich.table import Table

from aidsafe_dagster.cli.console import console
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.publishing.chat_template import load_chat_template
from aidsafe_dagster.publishing.template_check import (
    TemplateReport,
    check_template,
    probe_rows,
)
from aidsafe_dagster.recipe.format_types import Reasoning
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.settings.schema import Settings

_FORMS: tuple[Reasoning, ...] = ("inline", "field")


def report_on_template(settings: Settings, place: str, limit: int) -> TemplateReport:
    """Render rows of the lake through a chat template, and print what becomes of them.

    Args:
        settings: name the lake and the Hub.
        place: a tokenizer's folder, a template's file, or a model on the Hub.
        limit: rows to render at most.

    Raises:
        SetupError: there is no template, or it cannot be read.
    """
    client = HfApi(endpoint=settings.publish.endpoint or None)
    template = load_chat_template(place, client)
    # A template can be checked before any data is made.
    rows = _first_rows(Lake(settings.lake), limit)
    report = check_template(template, rows or probe_rows())
    title = "rows of the lake" if rows else "two made-up rows: none was made yet"
    console.print(_outcome_table(report, title))
    for line in _verdicts(report):
        console.print(line, highlight=False)
    return report


def _first_rows(lake: Lake, limit: int) -> list[FineTuneRow]:
    """Return SFT and DPO rows in turn, from the first batches."""
    rows: list[FineTuneRow] = []
    for batch in lake.batches(Stage.FINE_TUNE_SPLITS):
        if len(rows) >= limit:
            break
        # Sorted by prompt, so that both kinds are among the first rows.
        frame = lake.rows(Stage.FINE_TUNE_SPLITS, batch).sort("prompt_id", "kind")
        rows += from_frame(frame.head(limit - len(rows)), FineTuneRow)
    return rows


def _outcome_table(report: TemplateReport, title: str) -> Table:
    table = Table(
        "side",
        "reasoning",
        "rows",
        "what is wrong",
        "prompt differs",
        "in generation markers",
        title=title,
    )
    for outcome in report.outcomes:
        faults = [f"{fault}: {count}" for fault, count in outcome.faults.items()]
        wrong = "[green]nothing[/]"
        if faults:
            listing = escape(", ".join(faults))
            # One error is enough to act on, and it is usually the same in every row.
            wrong = f"[red]{listing}[/] {escape(outcome.first_error)}"
        table.add_row(
            outcome.side,
            outcome.form,
            str(outcome.rows),
            wrong,
            str(outcome.prompt_mismatches or "·"),
            str(outcome.rows_in_markers or "·"),
        )
    return table


def _verdicts(report: TemplateReport) -> Iterator[str]:
    for form in _FORMS:
        if report.survives(form):
            yield f"[green]Reasoning {form}: arrives whole[/]"
        else:
            yield (
                f"[red]Reasoning {form}: does not arrive whole: "
                "train on another form or template[/]"
            )
    if report.generation_markers:
        yield "Generation markers: yes. assistant_only_loss=True works."
    else:
        yield (
            "Generation markers: none. assistant_only_loss needs them; "
            "else train on prompt-completion."
        )
    # None means that it could not be tried.
    if report.keeps_history is False:
        yield (
            "Reasoning of earlier turns is dropped, "
            "which does not matter for these rows of one turn."
        )
    if any(outcome.prompt_mismatches for outcome in report.outcomes):
        yield (
            "A prompt rendered alone differs from how the whole conversation begins: "
            "TRL warns, and goes on."
        )
