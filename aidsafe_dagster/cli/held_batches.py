"""What stands behind a closed gate: which checks closed it, and which rows and stages wait."""

from collections import Counter
from collections.abc import Iterator

from aidsafe_dagster.cli.console import quantity
from aidsafe_dagster.cli.paragraphs import Paragraphs
from aidsafe_dagster.cli.recorded_gates import GateReader
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import all_upstream, always_made
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.known_lake import KnownLake


def held_batches(read_gate: GateReader, lake: Lake) -> Paragraphs:
    """Return the closed gates of each batch that stages wait behind, with what waits."""
    lake = KnownLake.of(lake)
    paragraphs = Paragraphs("Behind a closed gate")
    for batch in lake.batches(INGESTED):
        for stage in always_made():
            if not lake.has(stage, batch):
                continue
            gate = read_gate(stage, batch)
            if gate.open:
                continue
            waiting = [name for name in always_made() if stage in all_upstream(name)]
            if waiting:
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


def _rows(lake: KnownLake, stage: str, batch: str) -> str:
    """Return what came of the rows: `0 of 6 rows passed: 4 unparsable, 2 engine_error`."""
    facts = lake.facts(stage, batch)
    total = facts.rows + facts.failures
    line = f"{facts.rows:,} of {quantity(total, 'row')} passed"
    reasons = Counter(facts.failed).most_common()
    if not reasons:
        return line
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    return f"{line}; failed: {listed} (aidsafe failures --batch {batch})"


def _describe_waiting(lake: KnownLake, stages: list[str], batch: str) -> str:
    made = list(_made(lake, stages, batch))
    missing = [str(stage) for stage in stages if not lake.has(stage, batch)]
    parts = []
    if missing:
        parts.append(f"not made: {', '.join(missing)}")
    if made:
        parts.append(f"made earlier and not to be used: {', '.join(made)}")
    return "; ".join(parts)


def _made(lake: KnownLake, stages: list[str], batch: str) -> Iterator[str]:
    for stage in stages:
        if lake.has(stage, batch):
            yield f"{stage} ({quantity(lake.facts(stage, batch).rows, 'row')})"
