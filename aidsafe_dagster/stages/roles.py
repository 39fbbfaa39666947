"""An engine for one part of a run: with other models for some roles, or with one call at a time."""

from collections.abc import Mapping
from typing import Any

from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot


def engine_with_roles(
    engine: EngineResource, settings: SettingsResource, roles: Mapping[str, Any]
) -> EngineResource:
    """Return an engine with the run's own settings, but for these roles.

    Args:
        engine: of the run.
        settings: of the run.
        roles: by role, its settings as in `[roles.ROLE]`.

    Raises:
        SetupError: a role, or a key of one, does not exist.
    """
    snapshot = snapshot_with_roles(settings.snapshot, roles, settings.overrides)
    # Pinned, or this part of the run would load the settings anew and might meet other ones.
    return EngineResource(settings=settings.pinned(snapshot), vllm=engine.vllm)


def snapshot_with_roles(
    snapshot: SettingsSnapshot,
    roles: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
) -> SettingsSnapshot:
    """Return a snapshot of settings with other ones for some roles.

    Args:
        snapshot: of the run.
        roles: by role, its settings as in `[roles.ROLE]`.
        overrides: with which the settings of the run were loaded.

    Raises:
        SetupError: a role, or a key of one, does not exist.
    """
    changes = dict(overrides or {})
    changes["roles"] = {**changes.get("roles", {}), **roles}
    # Loaded once more only so that the roles are checked like those from the settings file.
    checked = load_settings(overrides=changes).settings.roles
    merged = {**snapshot.settings.roles, **checked}
    return snapshot.with_settings(roles=merged)


def engine_one_call_at_a_time(engine: EngineResource) -> EngineResource:
    """Return an engine with the same settings, of which no two calls are in flight together."""
    settings = engine.settings
    snapshot = settings.snapshot
    driver = snapshot.settings.driver.model_copy(update={"calls_in_flight": 1})
    pinned = settings.pinned(snapshot.with_settings(driver=driver))
    return EngineResource(settings=pinned, vllm=engine.vllm)
