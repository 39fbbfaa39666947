"""What the rehearsal planted in the rows of a dataset, held against what the pipeline found."""

from aidsafe_dagster.engines.rehearsal.evaluation import RECORDS, Outcome, planted_truth_report
from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.records import Failure
from aidsafe_dagster.reports.frames import Dataset, read_records
from aidsafe_dagster.settings.schema import Settings


def planted_truth(dataset: Dataset, settings: Settings) -> list[dict[str, object]]:
    """Nothing of rows that models made, or of a rehearsal under other settings."""
    if not dataset.simulated:
        return []
    made = {
        stage: Outcome(
            list(read_records(dataset, stage, record).values()),
            from_frame(dataset.failures.filter(stage=str(stage)), Failure),
        )
        for stage, record in RECORDS.items()
    }
    plan, policies = FaultPlan(settings.rehearsal), settings.load_policies()
    return planted_truth_report(plan, policies, made, settings.deliberation)
