"""What stands behind a closed gate: which checks closed it, and which rows and stages wait."""

from collections import Counter
from collections.abc import Iterator

from aidsafe_dagster.cli.console import quantity
from aidsafe_dagster.cli.paragraphs import Paragraphs
from aidsafe_dagster.cli.recorded_gates import GateReader
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import all_upstream, always_made
from aidsafe_dagster.sources.tables import INGESTED


def held_batches(read_gate: GateReader, lake: Lake) -> Paragraphs:
    """Return the closed gates of each batch that stages wait behind, with what waits."""
    paragraphs = Paragraphs("Behind a closed gate")
    for batch in lake.batches(INGESTED):
        for stage in always_made():
            if not lake.has(stage, batch):
                continue
            gate = read_gate(stage, batch)
            waiting = [name for name in always_made() if stage in all_upstream(name)]
            if waiting and not gate.open:
                paragraphs.add(
                    str(gate),
                    (
                        _rows(lake, stage, batch),
                        _describe_waiting(lake, waiting, batch),
                    ),
                )
                # Those that follow wait for this one, whatever their own gates say.
                break
    return paragraphs


def _rows(lake: Lake, stage: str, batch: str) -> str:
    """Return what came of the rows: `0 of 6 rows passed: 4 unparsable, 2 engine_error`."""
    passed = lake.rows(stage, batch, ["prompt_id"]).height
    failures = lake.failures(stage, batch)
    line = f"{passed:,} of {quantity(passed + failures.height, 'row')} passed"
    reasons = Counter(failures["reason"].to_list()).most_common()
    if not reasons:
        return line
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    return f"{line}; failed: {listed} (aidsafe failures --batch {batch})"


def _describe_waiting(lake: Lake, stages: list[str], batch: str) -> str:
    made = list(_made(lake, stages, batch))
    missing = [str(stage) for stage in stages if not lake.has(stage, batch)]
    parts = []
    if missing:
        parts.append(f"not made: {', '.join(missing)}")
    if made:
        parts.append(f"made earlier and not to be used: {', '.join(made)}")
    return "; ".join(parts)


def _made(lake: Lake, stages: list[str], batch: str) -> Iterator[str]:
    for stage in stages:
        if lake.has(stage, batch):
            rows = lake.rows(stage, batch, ["prompt_id"]).height
            yield f"{stage} ({quantity(rows, 'row')})"
