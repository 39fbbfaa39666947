"""Asset `selected_rows`: the best rows of the dataset, each with the reason why."""

from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.engines.embeddings import embedder
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.publishing.dataset import (
    ReleaseSelection,
    drop_outdated,
    drop_simulated,
    simulated_prompts,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.markdown import markdown_table, to_markdown
from aidsafe_dagster.reports.sections import Report
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.selection.candidates import read_candidates
from aidsafe_dagster.selection.records import SelectionRow
from aidsafe_dagster.selection.section import (
    TITLE,
    accounts_table,
    selection_section,
    shares_table,
    sides_table,
)
from aidsafe_dagster.selection.select import Embed, Selection, select_rows
from aidsafe_dagster.selection.store import (
    StoredSelection,
    store_selection,
    stored_embeddings,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.stages.batch_selection import select_for_release
from aidsafe_dagster.stages.materialization import (
    REHEARSAL_LABEL,
    Materialized,
    materialized,
)
from aidsafe_dagster.stages.stage_asset import OWNERS, column_schema

_INPUTS = (
    Stage.DELIBERATED_COTS,
    Stage.REFINED_COTS,
    Stage.COT_GRADES,
    Stage.PREFERENCE_PAIRS,
    Stage.FINE_TUNE_SPLITS,
)


_MAX_NAMED_REASONS = 5


class SelectionConfig(dg.Config):
    rows: int | None = Field(
        default=None, ge=1, description="rows to select; default: selection.rows"
    )
    batches: list[str] = Field(
        default=[],
        description="from these alone; empty: all that passed their gates",
    )


@dg.asset(
    deps=[dg.AssetKey(str(stage)) for stage in _INPUTS],
    group_name="release",
    kinds={"polars", "scikitlearn"},
    owners=OWNERS,
    metadata={"dagster/column_schema": column_schema(SelectionRow)},
)
def selected_rows(
    context: dg.AssetExecutionContext,
    config: SelectionConfig,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """The best SFT rows of the train split: above a floor, then diverse, balanced, hard ones first.

    No two that mean the same. Asks no model, unless one for embeddings is set. Published as the
    config `selected`, and trained on by `aidsafe train --rows selected`.
    """
    opened = lake.open()
    snapshot = settings.snapshot
    requested = select_for_release(context.instance, opened).narrowed(config.batches)
    release = drop_simulated(opened, drop_outdated(opened, requested))
    if not release.batches:
        raise SetupError(_why_no_batch(release))
    selection = _select(opened, snapshot, release.batches, config.rows)
    store_selection(opened, selection)
    stored = StoredSelection(opened, selection.facts)
    paths = _write_reports(snapshot.settings, stored)
    context.log.info(
        f"{selection.facts.chosen:,} rows selected, version {selection.facts.version}"
    )
    return materialized(
        snapshot,
        {**_metadata(selection), **paths},
        data_version=selection.facts.rows_key,
        simulated=selection.facts.simulated,
    )


select_rows_job = dg.define_asset_job(
    "select_rows",
    selection=dg.AssetSelection.assets(selected_rows),
    description="Selects the best rows of all batches behind open gates, and says why",
)


def _why_no_batch(release: ReleaseSelection) -> str:
    reasons = [f"{batch}: {why}" for batch, why in sorted(release.left_out.items())]
    listed = "; ".join(reasons[:_MAX_NAMED_REASONS])
    return f"there is nothing to select from ({listed or 'no batch was made yet'})"


def _select(
    lake: Lake, snapshot: SettingsSnapshot, batches: tuple[str, ...], rows: int | None
) -> Selection:
    loaded = snapshot.settings
    chosen = loaded.selection
    if rows is not None:
        chosen = chosen.model_copy(update={"rows": rows})
    simulated = bool(simulated_prompts(lake, batches))
    dataset = Dataset(lake, frozenset(batches), simulated=simulated, left_out=0)
    candidates = read_candidates(
        dataset,
        snapshot.policies,
        chosen.floor,
        loaded.pairs.max_rejected_score,
        loaded.splits.general_ratio,
    )
    fingerprints = {}
    for batch in batches:
        fingerprints[batch] = lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch)
    return select_rows(
        candidates,
        chosen,
        fingerprints,
        seed=loaded.seed,
        embed=_embed(lake, loaded),
        model=loaded.embeddings.model,
    )


def _embed(lake: Lake, settings: Settings) -> Embed | None:
    embed = embedder(settings.embeddings)
    if embed is None:
        return None
    # The same name at another server is another model.
    model = f"{settings.embeddings.base_url} {settings.embeddings.model}"
    return lambda rows: stored_embeddings(lake, rows, embed, model)


def _write_reports(settings: Settings, selection: StoredSelection) -> dict[str, Any]:
    """Write the page and every row with its reason; return the paths."""
    warning = REHEARSAL_LABEL.strip("*") if selection.facts.simulated else ""
    report = Report({}, warning, [], [selection_section(selection)])
    page = settings.reports / "selection.md"
    markdown = write_report(page, to_markdown(report, TITLE))
    parquet = settings.reports / "selection.parquet"
    with atomic_write(parquet) as temporary:
        to_frame(selection.rows, SelectionRow).write_parquet(temporary)
    return {
        "markdown": dg.MetadataValue.path(str(markdown)),
        "parquet": dg.MetadataValue.path(str(parquet)),
    }


def _metadata(selection: Selection) -> dict[str, Any]:
    facts = selection.facts
    tables = (accounts_table(facts), sides_table(facts), shares_table(facts))
    metadata: dict[str, Any] = {
        "dagster/row_count": facts.chosen,
        "version": facts.version,
        "wanted": facts.wanted,
        "meaning": facts.meaning,
    }
    for table in tables:
        metadata[table.title] = dg.MetadataValue.md(markdown_table(table))
    return metadata
