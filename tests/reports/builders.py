"""Lakes of constructed quality, for which the contents of a report are known.

lake = a_lake(folder, cot_grades=[graded("p1", refined=5, deliberated=4, single_llm=3)])
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import CotGrades, Failure, Grade, Record, Stage
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.reports.frames import Dataset, open_dataset
from aidsafe_dagster.reports.quality import ReportContext, build_quality_report
from aidsafe_dagster.reports.sections import Report, Section, Table
from aidsafe_dagster.reports.settings import ReportSettings
from tests.builders import a_cot_grades, a_grade, policies

R = TypeVar("R")
BATCH = "demo-0001"
_LATER_COLUMNS = ("servers", "repaired", "reasoning")
_OLDER_USAGE = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")


def a_lake(
    folder: Path,
    batch: str = BATCH,
    failures: Sequence[Failure] = (),
    **rows: Sequence[Record],
) -> Lake:
    """Write one batch of these rows, by stage. Call it again to add another batch."""
    lake = Lake(folder / "lake")
    for stage in always_made():
        definition = STAGES[stage]
        failed = [failure for failure in failures if failure.stage == stage]
        if stage in rows or failed:
            lake.write(
                stage,
                batch,
                to_frame(rows.get(stage, ()), definition.record),
                to_frame(failed, Failure),
            )
    return lake


def make_older(lake: Lake, batch: str) -> None:
    """Rewrite a batch as releases did before rows told servers, reasoning and cost."""
    for stage in always_made():
        if lake.has(stage, batch):
            rows = _as_older(lake.rows(stage, batch))
            lake.write(stage, batch, rows, _as_older(lake.failures(stage, batch)))


def _as_older(frame: pl.DataFrame) -> pl.DataFrame:
    # Prompts have been asked of nobody.
    if "usage" not in frame.columns:
        return frame
    present = [name for name in _LATER_COLUMNS if name in frame.columns]
    counts = [pl.col("usage").struct.field(name) for name in _OLDER_USAGE]
    return frame.drop(present).with_columns(pl.struct(counts).alias("usage"))


def a_dataset(
    folder: Path, failures: Sequence[Failure] = (), **rows: Sequence[Record]
) -> Dataset:
    return open_dataset(a_lake(folder, BATCH, failures, **rows))


def graded(
    prompt_id: str, judges: Sequence[str] = ("judge",), **scores: int | Sequence[int]
) -> CotGrades:
    """Return a row whose versions have one score, or one per judge, in all six metrics."""
    grades = []
    for version, score in scores.items():
        by_judge = [score] * len(judges) if isinstance(score, int) else score
        for judge, own_score in zip(judges, by_judge, strict=True):
            grades.append(a_grade(own_score, version=version, judge=judge))
    return with_grades(prompt_id, *grades)


def with_grades(prompt_id: str, *grades: Grade, **changes: Any) -> CotGrades:
    values = {"prompt_id": prompt_id, "grades": grades, "comparisons": ()}
    return a_cot_grades(**(values | changes))


def a_report(lake: Lake, **context: Any) -> Report:
    """Build a report with few resamples. The tests do not depend on them."""
    settings = ReportSettings(resamples=200)
    return build_quality_report(
        open_dataset(lake),
        ReportContext(policies(), **context),
        settings,
    )


def many(
    make: Callable[..., R], count: int, prefix: str = "p", **fields: Any
) -> list[R]:
    """Make rows that differ only in their prompt ids: p0, p1, …"""
    return [make(prompt_id=f"{prefix}{n}", **fields) for n in range(count)]


def find_section(report: Report, title: str) -> Section:
    for section in report.sections:
        if section.title == title:
            return section
    raise AssertionError(f"no section {title}")


def find_table(section: Section, title: str) -> Table:
    for table in section.tables:
        if table.title == title:
            return table
    raise AssertionError(f"no table {title}")


def cells(table: Table, *words: str) -> tuple[str, ...]:
    """Return the rest of the row that begins with these words."""
    for row in table.rows:
        if row[: len(words)] == words:
            return row[len(words) :]
    raise AssertionError(f"no row {words}")


def column(table: Table, place: int = 0) -> list[str]:
    """Return one cell of every row."""
    return [row[place] for row in table.rows]


def query_rows(lake: Lake, stage: Stage, query: str) -> list[tuple[Any, ...]]:
    """Run a query in DuckDB on a stage's Parquet files, as the view `rows`."""
    files = f"{lake.root}/{stage}/batch=*/rows.parquet"
    view = (
        f"CREATE VIEW rows AS FROM read_parquet('{files}', hive_partitioning = false)"
    )
    with duckdb.connect() as connection:
        connection.execute(view)
        return connection.execute(query).fetchall()
