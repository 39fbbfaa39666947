"""The settings as a Dagster resource, so that a run can override any of them from the launchpad."""

from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings


class SettingsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`overrides` is nested like `aidsafe.toml`: `{"engine": "endpoint", "endpoint": {"model": "…"}}`."""

    overrides: dict[str, Any] = Field(
        default={},
        description="settings for this run alone, nested as in aidsafe.toml; they win over file and environment",
    )

    def load(self) -> Settings:
        """The settings in force for this run.

        Raises:
            SetupError: see `load_settings`.
        """
        return load_settings(overrides=self.overrides).settings
