"""Asset `prompts`: a batch as ingestion sealed it, taken up into the recipe."""

from collections import Counter

import dagster as dg

from aidsafe_dagster.assets.described import stage_asset
from aidsafe_dagster.assets.dialogue_stage import Made
from aidsafe_dagster.assets.ingestion import INGESTED
from aidsafe_dagster.assets.metadata import row_metadata, table
from aidsafe_dagster.processes import claim_run
from aidsafe_dagster.recipe.records import Failure, Prompt, Stage
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.tables import from_frame, to_frame


@stage_asset(Stage.PROMPTS)
def prompts(context: dg.AssetExecutionContext, lake: LakeResource) -> Made:
    """User prompts with their source, category and licence; a batch is sealed by ingestion and never changes."""
    claim_run(context.instance, context.run)
    opened, batch = lake.open(), context.partition_key
    rows = from_frame(opened.rows(INGESTED, batch), Prompt)
    opened.write(Stage.PROMPTS, batch, to_frame(rows, Prompt), to_frame([], Failure))
    return dg.MaterializeResult(
        metadata={
            **row_metadata(rows, []),
            "categories": table(Counter(row.category or "(none)" for row in rows), "category"),
            "licences": table(Counter(row.licence for row in rows), "licence"),
            "path": dg.MetadataValue.path(str(opened.rows_path(Stage.PROMPTS, batch))),
        },
        data_version=dg.DataVersion(opened.fingerprint(Stage.PROMPTS, batch)),
    )
