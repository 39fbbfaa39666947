"""Asset `prompts`: a sealed batch, without what is in an evaluation set, enters the recipe."""

from collections import Counter

import dagster as dg

from aidsafe_dagster.recipe.records import FailureReason, Prompt, Stage
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.decontamination import left_out, open_decontamination
from aidsafe_dagster.stages.ingestion import sealed_prompts
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import count_table, row_metadata
from aidsafe_dagster.stages.row_links import row_links
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.PROMPTS)
def prompts(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: SettingsResource
) -> Materialized:
    """User prompts with their source, category and licence, as ingestion sealed them.

    A sealed batch never changes. Prompts that are in an evaluation set are left out, each with its
    match, before any model is asked.
    """
    opened = lake.open()
    batch = context.partition_key
    snapshot = settings.snapshot
    sealed = sealed_prompts(opened, batch)
    decontamination = open_decontamination(snapshot.settings)
    matches = decontamination.find(sealed)
    rows, failures = [], []
    for prompt in sealed:
        match = matches.get(prompt.prompt_id)
        if match is None:
            rows.append(prompt)
        else:
            reason = FailureReason.CONTAMINATED
            failures.append(left_out(prompt, Stage.PROMPTS, reason, str(match)))
    opened.store(Stage.PROMPTS, batch, rows, Prompt, failures)
    # After the rows: a kill in between leaves them without a record, and they are checked again.
    decontamination.record(opened, Stage.PROMPTS, batch)
    # Not every source has categories.
    categories = Counter(row.category or "(none)" for row in rows)
    licences = Counter(row.licence for row in rows)
    metadata = {
        **row_metadata(rows, failures),
        **decontamination.metadata(failures),
        "categories": count_table(categories, "category"),
        "licences": count_table(licences, "licence"),
        "path": dg.MetadataValue.path(str(opened.rows_path(Stage.PROMPTS, batch))),
        **row_links(snapshot.settings, Stage.PROMPTS, batch, failed=len(failures)),
    }
    return materialized(
        snapshot, metadata, data_version=opened.fingerprint(Stage.PROMPTS, batch)
    )
