"""What a batch was before it was made again under another recipe.

    <lake>/_versions/<batch>/<version>/version.json     facts; without it there is no such version
    <lake>/_versions/<batch>/<version>/<table>/…        a lake of its own, with this batch alone

A version is taken before the first stage of a batch is replaced. Its files are in place before
`version.json` is, and the stage is replaced after that, so a kill at any instant leaves one of the
two whole. Nothing that reads the tables of the lake sees versions.

A batch that is being made again has, for a while, stages of both recipes. Those that are still of
the version before and rest on new ones are *stale*: they are no part of what the batch is now.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import Field, ValidationError

from aidsafe_dagster.lake.batch_recipes import RECIPES, read_recipes
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import SPLIT_INPUTS
from aidsafe_dagster.lake.stored_files import names_in, read
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.records import BELIEF_CANDIDATES, Record, Stage
from aidsafe_dagster.recipe.stages import STAGES, with_descendants

VERSIONS = "_versions"
_FACTS = "version.json"
_BESIDE_STAGES = (BELIEF_CANDIDATES, RECIPES, SPLIT_INPUTS)
_ATTEMPTS = 3
Fingerprints = Mapping[str, str]
"""Hash of the bytes of each stage's partition, by stage."""


class KeptVersion(Record):
    """An earlier version of a batch. Its file `version.json`."""

    batch: str
    name: str = Field(description="of its folder: the time in UTC, and part of a hash")
    replaced: str = Field(description="when it was replaced: ISO 8601, in UTC")
    recipe: str = Field(description="fingerprint of the recipes of all its stages")
    changes: tuple[str, ...] = Field(
        description="what was otherwise in the recipe that replaced it, in words"
    )
    rows: int = Field(description="refined rows")
    size: int = Field(description="bytes of its files")
    currency: str = Field(description="of the money of its rows; empty without prices")
    fingerprints: Mapping[str, str]


def versions_of(lake: Lake, batch: str) -> list[KeptVersion]:
    """Return the kept versions of a batch, the one replaced last at the end."""
    folder = lake.root / VERSIONS / batch
    versions = []
    for name in names_in(folder):
        # Damaged, of a later release, or no version: what a copy that was cut off has left.
        with suppress(FileNotFoundError, NotADirectoryError, ValidationError):
            facts = read(folder / name / _FACTS)
            versions.append(KeptVersion.model_validate_json(facts))
    return sorted(versions, key=lambda version: (version.replaced, version.name))


def batches_with_versions(lake: Lake) -> list[str]:
    """Return the batches that have a kept version, sorted."""
    batches = names_in(lake.root / VERSIONS)
    return sorted(batch for batch in batches if versions_of(lake, batch))


def version_lake(lake: Lake, version: KeptVersion) -> Lake:
    """Return the tables of a version as a lake with one batch."""
    return lake.inner(_folder(version.batch, version.name))


def keep_version(
    lake: Lake,
    batch: str,
    stage: str,
    *,
    changes: Sequence[str],
    currency: str,
    limit: int,
) -> KeptVersion | None:
    """Keep a batch as it is, before a stage is replaced; return the new version, if there is one.

    Nothing is kept of a batch that has no refined rows yet, or that is kept already.

    Args:
        lake: holds the batch.
        batch: its key, which this process holds.
        stage: about to be replaced.
        changes: what is otherwise in the recipe that it is replaced under.
        currency: of the money of the rows.
        limit: number of versions to keep of the batch; the oldest go.
    """
    for _ in range(_ATTEMPTS):
        state = fingerprints_of(lake, batch)
        versions = versions_of(lake, batch)
        stale = stale_stages(state, versions)
        current = {name: one for name, one in state.items() if name not in stale}
        # What is stale is in a version already, and what replaces it belongs to the same remaking.
        if limit < 1 or stage not in current or Stage.REFINED_COTS not in current:
            return None
        for version in versions:
            if version.fingerprints == current:
                _stamp(lake, version, changes)
                return None
        kept = _copy(lake, batch, current, changes, currency)
        # With an executor that runs steps side by side, another step may have stored meanwhile.
        if kept is not None:
            remove_versions(lake, batch, versions_of(lake, batch)[:-limit])
            return kept
    return None


def remove_versions(lake: Lake, batch: str, versions: Sequence[KeptVersion]) -> None:
    """Remove versions of a batch, and what a removal or a copy that was cut off has left."""
    folder = f"{VERSIONS}/{batch}"
    for version in versions:
        # First of all, so that no half of a version can be taken for one.
        lake.discard(f"{folder}/{version.name}/{_FACTS}")
    whole = {version.name for version in versions_of(lake, batch)}
    for name in names_in(lake.root / folder):
        if name not in whole:
            lake.discard(f"{folder}/{name}")
    if not whole:
        lake.discard(folder)


def discard_versions(lake: Lake, batch: str) -> None:
    """Remove all versions of a batch, and what was left of others."""
    remove_versions(lake, batch, versions_of(lake, batch))


def fingerprints_of(lake: Lake, batch: str) -> Fingerprints:
    """Return the hashes of the stages that a batch has."""
    fingerprints = {}
    for stage in STAGES:
        if stage != Stage.PROMPTS and lake.has(stage, batch):
            fingerprints[str(stage)] = lake.fingerprint(stage, batch)
    return fingerprints


def stale_stages(
    state: Fingerprints, versions: Sequence[KeptVersion]
) -> frozenset[str]:
    """Return the stages that are still of a version before, while what they rest on is new.

    Args:
        state: of the batch.
        versions: of the batch, the one replaced last at the end.
    """
    if not versions or any(version.fingerprints == state for version in versions):
        return frozenset()
    latest = versions[-1].fingerprints
    changed = {name for name in state if state[name] != latest.get(name)}
    stale = set()
    for name in with_descendants(changed):
        if name not in state:
            continue
        # A stage that the latest version lacks may have been left over then already.
        is_left_over = name not in latest and any(
            version.fingerprints.get(name) == state[name] for version in versions
        )
        if name not in changed or is_left_over:
            stale.add(name)
    return frozenset(stale)


def recipe_of(recipes: Mapping[str, StageRecipe], stages: Sequence[str]) -> str:
    """Return the fingerprint of the recipes of several stages; empty if none is recorded."""
    pairs = [
        (name, recipes[name].fingerprint) for name in sorted(stages) if name in recipes
    ]
    if not pairs:
        return ""
    return hashlib.blake2b(json.dumps(pairs).encode(), digest_size=6).hexdigest()


def _copy(
    lake: Lake,
    batch: str,
    state: Fingerprints,
    changes: Sequence[str],
    currency: str,
) -> KeptVersion | None:
    """Copy the stages of a state; None if one of them was replaced meanwhile."""
    now = datetime.now(UTC)
    digest = hashlib.blake2b(
        json.dumps(sorted(state.items())).encode(), digest_size=3
    ).hexdigest()
    name = f"{now:%Y%m%d-%H%M%S}-{digest}"
    copy = lake.inner(_folder(batch, name))
    size = 0
    for table in (*state, Stage.PROMPTS, *_BESIDE_STAGES):
        size += lake.copy_to(copy, table, batch)
    if fingerprints_of(copy, batch) != state:
        lake.discard(_folder(batch, name))
        return None
    version = KeptVersion(
        batch=batch,
        name=name,
        replaced=now.isoformat(timespec="microseconds"),
        recipe=recipe_of(read_recipes(lake, batch), list(state)),
        changes=tuple(changes),
        rows=copy.rows(Stage.REFINED_COTS, batch, ["prompt_id"]).height,
        size=size,
        currency=currency,
        fingerprints=state,
    )
    _write(lake, version)
    return version


def _stamp(lake: Lake, version: KeptVersion, changes: Sequence[str]) -> None:
    """Note that a kept version was in force once more and is replaced now."""
    replaced = datetime.now(UTC).isoformat(timespec="microseconds")
    update = {"replaced": replaced, "changes": tuple(changes)}
    _write(lake, version.model_copy(update=update))


def _write(lake: Lake, version: KeptVersion) -> None:
    content = version.model_dump_json(indent=1).encode()
    lake.put(f"{_folder(version.batch, version.name)}/{_FACTS}", content)


def _folder(batch: str, name: str) -> str:
    return f"{VERSIONS}/{batch}/{name}"
