"""Section: in which generation of the loop rows were made, and which trained adapters answered."""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import EMPTY_CELL, Section, Table, format_count

TITLE = "Generation"
_INTRO = (
    "A trained adapter of the generation before answered here in place of a model. Pairs whose "
    "answer to avoid is an adapter's are on-policy for a training that goes on from it. "
    "`aidsafe generation compare` shows what became of it."
)


def generation_section(dataset: Dataset) -> Section | None:
    """Count rows by stage and adapter; None in the first generation."""
    rows = []
    latest = 1
    for stage in stages_with_adapters():
        counts = count_by_adapter(dataset.rows(stage, "generation", "adapters"))
        for (number, adapters), count in counts.items():
            latest = max(latest, number)
            cells = (stage, str(number), adapters or EMPTY_CELL, format_count(count))
            rows.append(cells)
    if latest == 1:
        return None
    columns = ("stage", "generation", "adapters", "rows")
    table = Table("Who answered", columns, tuple(rows), text_columns=3)
    return Section(TITLE, _INTRO, [table])


def describe_generation(dataset: Dataset) -> str:
    """Return generation and adapters in a line; empty in the first generation."""
    numbers: set[int] = set()
    adapters: dict[str, None] = {}
    for stage in stages_with_adapters():
        counts = count_by_adapter(dataset.rows(stage, "generation", "adapters"))
        for number, names in counts:
            numbers.add(number)
            if names:
                adapters[names] = None
    if max(numbers, default=1) == 1:
        return ""
    listed = ", ".join(map(str, sorted(numbers)))
    return f"{listed}; {'; '.join(adapters) or 'no adapter answered'}"


def stages_with_adapters() -> Iterator[str]:
    """Yield the stages whose rows are written by models."""
    for stage, definition in STAGES.items():
        if definition.dialogue is not None:
            yield str(stage)


def count_by_adapter(rows: pl.DataFrame) -> Counter[tuple[int, str]]:
    """Count rows by generation and by the adapters that answered, as text."""
    counts: Counter[tuple[int, str]] = Counter()
    for number, adapters in rows.select("generation", "adapters").iter_rows():
        # Rows of an earlier release say neither.
        counts[number or 1, ", ".join(adapters or ())] += 1
    return counts
