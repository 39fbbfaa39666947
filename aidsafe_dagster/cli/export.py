"""`aidsafe export | check-template | publish`: from finished batches to a trainer or to the Hub."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from huggingface_hub import HfApi
from rich.markup import escape
from rich.table import Table

from aidsafe_dagster.cli.console import REHEARSAL, complain, console, explained
from aidsafe_dagster.cli.local_runs import BatchRun, open_instance, run_job
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.publishing.chat_template import load_chat_template
from aidsafe_dagster.publishing.dataset import (
    SPLITS,
    ReleaseSelection,
    drop_outdated,
    simulated_prompts,
)
from aidsafe_dagster.publishing.export import write_export
from aidsafe_dagster.publishing.release import simulated_rows_message
from aidsafe_dagster.publishing.template_check import TemplateReport, check_template, probe_rows
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.formats import FORMATS, Reasoning, get_format
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.settings.load import load_settings

_SHOWN = (
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


def export(
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")],
    format_name: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")
    ] = "trl-sft",
    split: Annotated[Split | None, typer.Option(help="One split; without it, all three.")] = None,
    file_kind: Annotated[
        Literal["parquet", "jsonl"] | None,
        typer.Option("--as", help="Without it, what the trainer usually takes."),
    ] = None,
    reasoning: Annotated[
        Reasoning | None,
        typer.Option(help="In think tags or in a field; without it, as publish.reasoning."),
    ] = None,
    allow_simulated: Annotated[
        bool,
        typer.Option(
            "--allow-simulated", help="Rows of the rehearsal engine too; the files are named so."
        ),
    ] = False,
) -> None:
    """Write the rows of all batches that passed their gates in a trainer's format."""
    with explained(), open_instance() as instance:
        from aidsafe_dagster.stages.batch_selection import select_for_release  # noqa: PLC0415 - importing it reads the settings

        settings = load_settings().settings
        lake, wanted = Lake(settings.lake), get_format(format_name, reasoning or "inline")
        chosen = drop_outdated(lake, select_for_release(instance, lake))
        simulated = simulated_prompts(lake, chosen.batches)
        if simulated and not allow_simulated:
            raise SetupError(simulated_rows_message(simulated, "--allow-simulated"))
        found = Table("file", "rows", "bytes", title=f"For {wanted.trainer}")
        for file in write_export(
            lake,
            chosen.batches,
            wanted,
            out,
            (split,) if split else SPLITS,
            reasoning=(reasoning or settings.publish.reasoning) if wanted.has_field else "inline",
            file_kind=file_kind,
            general_ratio=settings.splits.general_ratio,
            simulated=bool(simulated),
        ):
            found.add_row(escape(str(out / file.path)), f"{file.rows:,}", f"{file.bytes:,}")
        console.print(found)
        _tell(chosen, simulated)


def check_chat_template(
    place: Annotated[
        str, typer.Argument(help="A tokenizer's folder, a template's file, or a model on the Hub.")
    ],
    rows: Annotated[int, typer.Option(help="Rows to render at most.", min=1)] = 200,
    reasoning: Annotated[
        Reasoning | None, typer.Option(help="Without it, as publish.reasoning.")
    ] = None,
) -> None:
    """Render SFT and DPO rows through a model's chat template, and say whether reasoning and response arrive."""
    with explained():
        settings = load_settings().settings
        template = load_chat_template(place, HfApi(endpoint=settings.publish.endpoint or None))
        found = _some_rows(Lake(settings.lake), rows)
        report = check_template(template, found or probe_rows())
        console.print(
            _template_table(
                report, "rows of the lake" if found else "two made-up rows: none was made yet"
            )
        )
        for line in _verdicts(report):
            console.print(line, highlight=False)
        if not report.survives(reasoning or settings.publish.reasoning):
            raise typer.Exit(1)


def publish(
    send: Annotated[
        bool, typer.Option("--send", help="Send it to the Hub; without it, a folder is written.")
    ] = False,
    repo: Annotated[
        str, typer.Option(help="'<owner>/<name>', instead of the setting publish.repo.")
    ] = "",
    allow_simulated: Annotated[
        bool,
        typer.Option(
            "--allow-simulated", help="Without --send: rows of the rehearsal engine too, labelled."
        ),
    ] = False,
) -> None:
    """Make the dataset with its card from all batches that passed their gates; a dry run unless --send is given."""
    with explained(), open_instance() as instance:
        config = {"dry_run": not send, "repo": repo, "allow_simulated": allow_simulated}
        with (
            nullcontext() if send else console.status("Writing the dataset …")
        ):  # an upload has bars of its own
            run = run_job(
                instance, "publish", config={"ops": {"published_dataset": {"config": config}}}
            )
        if not run.success:
            complain("Error", run.error)
            raise typer.Exit(1)
        console.print(_published_table(run, sent=send))


def _some_rows(lake: Lake, limit: int) -> list[FineTuneRow]:
    """SFT and DPO rows in turn, from the first batches."""
    found: list[FineTuneRow] = []
    for batch in lake.batches(Stage.FINE_TUNE_SPLITS):
        if len(found) >= limit:
            break
        frame = (
            lake.rows(Stage.FINE_TUNE_SPLITS, batch)
            .sort("prompt_id", "kind")
            .head(limit - len(found))
        )
        found += from_frame(frame, FineTuneRow)
    return found


def _template_table(report: TemplateReport, what: str) -> Table:
    found = Table(
        "side",
        "reasoning",
        "rows",
        "what is wrong",
        "prompt differs",
        "in generation markers",
        title=what,
    )
    for outcome in report.outcomes:
        wrong = ", ".join(f"{fault}: {count}" for fault, count in outcome.faults.items())
        told = (
            f"[red]{escape(wrong)}[/] {escape(outcome.first_error)}"
            if wrong
            else "[green]nothing[/]"
        )
        counts = (str(outcome.prompt_mismatches or "·"), str(outcome.rows_in_markers or "·"))
        found.add_row(outcome.side, outcome.form, str(outcome.rows), told, *counts)
    return found


def _verdicts(report: TemplateReport) -> list[str]:
    forms: tuple[Reasoning, ...] = ("inline", "field")
    lines = [
        f"[{'green' if report.survives(form) else 'red'}]Reasoning {form}: "
        f"{'arrives whole' if report.survives(form) else 'does not arrive whole: train on another form or template'}[/]"
        for form in forms
    ]
    if report.generation_markers:
        lines.append("Generation markers: yes. assistant_only_loss=True works.")
    else:
        lines.append(
            "Generation markers: none. assistant_only_loss needs them; else train on prompt-completion."
        )
    if report.keeps_history is False:
        lines.append(
            "Reasoning of earlier turns is dropped, which does not matter for these rows of one turn."
        )
    if any(outcome.prompt_mismatches for outcome in report.outcomes):
        lines.append(
            "A prompt rendered alone differs from how the whole conversation begins: TRL warns, and goes on."
        )
    return lines


def _published_table(run: BatchRun, *, sent: bool) -> Table:
    found = Table(show_header=False, title="Published" if sent else "Dry run: nothing was sent")
    for name in _SHOWN:
        if name in run.shown:
            value = run.shown[name].value
            found.add_row(
                name.replace("_", " "), escape(f"{value:,}" if _is_count(value) else str(value))
            )
    if "simulated" in run.shown:
        found.add_row("[yellow]simulated[/]", REHEARSAL)
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _tell(chosen: ReleaseSelection, simulated: Mapping[str, int]) -> None:
    if simulated:
        console.print(REHEARSAL)
    for batch, why in sorted(chosen.left_out.items()):
        console.print(f"[yellow]left out[/] {escape(batch)}: {escape(why)}", highlight=False)
