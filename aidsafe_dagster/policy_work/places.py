"""Where drafts and test cases lie: beside the policies, where nothing takes them for one."""

from pathlib import Path

from aidsafe_dagster.recipe.policy_cases import FOLDER as CASES
from aidsafe_dagster.settings.schema import PACKAGE, Settings

_DRAFTS = "drafts"


def drafts_folder(settings: Settings) -> Path:
    """Return where drafted policies go. No policy is read from there."""
    return _beside(settings, settings.policies, _DRAFTS)


def cases_folder(settings: Settings, policies: Path) -> Path:
    """Return where the cases of a folder of policies lie."""
    return _beside(settings, policies, CASES)


def _beside(settings: Settings, policies: Path, name: str) -> Path:
    # The package's own folder belongs to nobody who writes policies.
    if policies.is_relative_to(PACKAGE):
        return settings.home.parent / f"policy_{name}"
    return policies / name
