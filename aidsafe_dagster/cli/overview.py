"""The state of the dataset: what holds batches up, and the sums over all of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import REHEARSAL, listing, quantity, short_count
from aidsafe_dagster.cli.held_batches import held_batches
from aidsafe_dagster.cli.paragraphs import Paragraphs
from aidsafe_dagster.cli.recipe_tables import mixed_recipes, other_recipes
from aidsafe_dagster.cli.recorded_gates import GateReader
from aidsafe_dagster.cli.stopped_batches import stopped_batches
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.lake.half_forgotten import half_forgotten_batches
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import (
    METRICS,
    Stage,
    ThoughtVerdict,
    Usage,
    Version,
)
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.tables import DROPPED
from aidsafe_dagster.stages.dpo_gate import why_without_dpo
from aidsafe_dagster.stages.known_lake import KnownLake
from aidsafe_dagster.stages.partition_facts import PartitionFacts

_Makers = tuple[str, str]
"""Models and servers."""
_NONE = "·"


def summary(
    read_gate: GateReader,
    lake: Lake,
    currency: str = "",
    snapshot: SettingsSnapshot | None = None,
) -> RenderableType:
    """Return the dataset so far: rows, calls, money, models, thoughts, scores, failures, checks.

    Money is shown where there are prices, or rows that have a cost. With a snapshot of the recipe
    in force, so are the batches that were made under another one.
    """
    lake = KnownLake.of(lake)
    parts: list[RenderableType] = []
    if _any_simulated(lake):
        parts.append(REHEARSAL)
    # What keeps a batch from being finished comes first, next to the batches.
    lists = (
        _half_forgotten(lake),
        held_batches(read_gate, lake),
        _without_dpo(read_gate, lake),
        stopped_batches(read_gate, lake),
        other_recipes(lake, snapshot),
        mixed_recipes(lake),
    )
    tables = (
        _stage_table(read_gate, lake),
        _cost_table(lake, currency),
        _maker_table(lake),
        _thought_table(lake),
        _score_table(lake),
        _exclusion_table(lake),
    )
    # A new lake has little to show, and what is empty would hide it.
    parts.extend(one for one in lists if one)
    parts.extend(table for table in tables if table.rows)
    return Group(*parts)


def _half_forgotten(lake: Lake) -> Paragraphs:
    """Return the batches of which a removal was cut off."""
    paragraphs = Paragraphs("Half forgotten: nothing takes what is left of them")
    for batch in half_forgotten_batches(lake):
        paragraphs.add(batch, [f"aidsafe forget {batch} removes the rest"])
    return paragraphs


def places_table(settings: Settings, lake: Lake, program: str, prompt_id: str) -> Table:
    """Return where everything lies, and what shows it.

    `program` is the path of this command, from the folder in which it runs. That may not be the
    folder of the shell, nor the one whose data `make dev` opens.
    """
    table = Table(
        show_header=False, box=None, title="Where things are", title_justify="left"
    )
    table.add_column()
    # A path that is cut off is of no use, so it may take several lines.
    table.add_column(overflow="fold")
    # A file of SQLite can be opened by its path. Any other journal keeps its URL.
    journal = mask_url_secrets(settings.journal).removeprefix("sqlite:///")
    quality_report = settings.reports / "quality_report.html"
    places = {
        "rows (Parquet, a file per asset and batch)": str(lake.root),
        "warehouse (DuckDB views: sft, dpo, failures, accounting …)": str(
            settings.warehouse
        ),
        "journal (every completion)": journal,
        "quality report (one file to open or send)": str(quality_report),
        "the project of the commands below": str(Path.cwd()),
        "one prompt's whole story": f"{program} show {prompt_id}",
        "the asset graph, checks and transcripts in the browser": (
            f"{program} dev, then http://127.0.0.1:3000"
        ),
    }
    for what, where in places.items():
        # Rich reads no markup in a `Text`, and a path may hold brackets.
        table.add_row(what, Text(where))
    return table


def _stage_table(read_gate: GateReader, lake: KnownLake) -> Table:
    table = Table(title="Rows per stage", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for column in ("rows", "failed", "CoT tokens p50/p95", "checks passed"):
        table.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True)
    for stage in Stage:
        batches = lake.batches(stage)
        if not batches:
            continue
        facts = _facts(lake, stage)
        failed = sum(one.failures for one in facts)
        table.add_row(
            str(stage),
            str(sum(one.rows for one in facts)),
            str(failed or _NONE),
            _lengths(facts),
            _checks_passed(read_gate, stage, batches),
        )
    return table


def _facts(lake: KnownLake, stage: str) -> list[PartitionFacts]:
    return [lake.facts(stage, batch) for batch in lake.batches(stage)]


def _lengths(facts: Sequence[PartitionFacts]) -> str:
    """Return the median and the 95th percentile of the tokens of a CoT."""
    counts = Counter[str]()
    for one in facts:
        counts.update(one.lengths)
    if not counts:
        return _NONE
    lengths = [int(tokens) for tokens in counts]
    tokens = pl.Series(lengths).repeat_by(pl.Series(counts.values())).explode()
    median = tokens.quantile(0.5, "nearest")
    high = tokens.quantile(0.95, "nearest")
    return f"{median:.0f}/{high:.0f}"


def _checks_passed(read_gate: GateReader, stage: str, batches: list[str]) -> str:
    passed = total = 0
    for batch in batches:
        verdicts = list(read_gate(stage, batch).verdicts.values())
        passed += verdicts.count("passed")
        total += len(verdicts)
    colour = "green" if passed == total else "red"
    return f"[{colour}]{passed}/{total}[/]"


def _cost_table(lake: KnownLake, currency: str) -> Table:
    """Return calls, tokens and money per stage, with those of failed rows."""
    title = "Calls and tokens, failed rows included"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    usages = _usage_by_stage(lake)
    total = sum(usages.values(), Usage())
    has_money = bool(currency or total.cost)
    for column in (
        "calls",
        "tokens\nin",
        "of them\ncached",
        "tokens\nout",
        "reason-\ning",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    if has_money:
        table.add_column(Text(currency or "money"), justify="right", no_wrap=True)
    for stage, usage in usages.items():
        table.add_row(stage, *_cost_cells(usage, has_money=has_money))
    if usages:
        table.add_section()
        cells = _cost_cells(total, has_money=has_money)
        table.add_row("together", *cells, style="bold")
    return table


def _usage_by_stage(lake: KnownLake) -> dict[str, Usage]:
    """Return what each stage that asked a model used, for rows that came out and that failed."""
    usages = {}
    for stage, definition in STAGES.items():
        if "usage" not in definition.record.model_fields:
            continue
        usage = Usage()
        for one in _facts(lake, stage):
            usage += Usage(**one.usage)
        if usage.calls:
            usages[str(stage)] = usage
    return usages


def _cost_cells(usage: Usage, *, has_money: bool) -> list[str]:
    counts = (
        usage.calls,
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        usage.reasoning_tokens,
    )
    cells = [short_count(count) for count in counts]
    if has_money:
        cells.append(format_money(usage.cost))
    return cells


def _maker_table(lake: KnownLake) -> Table:
    """Return which models on which servers, with their profiles, made which batches."""
    table = Table(title="Who answered", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("server (profile)", overflow="fold")
    table.add_column("batches", overflow="fold", min_width=12)
    for (models, servers), batches in _batches_by_makers(lake).items():
        # Rich reads no markup in a `Text`, and names may hold brackets.
        table.add_row(Text(models), Text(servers or _NONE), Text(listing(batches)))
    return table


def _batches_by_makers(lake: KnownLake) -> dict[_Makers, list[str]]:
    batches: dict[_Makers, dict[str, None]] = {}
    for stage, definition in STAGES.items():
        # No model is behind such a stage.
        if (
            "servers" not in definition.record.model_fields
            or stage is Stage.FINE_TUNE_SPLITS
        ):
            continue
        for batch in lake.batches(stage):
            for models, servers in lake.facts(stage, batch).makers:
                batches.setdefault((models, servers), {})[batch] = None
    return {makers: sorted(names) for makers, names in batches.items()}


def _thought_table(lake: KnownLake) -> Table:
    table = Table(title="Thoughts and tokens through refinement", show_header=False)
    facts = _facts(lake, Stage.REFINED_COTS)
    if not any(one.rows for one in facts):
        return table
    verdicts = Counter[str]()
    for one in facts:
        verdicts.update(one.verdicts)
    # Taken out of the counter, which then holds the reasons for dropping alone.
    kept = verdicts.pop(ThoughtVerdict.KEEP, 0)
    deliberated = _mean(facts, "deliberated_cot_tokens")
    refined = _mean(facts, "cot_tokens")
    table.add_row("thoughts kept", str(kept))
    table.add_row("thoughts dropped", _dropped(verdicts))
    table.add_row(
        "tokens of a CoT, mean", f"{deliberated} deliberated → {refined} refined"
    )
    return table


def _dropped(verdicts: Counter[str]) -> str:
    """Return how many thoughts were dropped, and for which reasons."""
    if not verdicts:
        return "0"
    reasons = [f"{count} {verdict}" for verdict, count in verdicts.most_common()]
    return f"{verdicts.total()} ({', '.join(reasons)})"


def _mean(facts: Sequence[PartitionFacts], column: str) -> str:
    total = count = 0
    for one in facts:
        tokens, rows = one.tokens.get(column, (0, 0))
        total += tokens
        count += rows
    return f"{total / count:.0f}" if count else _NONE


def _score_table(lake: KnownLake) -> Table:
    """Return mean scores by version over all rows.

    The quality report has them on the same prompts, with intervals.
    """
    versions: tuple[Version, ...] = get_args(Version)
    table = Table("score, 1 to 5", title="What the judges say")
    for version in versions:
        table.add_column(_words(version))
    facts = _facts(lake, Stage.COT_GRADES)
    if not any(one.rows for one in facts):
        return table
    for metric in METRICS:
        cells = [_mean_score(facts, version, metric) for version in versions]
        table.add_row(_words(metric), *cells)
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def _mean_score(facts: Sequence[PartitionFacts], version: str, metric: str) -> str:
    total = count = 0
    for one in facts:
        scores, grades = one.scores.get(version, {}).get(metric, (0, 0))
        total += scores
        count += grades
    return f"{total / count:.2f}" if count else _NONE


def _exclusion_table(lake: KnownLake) -> Table:
    table = Table("what", "reason", "rows", title="Left out, with the reason")
    for what, reasons in _exclusions(lake):
        for reason, count in sorted(reasons.items()):
            table.add_row(what, reason, str(count))
    return table


def _without_dpo(read_gate: GateReader, lake: KnownLake) -> Paragraphs:
    """Return the batches whose DPO rows are behind a closed gate, with what is behind it."""
    paragraphs = Paragraphs("SFT rows alone: the gate of the DPO rows is closed")
    for batch in lake.batches(Stage.FINE_TUNE_SPLITS):
        reason = why_without_dpo(lake, read_gate, batch)
        if not reason:
            continue
        pairs = "no pairs"
        if lake.has(Stage.PREFERENCE_PAIRS, batch):
            rows = lake.facts(Stage.PREFERENCE_PAIRS, batch).rows
            pairs = f"{quantity(rows, 'pair')} behind it"
        paragraphs.add(f"{batch}: {pairs}", [reason])
    return paragraphs


def _exclusions(lake: KnownLake) -> Iterator[tuple[str, Counter[str]]]:
    """Yield the rows left out by ingestion and by each stage, counted by reason."""
    dropped = lake.all_rows(DROPPED, ["reason"])
    if dropped is not None:
        yield "ingestion", Counter(dropped["reason"].to_list())
    for stage in STAGES:
        reasons = Counter[str]()
        for one in _facts(lake, stage):
            reasons.update(one.failed)
        yield str(stage), reasons


def _any_simulated(lake: KnownLake) -> bool:
    # The rows are asked, not the settings: the engine may have been another one then.
    for stage in STAGES:
        # Users wrote the prompts.
        if stage is Stage.PROMPTS:
            continue
        if any(one.is_simulated for one in _facts(lake, stage)):
            return True
    return False
