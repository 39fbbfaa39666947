"""Lakes of constructed quality: what a report has to say of them is known before it is made.

lake = a_lake(folder, cot_grades=[graded("p1", refined=5, deliberated=4, single_llm=3)])
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from aidsafe_dagster.lake.lake import RECORDS, Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import CotGrades, Failure, Grade, Record, Stage
from aidsafe_dagster.reports.frames import Dataset, open_dataset
from aidsafe_dagster.reports.quality import ReportContext, build_quality_report
from aidsafe_dagster.reports.sections import Report, Section, Table
from aidsafe_dagster.reports.settings import ReportSettings
from tests.builders import a_cot_grades, a_grade, policies

BATCH = "demo-0001"


def a_lake(
    folder: Path, batch: str = BATCH, failures: Sequence[Failure] = (), **rows: Sequence[Record]
) -> Lake:
    """A lake with one batch of these rows, by stage; more batches are added by calling it again."""
    lake = Lake(folder / "lake")
    for stage, record in RECORDS.items():
        failed = [failure for failure in failures if failure.stage == stage]
        if stage in rows or failed:
            lake.write(
                stage, batch, to_frame(rows.get(stage, ()), record), to_frame(failed, Failure)
            )
    return lake


def a_dataset(folder: Path, failures: Sequence[Failure] = (), **rows: Sequence[Record]) -> Dataset:
    return open_dataset(a_lake(folder, BATCH, failures, **rows))


def graded(
    prompt_id: str, judges: Sequence[str] = ("judge",), **scores: int | Sequence[int]
) -> CotGrades:
    """A row whose versions have these scores, the same in all six metrics; a sequence gives one for each judge."""
    grades = [
        a_grade(score if isinstance(score, int) else score[place], version=version, judge=judge)
        for version, score in scores.items()
        for place, judge in enumerate(judges)
    ]
    return with_grades(prompt_id, *grades)


def with_grades(prompt_id: str, *grades: Grade, **changes: Any) -> CotGrades:
    return a_cot_grades(**({"prompt_id": prompt_id, "grades": grades, "comparisons": ()} | changes))


def a_report(lake: Lake, **told: Any) -> Report:
    """Few resamples: what a test checks does not hang on them."""
    settings = ReportSettings(resamples=200)
    return build_quality_report(open_dataset(lake), ReportContext(policies(), **told), settings)


def section(report: Report, title: str) -> Section:
    return next(section for section in report.sections if section.title == title)


def table(section: Section, title: str) -> Table:
    return next(table for table in section.tables if table.title == title)


def cells(found: Table, *row: str) -> tuple[str, ...]:
    """The figures of the row that begins with these words."""
    return next(line[len(row) :] for line in found.rows if line[: len(row)] == row)


def asked(lake: Lake, stage: Stage, query: str) -> list[tuple[Any, ...]]:
    """The answer of DuckDB on a stage's Parquet files, as `rows`."""
    files = f"{lake.root}/{stage}/batch=*/rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE VIEW rows AS FROM read_parquet('{files}', hive_partitioning = false)"
        )
        return connection.execute(query).fetchall()
