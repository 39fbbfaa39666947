"""Why a batch stopped where no gate says so: the error of its latest run."""

from collections.abc import Iterator
from datetime import UTC, datetime

from aidsafe_dagster.cli.paragraphs import Paragraphs
from aidsafe_dagster.cli.recorded_gates import GateReader
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.sources.tables import INGESTED

_MOST_BATCHES = 20
"""Whose runs are looked up."""


def stopped_batches(read_gate: GateReader, lake: Lake) -> Paragraphs:
    """Return the batches whose latest run failed, and not because a check did, with its error."""
    paragraphs = Paragraphs("Stopped, and not by a gate")
    batches = list(_incomplete(read_gate, lake))[:_MOST_BATCHES]
    # Importing Dagster costs more than the rest of the command, so only where it is needed.
    if batches:
        _add_latest_runs(paragraphs, batches)
    return paragraphs


def _incomplete(read_gate: GateReader, lake: Lake) -> Iterator[tuple[str, str]]:
    """Yield batches with the first stage that is missing or unchecked; not where a check failed."""
    for batch in lake.batches(INGESTED):
        for stage in always_made():
            is_made = lake.has(stage, batch)
            gate = read_gate(stage, batch)
            if is_made and gate.open:
                continue
            if not is_made or "failed" not in gate.verdicts.values():
                yield batch, str(stage)
            break


def _add_latest_runs(paragraphs: Paragraphs, batches: list[tuple[str, str]]) -> None:
    import dagster as dg

    from aidsafe_dagster.cli.local_runs import failure_error, open_instance

    with open_instance() as instance:
        for batch, stage in batches:
            filters = dg.RunsFilter(tags={"dagster/partition": batch})
            for record in instance.get_run_records(filters, limit=1):
                run = record.dagster_run
                if run.status is not dg.DagsterRunStatus.FAILURE:
                    continue
                failures = instance.all_logs(
                    run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE
                )
                why = "its process ended"
                for entry in failures:
                    if entry.dagster_event:
                        why = failure_error(entry.dagster_event)
                ended = datetime.fromtimestamp(record.end_time or 0, UTC).astimezone()
                paragraphs.add(f"{batch} at {stage}, {ended:%d %B %H:%M}", [why])
