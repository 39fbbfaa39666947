"""The settings as a Dagster resource, so that a run can override any of them from the launchpad."""

from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from aidsafe_dagster.settings.snapshot import SettingsSnapshot, snapshot_in_force


class SettingsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Overrides are nested like `aidsafe.toml`: `{"endpoint": {"model": "…"}}`."""

    overrides: dict[str, Any] = Field(
        default={},
        description="settings for this run alone, nested as in aidsafe.toml; "
        "they win over file and environment",
    )
    _run_snapshot: SettingsSnapshot | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Take the snapshot that every step and check of the run works with."""
        self._run_snapshot = snapshot_in_force(self.overrides)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Forget the snapshot, so that the next run in this process takes its own."""
        self._run_snapshot = None

    @property
    def snapshot(self) -> SettingsSnapshot:
        """The settings of this run; outside a run, the settings as they are now.

        Raises:
            SetupError: see `settings.load.load_settings`.
        """
        return self._run_snapshot or snapshot_in_force(self.overrides)

    def pinned(self, snapshot: SettingsSnapshot) -> "SettingsResource":
        """Return a resource that always gives this snapshot."""
        # The overrides come along: whoever loads the settings once more begins with them.
        resource = SettingsResource(overrides=self.overrides)
        resource._run_snapshot = snapshot
        return resource
