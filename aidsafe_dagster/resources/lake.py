"""The lake as a Dagster resource."""

import dagster as dg

from aidsafe_dagster.lake import Lake
from aidsafe_dagster.resources.settings import SettingsResource


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens the lake of the settings: a local folder or any fsspec URL."""

    settings: dg.ResourceDependency[SettingsResource]

    def open(self) -> Lake:
        return Lake(self.settings.load().lake)
