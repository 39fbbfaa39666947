"""The earlier versions of batches that are kept: listed, and fewer of them."""

import os
from collections.abc import Collection, Sequence

import typer

from aidsafe_dagster.cli.console import listing, print_paragraph, print_plain, quantity
from aidsafe_dagster.comparisons.names import (
    BatchState,
    batch_states,
    replaced_at,
)
from aidsafe_dagster.lake.kept_versions import (
    KeptVersion,
    batches_with_versions,
    remove_versions,
    versions_of,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.batch_recipe import shortened
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.stages.failed_answers import visible

UNKNOWN = "not recorded"
_MIB = 1024 * 1024


def print_versions(only: Collection[str]) -> None:
    """Print the kept versions of all batches, or of these.

    Raises:
        SetupError: one of them has none.
    """
    settings = load_settings().settings
    lake = Lake(settings.lake)
    batches = _chosen(lake, only)
    if not batches:
        print_paragraph(
            "No earlier version is kept. A batch is kept as it was when it is made again under "
            f"another recipe, up to {settings.keep_versions} versions of each (`keep_versions`)."
        )
        return
    states = batch_states(lake, batches)
    print_states(states)
    versions = [version for state in states for version in state.versions]
    print_paragraph(
        f"{quantity(len(versions), 'version')}, {_size(versions)} at most: on a local disk, "
        "stages that did not change take no room of their own. "
        "`aidsafe compare before now` shows what the last change did; a recipe or a date names "
        "a version, as in `aidsafe compare "
        f"{versions[0].recipe[:6] or versions[0].name} now`."
    )


def prune_versions(keep: int, only: Collection[str], *, is_agreed: bool) -> bool:
    """Remove versions beyond the latest ones of each batch; return whether a person agreed.

    Raises:
        SetupError: a run works on one of the batches.
    """
    settings = load_settings().settings
    lake = Lake(settings.lake)
    doomed: dict[str, list[KeptVersion]] = {}
    for batch in _chosen(lake, only):
        versions = versions_of(lake, batch)
        extra = versions[: len(versions) - keep]
        if extra:
            doomed[batch] = extra
    if not doomed:
        print_plain("There is nothing to remove.")
        return True
    all_doomed = [version for versions in doomed.values() for version in versions]
    for batch, versions in doomed.items():
        times = ", ".join(replaced_at(version) for version in versions)
        print_plain(f"{batch}: {quantity(len(versions), 'version')}, replaced {times}")
    count = quantity(len(all_doomed), "version")
    question = f"Remove {count}, {_size(all_doomed)} at most?"
    if not is_agreed and not typer.confirm(question):
        print_plain("Nothing was removed.")
        return False
    # Only here: it brings the driver of PostgreSQL's locks, and a listing takes no lock.
    from aidsafe_dagster.runs.locks import batch_lock

    holder = f"process {os.getpid()} (aidsafe versions)"
    for batch, versions in doomed.items():
        lock = batch_lock(batch, settings)
        try:
            with lock.hold(holder, timeout_s=0):
                remove_versions(lake, batch, versions)
        except TimeoutError as error:
            raise SetupError(
                f"{batch} is in use by {lock.holder() or 'another process'}; its versions were "
                "not removed. Try again once it is over"
            ) from error
    print_plain(f"Removed: {count}")
    return True


def print_states(states: Sequence[BatchState]) -> None:
    """Print what batches are and were. Those that went through the same recipes share lines."""
    groups: dict[tuple[str, ...], list[BatchState]] = {}
    for state in states:
        recipes = (state.recipe, *(version.recipe for version in state.versions))
        key = (*recipes, str(bool(state.stale)))
        groups.setdefault(key, []).append(state)
    for group in groups.values():
        print_plain(listing([state.batch for state in group]))
        for versions in zip(*(state.versions for state in group), strict=True):
            print_paragraph(_describe(versions), indent=2)
        half = ", half made again" if group[0].stale else ""
        print_paragraph(f"now: recipe {group[0].recipe or UNKNOWN}{half}", indent=2)


def _describe(versions: Sequence[KeptVersion]) -> str:
    """Return in words a version that several batches had."""
    first = versions[0]
    times = sorted(replaced_at(version) for version in versions)
    until = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
    rows = quantity(sum(version.rows for version in versions), "row")
    # What a policy or a model is called is not ours.
    changes = visible(shortened(first.changes)) or "what changed is not recorded"
    return (
        f"until {until}: recipe {first.recipe or UNKNOWN}, {rows}, {_size(versions)}; "
        f"then {changes}"
    )


def _chosen(lake: Lake, only: Collection[str]) -> list[str]:
    batches = batches_with_versions(lake)
    for name in only:
        if name not in batches:
            raise unknown("batch with a kept version", name, batches, "versions")
    return [batch for batch in batches if not only or batch in only]


def _size(versions: Sequence[KeptVersion]) -> str:
    return f"{sum(version.size for version in versions) / _MIB:,.1f} MiB"
