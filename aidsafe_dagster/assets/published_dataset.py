"""Asset `published_dataset`: the whole dataset with its card, as a folder, and on the Hub when a person says so."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.assets.cot_grades import cot_grades
from aidsafe_dagster.assets.deliberated_cots import deliberated_cots
from aidsafe_dagster.assets.fine_tune_splits import fine_tune_splits
from aidsafe_dagster.assets.preference_pairs import preference_pairs
from aidsafe_dagster.assets.refined_cots import refined_cots
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.card import CardContext
from aidsafe_dagster.publishing.dataset import ReleaseSelection
from aidsafe_dagster.publishing.hub import Published
from aidsafe_dagster.publishing.release import Release, make_release
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.hub import HubResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.runs.liveness import claim_run
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.dialogue_stage import Materialized
from aidsafe_dagster.stages.gates import UPSTREAM, gate
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.metadata import REHEARSAL_LABEL, table
from aidsafe_dagster.stages.stage_asset import OWNERS
from aidsafe_dagster.training.data import dataset_version


class PublishConfig(dg.Config):
    dry_run: bool = Field(
        default=True, description="write the folder alone; nothing is sent to the Hub"
    )
    repo: str = Field(
        default="",
        description="the dataset repository, '<owner>/<name>'; empty: that of the settings",
    )
    allow_simulated: bool = Field(
        default=False,
        description="in a dry run, take rows of the rehearsal engine too; the card is labelled",
    )


@dg.asset(
    deps=[deliberated_cots, refined_cots, cot_grades, preference_pairs, fine_tune_splits],
    group_name="release",
    kinds={"huggingface", "parquet"},
    owners=OWNERS,
)
def published_dataset(
    context: dg.AssetExecutionContext,
    config: PublishConfig,
    lake: LakeResource,
    settings: SettingsResource,
    hub: HubResource,
) -> Materialized:
    """Parquet per config and split with a dataset card made from the run: in a folder, and on the Hub in one commit.

    Of the batches whose gate passed. Nothing is sent unless `dry_run` is false, and never a simulated row.
    """
    claim_run(context.instance, context.run)
    opened, loaded = lake.open(), _in_force(settings, config)
    repo = None if config.dry_run else hub.dataset(loaded.publish.repo, context.log.info)
    release = make_release(
        opened,
        choose(context.instance, opened),
        CardContext(loaded.publish, loaded.load_policies(), loaded.splits.general_ratio),
        loaded.home,
        allow_simulated=config.dry_run and config.allow_simulated,
    )
    published = repo.publish(release) if repo else None
    shown = _release_metadata(release) | (_hub_metadata(published) if published else {})
    # as the adapters name these batches
    shown["training_set"] = dataset_version(
        opened, release.chosen.batches, loaded.splits.general_ratio
    )
    return dg.MaterializeResult(
        metadata={"dry_run": config.dry_run, **shown}, data_version=dg.DataVersion(release.version)
    )


publish = dg.define_asset_job(
    "publish",
    selection=dg.AssetSelection.assets(published_dataset),
    description="Makes the dataset and its card; sends them to the Hub when dry_run is switched off",
)


def choose(instance: dg.DagsterInstance, lake: Lake) -> ReleaseSelection:
    """The batches whose fine-tune splits passed their gate, the others with the reason, and gates passed by order."""
    made = set(lake.batches(Stage.FINE_TUNE_SPLITS))
    gates = {batch: gate(instance, lake, Stage.FINE_TUNE_SPLITS, batch) for batch in sorted(made)}
    closed = {batch: str(found) for batch, found in gates.items() if not found.open}
    unmade = dict.fromkeys(
        set(lake.batches(INGESTED)) - made, f"{Stage.FINE_TUNE_SPLITS} was not made yet"
    )
    passed = tuple(batch for batch, found in gates.items() if found.open)
    above = {batch: "; ".join(_closed_above(instance, lake, batch)) for batch in passed}
    return ReleaseSelection(
        passed, closed | unmade, {batch: why for batch, why in above.items() if why}
    )


def _closed_above(instance: dg.DagsterInstance, lake: Lake, batch: str) -> Iterator[str]:
    """Gates of the stages above that are not open: a person let the batch pass them."""
    for stage in _above(Stage.FINE_TUNE_SPLITS):
        found = gate(instance, lake, stage, batch)
        if not found.open:
            yield str(found)


def _above(stage: Stage) -> list[Stage]:
    """All stages that a stage rests on, in the order of the recipe."""
    found = {above for direct in UPSTREAM[stage] for above in (direct, *_above(direct))}
    return [each for each in Stage if each in found]


def _in_force(settings: SettingsResource, config: PublishConfig) -> Settings:
    if not config.repo:
        return settings.load()
    publish = {**settings.overrides.get("publish", {}), "repo": config.repo}
    return load_settings(overrides=settings.overrides | {"publish": publish}).settings


def _release_metadata(release: Release) -> dict[str, Any]:
    rows, chosen = release.rows, release.chosen
    label = {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)} if release.simulated else {}
    counts = Counter({f"{config}/{split}": count for (config, split), count in rows.counts.items()})
    left_out = [
        dg.TableRecord({"batch": batch, "why": why})
        for batch, why in sorted(chosen.left_out.items())
    ]
    return {
        **label,
        "version": release.version,
        "licence": release.licence.name,
        "dagster/row_count": counts.total(),
        "rows": table(counts, "config/split"),
        "batches": len(chosen.batches),
        **({"batches_left_out": dg.MetadataValue.table(left_out)} if left_out else {}),
        "files": dg.MetadataValue.table(
            [
                dg.TableRecord({"path": f.path, "rows": f.rows or 0, "bytes": f.bytes})
                for f in release.files
            ]
        ),
        "path": dg.MetadataValue.path(str(release.folder)),
        "card": dg.MetadataValue.md(release.card.partition("\n---\n")[2]),
    }


def _hub_metadata(published: Published) -> dict[str, Any]:
    plan = published.plan
    return {
        "url": dg.MetadataValue.url(published.url),
        "commit": published.commit,
        "committed": not plan.is_empty,
        "tag": published.tag,
        "tagged_commit": published.tagged,
        "files_sent": len(plan.send),
        "bytes_sent": sum(file.bytes for file in plan.send),
        "files_unchanged": len(plan.keep),
        "bytes_unchanged": sum(file.bytes for file in plan.keep),
        "files_deleted": len(plan.delete),
        "rows_read_back": published.read_back,
    }
