"""Asset `published_dataset`: the whole dataset with its card, as a folder, and on request on the
Hub.
"""

from collections import Counter
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.assets.selected_rows import selected_rows
from aidsafe_dagster.publishing.card import CardContext
from aidsafe_dagster.publishing.hub import PublishResult
from aidsafe_dagster.publishing.release import Release, make_release
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.hub import HubResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings.launchpad import refuse_repointing
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.stages.batch_selection import select_for_release
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import count_table, record_table
from aidsafe_dagster.stages.stage_asset import OWNERS
from aidsafe_dagster.training.data import dataset_version

_INPUTS = (
    Stage.DELIBERATED_COTS,
    Stage.REFINED_COTS,
    Stage.COT_GRADES,
    Stage.PREFERENCE_PAIRS,
    Stage.FINE_TUNE_SPLITS,
    Stage.POLICY_COUNTERFACTUALS,
)


class PublishConfig(dg.Config):
    dry_run: bool = Field(
        default=True, description="only write the folder; nothing is sent to the Hub"
    )
    repo: str = Field(
        default="",
        description="the dataset repository, '<owner>/<name>'; empty: that of the settings",
    )
    allow_simulated: bool = Field(
        default=False,
        description="in a dry run, include rows of the rehearsal engine; the card is labelled",
    )
    batches: list[str] = Field(
        default=[], description="these alone; empty: all that passed their gates"
    )


@dg.asset(
    deps=[*(dg.AssetKey(str(stage)) for stage in _INPUTS), selected_rows],
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
    """Parquet per config and split, with a dataset card from the run's own figures.

    Takes the batches whose gate passed. Nothing is sent unless `dry_run` is false, then in one
    commit, and never a simulated row.
    """
    opened = lake.open()
    snapshot = _snapshot_for(settings, config)
    loaded = snapshot.settings
    general_ratio = loaded.splits.general_ratio
    # Opened before the long work, so that a missing token or repository is reported at once.
    repo = None
    if not config.dry_run:
        repo = hub.dataset(loaded.publish.repo, context.log.info)
    release = make_release(
        opened,
        select_for_release(context.instance, opened).narrowed(config.batches),
        CardContext(loaded.publish, snapshot.policies, general_ratio, loaded.pairs),
        loaded.home,
        # A simulated row never leaves this machine, whatever the configuration says.
        allow_simulated=config.dry_run and config.allow_simulated,
    )
    metadata = {"dry_run": config.dry_run, **_release_metadata(release)}
    if repo is not None:
        metadata |= _hub_metadata(repo.publish(release))
    # The name that the adapters give to the same batches.
    metadata["training_set"] = dataset_version(
        opened,
        release.selection.batches,
        general_ratio,
        without_dpo=release.selection.without_dpo,
    )
    return materialized(
        snapshot,
        metadata,
        data_version=release.version,
        simulated=bool(release.simulated),
    )


publish = dg.define_asset_job(
    "publish",
    selection=dg.AssetSelection.assets(published_dataset),
    description="Makes the dataset and its card; sends them to the Hub when dry_run is off",
)


def _snapshot_for(
    settings: SettingsResource, config: PublishConfig
) -> SettingsSnapshot:
    """Return the snapshot of the run, with the repository of the run's configuration."""
    snapshot = settings.snapshot
    if config.repo in ("", snapshot.settings.publish.repo):
        return snapshot
    repo = {"publish": {"repo": config.repo}}
    refuse_repointing(repo, snapshot.settings.launchpad)
    # Loaded once more so that the name is checked like one from the settings file.
    publish = {**settings.overrides.get("publish", {}), "repo": config.repo}
    checked = load_settings(overrides={"publish": publish}).settings.publish
    # Only the name is taken over. The rest stays as the run's snapshot has it.
    changed = snapshot.settings.publish.model_copy(update={"repo": checked.repo})
    return snapshot.with_settings(publish=changed)


def _release_metadata(release: Release) -> dict[str, Any]:
    selection = release.selection
    row_counts: Counter[str] = Counter()
    for (config, split), row_count in release.rows.counts.items():
        row_counts[f"{config}/{split}"] = row_count
    metadata: dict[str, Any] = {
        "version": release.version,
        "licence": release.licence.name,
        "dagster/row_count": row_counts.total(),
        "rows": count_table(row_counts, "config/split"),
        "batches": len(selection.batches),
    }
    if selection.left_out:
        left_out = []
        for batch, reason in sorted(selection.left_out.items()):
            left_out.append({"batch": batch, "why": reason})
        metadata["batches_left_out"] = record_table(left_out)
    if selection.without_dpo:
        without_dpo = []
        for batch, reason in sorted(selection.without_dpo.items()):
            without_dpo.append({"batch": batch, "why": reason})
        metadata["batches_without_dpo"] = record_table(without_dpo)
    if release.without_selected:
        metadata["selected_rows_left_out"] = release.without_selected
    files = []
    for file in release.files:
        # The card and other texts have no rows.
        rows = file.rows or 0
        files.append({"path": file.path, "rows": rows, "bytes": file.bytes})
    metadata["files"] = record_table(files)
    metadata["path"] = dg.MetadataValue.path(str(release.folder))
    # Without its front matter, which the UI would show as text.
    card_text = release.card.partition("\n---\n")[2]
    metadata["card"] = dg.MetadataValue.md(card_text)
    return metadata


def _hub_metadata(published: PublishResult) -> dict[str, Any]:
    plan = published.plan
    return {
        "url": dg.MetadataValue.url(published.url),
        "commit": published.commit,
        "committed": not plan.is_empty,
        "tag": published.tag,
        "tagged_commit": published.tagged_commit,
        "files_sent": len(plan.send),
        "bytes_sent": sum(file.bytes for file in plan.send),
        "files_unchanged": len(plan.keep),
        "bytes_unchanged": sum(file.bytes for file in plan.keep),
        "files_deleted": len(plan.delete),
        "rows_read_back": published.verified_rows,
    }
