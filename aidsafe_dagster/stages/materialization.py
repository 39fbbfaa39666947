"""What every materialization carries: the label of simulated rows, and the hash of the settings."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from aidsafe_dagster.settings.snapshot import SettingsSnapshot

REHEARSAL_LABEL = (
    "**Rehearsal: simulated by rule, not a model's output. Not for training.**"
)
Materialized = dg.MaterializeResult[Any]


def materialized(
    snapshot: SettingsSnapshot,
    metadata: Mapping[str, Any],
    *,
    data_version: str | None = None,
    simulated: bool = False,
    label: str = REHEARSAL_LABEL,
) -> Materialized:
    """Return the result of an asset.

    Args:
        snapshot: the settings that the run worked with; their hash is added.
        metadata: what the asset itself shows.
        data_version: changes when the data does; None leaves it to Dagster.
        simulated: the rehearsal engine had a part in it, so the label comes first.
        label: what the UI shows then, as Markdown.
    """
    warning = {"simulated": dg.MetadataValue.md(label)} if simulated else {}
    version = None
    if data_version is not None:
        version = dg.DataVersion(data_version)
    return dg.MaterializeResult(
        metadata={**warning, **metadata, "settings_hash": snapshot.hash},
        data_version=version,
    )
