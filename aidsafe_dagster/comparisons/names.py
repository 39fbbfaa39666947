"""What a person types for a side, and what it means.

now, before                     the batches as they are, and as they were before
2026-11-29, 3f2a, 20261129-07   a kept version, by its date, recipe or name
mine, mine-0001                 the batches of a source, or one batch
last, 20261129-031500           a tryout
FOLDER, s3://…                  another project, its home or its lake, or a tryout's folder
X@before                        of a source, a batch, a project or a lake: that version
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from aidsafe_dagster.comparisons.sides import Side
from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.kept_versions import (
    KeptVersion,
    batches_with_versions,
    fingerprints_of,
    recipe_of,
    stale_stages,
    version_lake,
    versions_of,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.project import is_project
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.known_lake import FACTS_FILE, KnownLake
from aidsafe_dagster.tryout.results import BATCH
from aidsafe_dagster.tryout.store import (
    LAST,
    is_tryout,
    latest,
    load_facts,
    tryouts_folder,
)

NOW, BEFORE = "now", "before"
_AT = "@"
_SHORTEST = 3
"""Signs of a recipe, a date or a version's name that are enough."""


@dataclass(frozen=True)
class _Place:
    """A lake, or some batches of it."""

    name: str
    lake: Lake
    batches: tuple[str, ...]
    currency: str


@dataclass(frozen=True)
class BatchState:
    """A batch as it is, and what is kept of it."""

    batch: str
    versions: tuple[KeptVersion, ...]
    """The one replaced last at the end."""
    stale: frozenset[str]
    """Stages that are still of the version before; mostly none."""
    recipe: str
    before: KeptVersion | None
    """The latest version that is not what the batch is now."""


def batch_states(lake: Lake, batches: Iterable[str]) -> tuple[BatchState, ...]:
    """Return what batches are and were."""
    # Most batches have none, and to look for those of each takes longer than all the rest.
    kept = set(batches_with_versions(lake))
    states = []
    for batch in batches:
        versions = versions_of(lake, batch) if batch in kept else []
        states.append(_state(lake, batch, versions))
    return tuple(states)


def _state(lake: Lake, batch: str, versions: Sequence[KeptVersion]) -> BatchState:
    recipes = read_recipes(lake, batch)
    if not versions:
        return BatchState(batch, (), frozenset(), recipe_of(recipes, [*recipes]), None)
    state = fingerprints_of(lake, batch)
    stale = stale_stages(state, versions)
    current = {name: one for name, one in state.items() if name not in stale}
    others = [version for version in versions if version.fingerprints != current]
    return BatchState(
        batch=batch,
        versions=tuple(versions),
        stale=stale,
        recipe=recipe_of(recipes, list(current)),
        before=others[-1] if others else None,
    )


class Names:
    """What can be compared, by name.

    Args:
        settings: of the project; its batches, versions and tryouts go by their names alone.
        base: what relative folders are taken from.
    """

    def __init__(self, settings: Settings, base: Path) -> None:
        self._settings = settings
        self._base = base

    @cached_property
    def lake(self) -> Lake:
        """That of the project."""
        # The recipes of a thousand batches are known from the last `aidsafe status`.
        file = self._settings.home / FACTS_FILE
        return KnownLake(Lake(self._settings.lake), file)

    @cached_property
    def batches(self) -> list[str]:
        """Those of the project that something was made of."""
        return _made(self.lake)

    @cached_property
    def tryouts(self) -> list[str]:
        """Names of the tryouts that are kept, the oldest first."""
        folder = tryouts_folder(self._settings)
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if is_tryout(path))

    @cached_property
    def states(self) -> tuple[BatchState, ...]:
        """The batches of the project that have a kept version."""
        kept = batches_with_versions(self.lake)
        made = [batch for batch in kept if batch in self.batches]
        return batch_states(self.lake, made)

    def side(self, name: str, only: Collection[str] = ()) -> Side:
        """Return the side that a name means.

        Args:
            name: see above.
            only: batches and sources to which it is restricted; empty: all.

        Raises:
            SetupError: nothing is called so; names what may be.
        """
        where, which = self._split(name)
        folder = self._tryout_folder(where)
        if folder is not None:
            return _tryout_side(name, folder, which)
        place = self._place(where)
        if only:
            place = _restricted(place, only)
        return _side(name, place, which)

    def _split(self, name: str) -> tuple[str, str]:
        """Return a place, empty for the project, and the version of it that is meant."""
        if name in (NOW, BEFORE):
            return "", name
        if self._is_place(name):
            return name, NOW
        where, at, which = name.rpartition(_AT)
        if at and where and "/" not in which:
            return where, which or NOW
        if "/" in name:
            raise SetupError(f"{name}: there is no such folder")
        return "", name

    def _is_place(self, name: str) -> bool:
        if name in (LAST, *self.tryouts) or self._batches_called(name):
            return True
        # An address may hold an @ of its own, before its path.
        if "://" in name:
            return "/" in name.rpartition(_AT)[2]
        return (self._base / name).is_dir()

    def _tryout_folder(self, where: str) -> Path | None:
        """Return the folder of the tryout that is named, None if the name is of something else."""
        if not where or "://" in where:
            return None
        if where == LAST:
            folder = latest(self._settings)
            if folder is None:
                raise SetupError(
                    f"{LAST}: there is no tryout yet; `aidsafe try` makes one"
                )
            return folder
        if where in self.tryouts:
            return tryouts_folder(self._settings) / where
        folder = self._base / where
        return folder if is_tryout(folder) else None

    def _place(self, where: str) -> _Place:
        project = (self.lake, self._settings.currency)
        if not where:
            return _lake_place("this project", *project)
        batches = self._batches_called(where)
        if batches:
            return replace(_lake_place(where, *project), batches=batches)
        if "://" in where:
            return _lake_place(where, Lake(where), "")
        folder = self._base / where
        if not folder.is_dir():
            sources = {_source_of(batch) for batch in self.batches}
            names = [*sources, *self.batches, *self.tryouts]
            raise unknown("batch, source, tryout or folder", where, names, "compare")
        if is_project(folder):
            other = _settings_of(folder)
            return _lake_place(where, Lake(other.lake), other.currency)
        inner = folder / "lake"
        return _lake_place(where, Lake(inner if inner.is_dir() else folder), "")

    def _batches_called(self, name: str) -> tuple[str, ...]:
        """Return the batch of that name, or those of a source."""
        if name in self.batches:
            return (name,)
        return tuple(batch for batch in self.batches if _source_of(batch) == name)


def _settings_of(folder: Path) -> Settings:
    """Return the settings of another project. What is set for this one does not hold there."""
    environ = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("AIDSAFE_")
    }
    return load_settings(folder, environ).settings


def _lake_place(name: str, lake: Lake, currency: str) -> _Place:
    batches = _made(lake)
    if not batches:
        raise SetupError(
            f"{name}: no batch has been made in {lake.root}, so there is nothing to compare"
        )
    return _Place(name, lake, tuple(batches), currency)


def _restricted(place: _Place, only: Collection[str]) -> _Place:
    batches = [
        batch for batch in place.batches if batch in only or _source_of(batch) in only
    ]
    if not batches:
        sources = {_source_of(batch) for batch in place.batches}
        name = next(iter(only))
        raise unknown("batch or source", name, [*place.batches, *sources], place.name)
    return replace(place, batches=tuple(batches))


def _side(name: str, place: _Place, which: str) -> Side:
    states = batch_states(place.lake, place.batches)
    lakes: dict[str, Lake] = {}
    stale: dict[str, frozenset[str]] = {}
    chosen: list[KeptVersion] = []
    for state in states:
        version = _choose(state, which)
        if version is not None:
            lakes[state.batch] = version_lake(place.lake, version)
            chosen.append(version)
        elif which == NOW or _matches(which, state.recipe):
            lakes[state.batch] = place.lake
            if state.stale:
                stale[state.batch] = state.stale
    if not lakes:
        raise SetupError(_no_version(name, which, states))
    currencies = {version.currency for version in chosen if version.currency}
    return Side(
        name=name,
        description=_describe(chosen, states, lakes),
        lakes=lakes,
        texts=place.lake,
        currency=currencies.pop() if len(currencies) == 1 else place.currency,
        stale=stale,
    )


def _choose(state: BatchState, which: str) -> KeptVersion | None:
    """Return the kept version that is meant, None if it is the batch as it is, or none."""
    if which == BEFORE:
        return state.before
    if which == NOW:
        return None
    for version in reversed(state.versions):
        when = replaced_at(version)
        texts = (version.recipe, version.name, when, when.replace(" ", "T"))
        if any(_matches(which, text) for text in texts):
            return version
    return None


def _matches(start: str, text: str) -> bool:
    return len(start) >= _SHORTEST and text.startswith(start)


def replaced_at(version: KeptVersion) -> str:
    """Return in local time when a version was replaced, to the minute."""
    when = datetime.fromisoformat(version.replaced).astimezone()
    return f"{when:%Y-%m-%d %H:%M}"


def _describe(
    chosen: list[KeptVersion], states: Sequence[BatchState], lakes: Mapping[str, Lake]
) -> str:
    recipes = {state.recipe for state in states if state.batch in lakes}
    if chosen:
        recipes = {version.recipe for version in chosen}
        times = sorted(replaced_at(version) for version in chosen)
        span = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        words = f"kept version, replaced {span}"
    else:
        words = "as it is now"
    count = f"{len(lakes)} batch" if len(lakes) == 1 else f"{len(lakes)} batches"
    known = sorted(recipe for recipe in recipes if recipe)
    if not known:
        return f"{words}; {count}"
    noun = "recipe" if len(known) == 1 else "recipes"
    return f"{words}; {count}, {noun} {', '.join(known[:3])}" + (
        " …" if len(known) > 3 else ""
    )


def _no_version(name: str, which: str, states: Sequence[BatchState]) -> str:
    if which == BEFORE:
        return (
            f"{name}: nothing is kept of what the batches were before. A batch is kept when it is "
            "made again under another recipe (`keep_versions` in the settings)"
        )
    versions = [version for state in states for version in state.versions]
    kept = {f"{one.recipe} ({replaced_at(one)})" for one in versions}
    listing = ", ".join(sorted(kept)) or "none"
    return (
        f"{name}: neither a batch, a source, a tryout or a folder, nor the recipe, date or name of "
        f"a version that is kept. Kept: {listing}. `aidsafe versions` lists them"
    )


def _tryout_side(name: str, folder: Path, which: str) -> Side:
    if which != NOW:
        raise SetupError(f"{name}: a tryout has no versions; name another tryout")
    facts = load_facts(folder)
    lake = Lake(folder / "lake")
    made = datetime.fromisoformat(facts.made)
    return Side(
        name=name,
        description=f"tryout of {made:%Y-%m-%d %H:%M}, {folder.name}",
        lakes={BATCH: lake},
        texts=lake,
        currency=facts.currency,
    )


def _made(lake: Lake) -> list[str]:
    """Return the batches that something was made of."""
    seeded = set(lake.batches(Stage.SEED_COTS))
    return [batch for batch in lake.batches(Stage.PROMPTS) if batch in seeded]


def _source_of(batch: str) -> str:
    return batch.rpartition("-")[0]
