"""What an ablation shows and stores: a line per variant with intervals, differences on the same prompts, cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.quality.statistics import Estimate, mean_interval, paired_difference
from aidsafe_dagster.recipe.ablations import AblationRow
from aidsafe_dagster.recipe.records import METRICS, Failure
from aidsafe_dagster.stages.metadata import REHEARSAL_LABEL, row_metadata
from aidsafe_dagster.stages.plots import picture

_SHOWN = (*METRICS, "policy_score")


@dataclass(frozen=True)
class VariantRun:
    """What came of one variant."""

    name: str
    results: Sequence[AblationRow | Failure]
    progress: Progress

    @property
    def rows(self) -> list[AblationRow]:
        return [result for result in self.results if isinstance(result, AblationRow)]

    @property
    def failures(self) -> list[Failure]:
        return [result for result in self.results if isinstance(result, Failure)]


def store(folder: Path, name: str, runs: Sequence[VariantRun]) -> Path:
    """Writes every row of every variant as one Parquet file; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    beside = path.with_name(f".{path.name}")
    to_frame([row for run in runs for row in run.rows], AblationRow).write_parquet(beside)
    beside.replace(path)
    return path


def ablation_metadata(runs: Sequence[VariantRun], path: Path) -> dict[str, Any]:
    """Tables, a plot and the cost; the first variant is what the others are measured against."""
    rows = [row for run in runs for row in run.rows]
    label = (
        {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)}
        if any(row.simulated for row in rows)
        else {}
    )
    return {
        **label,
        **row_metadata(rows, [failure for run in runs for failure in run.failures]),
        "quality": table_of([_quality(run) for run in runs]),
        "difference": table_of([_difference(run, runs[0]) for run in runs[1:]]),
        "cost": table_of([_cost(run) for run in runs]),
        "policy_to_cot": dg.MetadataValue.md(_plot(runs)),
        "calls_made": sum(run.progress.calls_made for run in runs),
        "calls_replayed": sum(run.progress.replayed for run in runs),
        "path": dg.MetadataValue.path(str(path)),
    }


def table_of(lines: Sequence[dict[str, Any]]) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name) for name in lines[0]] if lines else [dg.TableColumn("variant")]
    return dg.MetadataValue.table(
        [dg.TableRecord(line) for line in lines], schema=dg.TableSchema(columns)
    )


def _quality(run: VariantRun) -> dict[str, Any]:
    """Means with 95 % bootstrap intervals."""
    scores = {
        name: said(mean_interval([getattr(row, name) for row in run.rows])) for name in _SHOWN
    }
    return {"variant": run.name, "rows": len(run.rows), "failed": len(run.failures), **scores}


def _difference(run: VariantRun, reference: VariantRun) -> dict[str, Any]:
    """Means of the differences on the prompts that both variants brought through."""
    known = {row.prompt_id: row for row in reference.rows}
    pairs = [(row, known[row.prompt_id]) for row in run.rows if row.prompt_id in known]

    def of(name: str) -> str:
        found = paired_difference(
            [getattr(one, name) for one, _ in pairs], [getattr(other, name) for _, other in pairs]
        )
        return said(found, signed=True)

    return {
        "variant": f"{run.name} − {reference.name}",
        "prompts": len(pairs),
        **{name: of(name) for name in (*_SHOWN, "cot_tokens")},
    }


def _cost(run: VariantRun) -> dict[str, Any]:
    """Per row, what making its CoT takes; and what this run asked and replayed, grading counted in."""
    rows = run.rows
    share = 1 / len(rows) if rows else 0.0
    return {
        "variant": run.name,
        "cot_tokens": said(mean_interval([row.cot_tokens for row in rows]), digits=0),
        "deliberation_turns": round(sum(row.turns for row in rows) * share, 2),
        "calls_per_row": round(sum(row.usage.calls for row in rows) * share, 2),
        "tokens_in_per_row": round(sum(row.usage.prompt_tokens for row in rows) * share),
        "tokens_out_per_row": round(sum(row.usage.completion_tokens for row in rows) * share),
        "calls_made": run.progress.calls_made,
        "calls_replayed": run.progress.replayed,
        "seconds": round(run.progress.seconds, 1),
    }


def said(estimate: Estimate | None, *, signed: bool = False, digits: int = 2) -> str:
    """`4.27 [4.11, 4.42]`."""
    if estimate is None:
        return "–"
    sign = "+" if signed else ""
    value = f"{estimate.value:{sign}.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{estimate.low:{sign}.{digits}f}, {estimate.high:{sign}.{digits}f}]"


def _plot(runs: Sequence[VariantRun]) -> str:
    """Faithfulness of the CoT to the policies, the metric that discriminates, by variant."""
    found = [(run.name, mean_interval([row.policy_to_cot for row in run.rows])) for run in runs]
    known = [(name, estimate) for name, estimate in found if estimate]

    def draw(axes: Any) -> None:
        for place, (_, e) in enumerate(known):
            low, high = (
                (e.value if e.low is None else e.low),
                (e.value if e.high is None else e.high),
            )
            axes.errorbar(
                place,
                e.value,
                yerr=[[e.value - low], [high - e.value]],
                fmt="o",
                color="#4f43dd",
                capsize=4,
            )
        axes.set_xticks(range(len(known)), [name for name, _ in known])
        axes.set_xlim(-0.5, max(len(known) - 0.5, 0.5))
        axes.set_ylabel("policy to CoT, 1–5")

    return picture("policy to CoT by variant, with 95 % intervals", draw)
