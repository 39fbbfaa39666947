"""What the terminal shows: the summary of a demo, the state of the batches, one row's whole story."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import dagster as dg
import polars as pl
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    METRICS,
    CotGrades,
    DeliberatedCot,
    Failure,
    PreferencePair,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
    Stage,
    ThoughtVerdict,
    Version,
)
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets
from aidsafe_dagster.recipe.stages import RECORDS
from aidsafe_dagster.recipe.transcript import (
    deliberated_transcript,
    failure_transcript,
    grades_transcript,
    pair_transcript,
    refined_transcript,
    seed_transcript,
    single_llm_transcript,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.gates import read_gate
from aidsafe_dagster.stages.ingestion import DROPPED, INGESTED

console = Console()
_COUNTED = ("prompt_id", "cot_tokens", "chosen_cot_tokens", "usage")
_TELLING = ["prompt_id", "judgements", "deliberated_thoughts", "intents", "deliberated_cot_tokens"]
_COST = ["calls", "prompt_tokens", "completion_tokens"]
REHEARSAL = "[bold yellow]REHEARSAL[/] · every answer was simulated by rule, none came from a model; not for training"


@contextmanager
def explained() -> Iterator[None]:
    """A person's mistake is a message and exit code 2, not a traceback."""
    try:
        yield
    except SetupError as error:
        complain("Error", str(error))
        raise typer.Exit(2) from error


def complain(what: str, why: str) -> None:
    console.print(f"[bold red]{what}[/] {escape(why)}", highlight=False, soft_wrap=True)


def summary(instance: dg.DagsterInstance, lake: Lake) -> RenderableType:
    """The dataset so far: rows per stage, thoughts, failures, tokens, checks."""
    parts: list[RenderableType] = [REHEARSAL] if _any_simulated(lake) else []
    tables = (
        _stage_table(instance, lake),
        _thought_table(lake),
        _score_table(lake),
        _failure_table(lake),
    )
    return Group(*parts, *(table for table in tables if table.rows))


def ingestion(found: Mapping[str, Any]) -> str:
    """What an ingestion took in and left out."""
    batches = [record.data for record in found["new_batches"].records]
    dropped = [record.data for record in found["dropped"].records]
    lines = [f"{found['new_prompts'].value} new prompts in {len(batches)} new batches"]
    lines += [f"  {row['batch']}: {row['count']} prompts" for row in batches]
    lines += [
        f"  [yellow]dropped[/] {row['count']}: {escape(row['source: reason'])}" for row in dropped
    ]
    if restored := found["restored"].value:
        lines.append(
            f"  [yellow]put back[/] as sealed, having been damaged or gone: {', '.join(restored)}"
        )
    if found["seen_before"].value:
        lines.append(f"  {found['seen_before'].value} rows were seen by an earlier ingestion")
    return "\n".join(lines)


def batch_table(instance: dg.DagsterInstance, lake: Lake) -> Table:
    """A line per batch, a column per stage: rows, failed rows, gate."""
    title = "Batches (rows, ✗ failed; ● gate open, ○ closed)"
    found = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    found.add_column("batch", overflow="fold", min_width=12)  # a key that is cut cannot be typed
    for stage in Stage:
        found.add_column(_broken(stage), no_wrap=True)
    for batch in lake.batches(INGESTED):
        found.add_row(batch, *(_cell(instance, lake, stage, batch) for stage in Stage))
    return found


def _broken(stage: str) -> str:
    """A stage's name over several lines, so that all of them fit a terminal of 80 columns side by side."""
    parts = {
        "deliberated_": "deliber\nated_",
        "preference_": "prefer\nence_",
        "refined_": "refi\nned_",
    }
    name = str(stage).replace("_", "_\n")
    for long, broken in parts.items():
        name = name.replace(long, broken)
    return name


def most_telling(lake: Lake) -> str | None:
    """Id of the prompt whose deliberation shows most: several turns, something dropped, short enough to read."""
    rows = lake.all_rows(Stage.REFINED_COTS, _TELLING)
    if rows is None or not rows.height:
        return None
    return str(rows.sort(_interest(), "prompt_id", descending=[True, False]).item(0, "prompt_id"))


def deliberation(lake: Lake, prompt_id: str) -> RenderableType:
    """One deliberation as a readable transcript."""
    return Panel(
        Markdown(_refined_page(lake, prompt_id)),
        title="One deliberation",
        border_style="cyan",
        padding=(1, 2),
    )


def story(lake: Lake, prompt_id: str) -> Iterator[RenderableType]:
    """Everything known of one prompt, stage by stage; nothing if it is unknown."""
    batch = batch_of(lake, prompt_id)
    if batch is None:
        return
    pages: dict[str, Callable[[pl.DataFrame], str]] = {
        Stage.SINGLE_LLM_COTS: lambda row: single_llm_transcript(_one(row, SingleLlmCot)),
        Stage.SEED_COTS: lambda row: seed_transcript(_one(row, SeedCot)),
        Stage.DELIBERATED_COTS: lambda row: deliberated_transcript(_one(row, DeliberatedCot)),
        Stage.REFINED_COTS: lambda row: _refined_page(lake, row.item(0, "prompt_id")),
        Stage.COT_GRADES: lambda row: grades_transcript(_one(row, CotGrades)),
        Stage.PREFERENCE_PAIRS: lambda row: pair_transcript(_one(row, PreferencePair)),
    }
    for stage, page in pages.items():
        if lake.has(stage, batch) and (row := _row(lake, stage, batch, prompt_id)) is not None:
            yield Panel(Markdown(page(row)), title=str(stage), border_style="cyan")
        failed = lake.failures(stage, batch).filter(pl.col("prompt_id") == prompt_id)
        for failure in from_frame(failed, Failure):
            yield Panel(Markdown(failure_transcript(failure)), title=str(stage), border_style="red")


def batch_of(lake: Lake, prompt_id: str) -> str | None:
    """The batch of a prompt, None if it was never ingested."""
    known = lake.all_rows(INGESTED, ["prompt_id", "batch"])
    found = (
        [] if known is None else known.filter(pl.col("prompt_id") == prompt_id)["batch"].to_list()
    )
    return found[0] if found else None


def places(settings: Settings, lake: Lake, program: str, prompt_id: str) -> Table:
    """Where everything lies; `program` is how this command was called."""
    found = Table(show_header=False, box=None, title="Where things are", title_justify="left")
    found.add_column()
    found.add_column(overflow="fold")  # a path that is cut is no path
    lines = {
        "rows (Parquet, a file per asset and batch)": str(lake.root),
        "warehouse (DuckDB views: sft, dpo, failures, accounting …)": str(settings.warehouse),
        "journal (every completion)": mask_url_secrets(settings.journal).removeprefix("sqlite:///"),
        "quality report (one file to open or send)": str(settings.reports / "quality_report.html"),
        "one prompt's whole story": f"{program} show {prompt_id}",
        "the asset graph, checks and transcripts in the browser": "make dev, then http://127.0.0.1:3000",
    }
    for what, where in lines.items():
        found.add_row(what, Text(where))  # a Text is never read as markup
    return found


def _stage_table(instance: dg.DagsterInstance, lake: Lake) -> Table:
    found = Table(title="Rows per stage", box=SIMPLE_HEAD, pad_edge=False)
    found.add_column("stage", no_wrap=True)
    columns = ("rows", "failed", "CoT tokens p50/p95", "checks passed", "calls", "tokens in/out")
    for column in (name.replace(" ", "\n") for name in columns):
        found.add_column(column, justify="right", no_wrap=True)
    for stage in Stage:
        batches = lake.batches(stage)
        rows = lake.all_rows(
            stage, [name for name in _COUNTED if name in RECORDS[stage].model_fields]
        )
        if rows is None:
            continue
        failed = sum(lake.failures(stage, batch).height for batch in batches)
        verdicts = [
            v
            for batch in batches
            for v in read_gate(instance, lake, stage, batch).verdicts.values()
        ]
        passed, total = verdicts.count("passed"), len(verdicts)
        checks = f"[{'green' if passed == total else 'red'}]{passed}/{total}[/]"
        found.add_row(
            str(stage), str(rows.height), str(failed or "·"), _lengths(rows), checks, *_cost(rows)
        )
    return found


def _lengths(rows: pl.DataFrame) -> str:
    column = next((c for c in ("cot_tokens", "chosen_cot_tokens") if c in rows.columns), None)
    if column is None or not rows.height:
        return "·"
    median, high = (rows[column].quantile(q, "nearest") for q in (0.5, 0.95))
    return f"{median:.0f}/{high:.0f}"


def _cost(rows: pl.DataFrame) -> tuple[str, str]:
    """Calls, and tokens in and out."""
    if "usage" not in rows.columns or not rows.height:
        return "·", "·"
    calls, tokens_in, tokens_out = rows["usage"].struct.unnest().sum().select(_COST).row(0)
    if not calls:
        return "·", "·"
    return f"{calls:,}", f"{tokens_in / 1000:,.0f}k/{tokens_out / 1000:,.0f}k"


def _thought_table(lake: Lake) -> Table:
    found = Table(title="Thoughts and tokens through refinement", show_header=False)
    rows = lake.all_rows(Stage.REFINED_COTS, ["judgements", "deliberated_cot_tokens", "cot_tokens"])
    if rows is None or not rows.height:
        return found
    verdicts = Counter(rows["judgements"].explode().struct.field("verdict").to_list())
    kept = verdicts.pop(ThoughtVerdict.KEEP, 0)
    dropped = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
    before, after = rows["deliberated_cot_tokens"].mean(), rows["cot_tokens"].mean()
    found.add_row("thoughts kept", str(kept))
    found.add_row("thoughts dropped", f"{verdicts.total()} ({dropped})" if dropped else "0")
    found.add_row(
        "tokens of a CoT, mean", f"{_whole(before)} deliberated → {_whole(after)} refined"
    )
    return found


def _score_table(lake: Lake) -> Table:
    """Mean scores by version over all rows; the quality report has them on the same prompts, with intervals."""
    versions: tuple[Version, ...] = get_args(Version)
    found = Table(
        "score, 1 to 5",
        *(version.replace("_", " ") for version in versions),
        title="What the judges say",
    )
    rows = lake.all_rows(Stage.COT_GRADES, ["grades"])
    if rows is None or not rows.height:
        return found
    grades = rows.explode("grades").unnest("grades")
    for metric in METRICS:
        score = pl.col(metric).struct.field("score").mean()
        means = dict(grades.group_by("version").agg(score).iter_rows())
        cells = (
            f"{mean:.2f}" if (mean := means.get(version)) is not None else "·"
            for version in versions
        )
        found.add_row(metric.replace("_", " "), *cells)
    return found


def _whole(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else "·"


def _failure_table(lake: Lake) -> Table:
    found = Table("what", "reason", "rows", title="Left out, with the reason")
    dropped = lake.all_rows(DROPPED, ["reason"])
    if dropped is not None:
        for reason, n in sorted(Counter(dropped["reason"].to_list()).items()):
            found.add_row("ingestion", reason, str(n))
    for stage in Stage:
        reasons = Counter[str]()
        for batch in lake.batches(stage):
            reasons.update(lake.failures(stage, batch)["reason"].to_list())
        for reason, n in sorted(reasons.items()):
            found.add_row(str(stage), reason, str(n))
    return found


def _cell(instance: dg.DagsterInstance, lake: Lake, stage: str, batch: str) -> str:
    if not lake.has(stage, batch):
        return "[dim]–[/]"
    failed = lake.failures(stage, batch).height
    mark = "[green]●[/]" if read_gate(instance, lake, stage, batch).open else "[red]○[/]"
    return f"{lake.rows(stage, batch, ['prompt_id']).height}{f'[red]✗{failed}[/]' if failed else ''}{mark}"


def _interest() -> pl.Expr:
    verdicts = pl.col("judgements").list.eval(pl.element().struct.field("verdict"))
    dropped = verdicts.list.eval(pl.element() != str(ThoughtVerdict.KEEP)).list.sum()
    rounds = pl.col("deliberated_thoughts").list.eval(pl.element().struct.field("round")).list.max()
    harmful = (
        pl.col("intents").list.eval(pl.element().struct.field("harm") == "malicious").list.any()
    )
    told = (
        pl.min_horizontal(dropped, 2) * 3
        + pl.min_horizontal(rounds, 2) * 2
        - pl.col("deliberated_cot_tokens") / 400
    )
    return told + harmful.cast(pl.Int64) * 4  # where something is at stake there is more to see


def _refined_page(lake: Lake, prompt_id: str) -> str:
    batch = batch_of(lake, prompt_id)
    assert batch is not None
    row = _row(lake, Stage.REFINED_COTS, batch, prompt_id)
    assert row is not None
    before = (
        _row(lake, Stage.DELIBERATED_COTS, batch, prompt_id)
        if lake.has(Stage.DELIBERATED_COTS, batch)
        else None
    )
    turns = _one(before, DeliberatedCot).turns if before is not None else ()
    return refined_transcript(_one(row, RefinedCot), turns)


def _row(lake: Lake, stage: str, batch: str, prompt_id: str) -> pl.DataFrame | None:
    found = lake.rows(stage, batch).filter(pl.col("prompt_id") == prompt_id)
    return found if found.height else None


def _one(frame: pl.DataFrame, record: Any) -> Any:
    (row,) = from_frame(frame, record)
    return row


def _any_simulated(lake: Lake) -> bool:
    frames: Sequence[pl.DataFrame | None] = [
        lake.all_rows(s, ["simulated"]) for s in RECORDS if s is not Stage.PROMPTS
    ]
    return any(bool(frame["simulated"].any()) for frame in frames if frame is not None)
