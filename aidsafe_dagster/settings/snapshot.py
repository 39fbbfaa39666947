"""The snapshot of the settings that one run works with.

A run reads settings, policies and templates once, when it starts, and hands the snapshot down. A
file that is edited meanwhile takes effect with the next run, so no batch is generated under one set
of settings and judged under another. The hash of the snapshot is shown on every materialization.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.stages import load_templates
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.settings.launchpad import refuse_repointing
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings

T = TypeVar("T")
_LOCATIONS: dict[str, Any] = {
    **dict.fromkeys(("home", "lake_url", "journal_url", "policies", "prompts"), True),
    "counterfactuals": {"policies"},
}
"""Left out of the hash. Policies and templates count by their content instead."""


@dataclass(frozen=True)
class SettingsSnapshot:
    """Settings, policies and templates as they were at one moment."""

    settings: Settings
    _policies: Policies | SetupError
    _templates: Templates | SetupError
    _second_policies: Policies | SetupError | None = None

    @property
    def policies(self) -> Policies:
        """The policies in force.

        Raises:
            SetupError: they could not be read when the snapshot was taken.
        """
        return _value_or_raise(self._policies)

    @property
    def second_policies(self) -> Policies | None:
        """Those of the counterfactuals; None where there are none.

        Raises:
            SetupError: they could not be read when the snapshot was taken.
        """
        return _value_or_raise(self._second_policies)

    @property
    def templates(self) -> Templates:
        """The prompt templates in force.

        Raises:
            SetupError: they could not be read when the snapshot was taken.
        """
        return _value_or_raise(self._templates)

    @property
    def hash(self) -> str:
        """12 hexadecimal digits; the same for the same settings, policies and templates."""
        # The same project in another folder, or on another host, is the same set of settings.
        values = self.settings.model_dump(mode="json", exclude=_LOCATIONS)
        text = json.dumps(values, sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=6)
        # Policies that could not be read have no content, and no run that needs them gets far.
        if isinstance(self._policies, Policies):
            digest.update(self._policies.version.encode())
        if isinstance(self._second_policies, Policies):
            digest.update(self._second_policies.version.encode())
        if isinstance(self._templates, Templates):
            digest.update(self._templates.content_hash.encode())
        return digest.hexdigest()

    def with_settings(self, **changes: Any) -> "SettingsSnapshot":
        """Return the snapshot with some settings replaced, and the same policies and templates."""
        return replace(self, settings=self.settings.model_copy(update=changes))

    def with_policies(self, policies: Policies) -> "SettingsSnapshot":
        """Return the snapshot with other policies than those that the settings name."""
        return replace(self, _policies=policies)


def take_snapshot(settings: Settings) -> SettingsSnapshot:
    """Read the policies and templates that the settings name.

    If they cannot be read, the error is raised when they are used. Ingestion needs neither.
    """
    policies = _value_or_error(settings.load_policies)
    templates = _value_or_error(lambda: load_templates(settings.prompts))
    second_policies = _value_or_error(settings.load_second_policies)
    return SettingsSnapshot(settings, policies, templates, second_policies)


def snapshot_in_force(overrides: dict[str, Any] | None = None) -> SettingsSnapshot:
    """Load the settings in force and take their snapshot.

    Args:
        overrides: nested values from the launchpad; they win over file and environment.

    Raises:
        SetupError: see `load_settings` and `refuse_repointing`.
    """
    settings = load_settings(overrides=overrides).settings
    if overrides:
        refuse_repointing(overrides, load_settings().settings.launchpad)
    return take_snapshot(settings)


def _value_or_error(read: Callable[[], T]) -> T | SetupError:
    try:
        return read()
    except SetupError as error:
        return error


def _value_or_raise(value: T | SetupError) -> T:
    if isinstance(value, SetupError):
        raise value
    return value
