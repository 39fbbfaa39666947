"""Asset `prompts`: a batch as ingestion sealed it, less what is in an evaluation set, taken up into the recipe."""

from collections import Counter

import dagster as dg

from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.recipe.records import Failure, FailureReason, Prompt, Stage
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.decontamination import left_out, open_decontamination
from aidsafe_dagster.stages.dialogue_stage import Materialized
from aidsafe_dagster.stages.ingestion import sealed_rows
from aidsafe_dagster.stages.metadata import row_metadata, table
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.PROMPTS)
def prompts(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: SettingsResource
) -> Materialized:
    """User prompts with their source, category and licence; a batch is sealed by ingestion and never changes.

    Prompts that are in an evaluation set are left out, each with its match, before any model is asked.
    """
    opened, batch = lake.open(), context.partition_key
    given = from_frame(sealed_rows(opened, batch), Prompt)
    check = open_decontamination(settings.load())
    found = check.find(given)
    rows = [row for row in given if row.prompt_id not in found]
    failures = [
        left_out(row, Stage.PROMPTS, FailureReason.CONTAMINATED, str(found[row.prompt_id]))
        for row in given
        if row.prompt_id in found
    ]
    opened.write(Stage.PROMPTS, batch, to_frame(rows, Prompt), to_frame(failures, Failure))
    check.remember(opened, Stage.PROMPTS, batch)
    return dg.MaterializeResult(
        metadata={
            **row_metadata(rows, failures),
            **check.metadata(failures),
            "categories": table(Counter(row.category or "(none)" for row in rows), "category"),
            "licences": table(Counter(row.licence for row in rows), "licence"),
            "path": dg.MetadataValue.path(str(opened.rows_path(Stage.PROMPTS, batch))),
        },
        data_version=dg.DataVersion(opened.fingerprint(Stage.PROMPTS, batch)),
    )
