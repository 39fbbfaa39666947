"""Earlier versions of a batch: whole, beside the tables, and never both gone."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from aidsafe_dagster.lake.kept_versions import (
    KeptVersion,
    batches_with_versions,
    discard_versions,
    fingerprints_of,
    keep_version,
    remove_versions,
    stale_stages,
    version_lake,
    versions_of,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import (
    CotGrades,
    Prompt,
    RefinedCot,
    SeedCot,
    Stage,
)
from tests.builders import (
    a_cot_grades,
    a_failure,
    a_prompt,
    a_refined_cot,
    a_seed_cot,
)

BATCH = "demo-0001"


class Killed(BaseException):
    """Of no kind that anything would take for an error of the store."""


@pytest.fixture(params=["local", "object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "lake")
    else:
        yield f"memory://{uuid4().hex}/lake"


def make(lake: Lake, stage: Stage, recipe: str) -> None:
    """Write a stage as a run under some recipe does."""
    usage: dict[str, Any] = {"recipe": recipe}
    if stage is Stage.PROMPTS:
        lake.store(stage, BATCH, [a_prompt()], Prompt, [])
    elif stage is Stage.SEED_COTS:
        lake.store(stage, BATCH, [a_seed_cot(**usage)], SeedCot, [])
    elif stage is Stage.REFINED_COTS:
        rows = [a_refined_cot(**usage)]
        lake.store(stage, BATCH, rows, RefinedCot, [a_failure()])
    else:
        lake.store(stage, BATCH, [a_cot_grades(**usage)], CotGrades, [])


STAGES = (Stage.PROMPTS, Stage.SEED_COTS, Stage.REFINED_COTS, Stage.COT_GRADES)


def make_all(lake: Lake, recipe: str) -> None:
    for stage in STAGES:
        make(lake, stage, recipe)


def keep(lake: Lake, stage: Stage, limit: int = 3) -> KeptVersion | None:
    return keep_version(
        lake, BATCH, stage, changes=("model: a → b",), currency="EUR", limit=limit
    )


def remake(lake: Lake, recipe: str, limit: int = 3, stages: Any = STAGES) -> None:
    """Make stages again, as a run does whose recipe differs at all of them."""
    for stage in stages:
        if stage is not Stage.PROMPTS:
            keep(lake, stage, limit)
        make(lake, stage, recipe)


def test_a_version_is_a_lake_of_its_own_that_no_table_shows(root: str) -> None:
    lake = Lake(root)
    make_all(lake, "a")
    before = fingerprints_of(lake, BATCH)
    tables = lake.tables()
    remake(lake, "b")
    (version,) = versions_of(lake, BATCH)
    assert batches_with_versions(lake) == [BATCH]
    assert version.fingerprints == before
    kept = version_lake(lake, version)
    assert fingerprints_of(kept, BATCH) == before
    assert set(kept.rows("refined_cots", BATCH)["recipe"]) == {"a"}
    assert kept.failures("refined_cots", BATCH).height == 1
    assert set(lake.rows("refined_cots", BATCH)["recipe"]) == {"b"}
    assert lake.tables() == tables
    assert lake.all_failures().height == 1
    assert version.size > 0
    discard_versions(lake, BATCH)
    assert batches_with_versions(lake) == []
    assert fingerprints_of(lake, BATCH) != before


def test_a_kill_at_any_write_leaves_the_batch_or_its_version(root: str) -> None:
    lake = Lake(root)
    make_all(lake, "a")
    before = fingerprints_of(lake, BATCH)
    for deaths in itertools.count():
        writes = itertools.count()

        def fence(writes: Iterator[int] = writes, deaths: int = deaths) -> None:
            if next(writes) == deaths:
                raise Killed

        try:
            remake(Lake(root, fence), "b", stages=STAGES[1:])
        except Killed:
            states = [one.fingerprints for one in versions_of(lake, BATCH)]
            assert before in (fingerprints_of(lake, BATCH), *states)
            for version in versions_of(lake, BATCH):
                kept = version_lake(lake, version)
                assert fingerprints_of(kept, BATCH) == version.fingerprints
        else:
            break
    assert deaths > len(STAGES)
    (version,) = versions_of(lake, BATCH)
    assert version.fingerprints == before


def test_stages_of_the_version_before_are_stale_until_they_are_made_again(
    root: str,
) -> None:
    lake = Lake(root)
    make_all(lake, "a")
    remake(lake, "b", stages=(Stage.SEED_COTS,))
    versions = versions_of(lake, BATCH)
    state = fingerprints_of(lake, BATCH)
    assert stale_stages(state, versions) == {"refined_cots", "cot_grades"}
    # Another recipe comes in between: what was half made is no version.
    remake(lake, "c")
    assert versions_of(lake, BATCH) == versions
    assert stale_stages(fingerprints_of(lake, BATCH), versions) == frozenset()


def test_a_batch_that_stopped_before_its_grades_is_kept_without_older_grades(
    root: str,
) -> None:
    lake = Lake(root)
    make_all(lake, "a")
    remake(lake, "b", stages=(Stage.SEED_COTS, Stage.REFINED_COTS))
    remake(lake, "c")
    first, second = versions_of(lake, BATCH)
    assert set(first.fingerprints) == {"seed_cots", "refined_cots", "cot_grades"}
    assert set(second.fingerprints) == {"seed_cots", "refined_cots"}
    assert not version_lake(lake, second).has("cot_grades", BATCH)
    assert set(lake.rows("cot_grades", BATCH)["recipe"]) == {"c"}


def test_a_version_that_comes_back_is_the_latest_again(root: str) -> None:
    lake = Lake(root)
    for recipe in ("a", "b", "a", "c"):
        remake(lake, recipe)
    recipes = [
        version_lake(lake, version).rows("seed_cots", BATCH)["recipe"][0]
        for version in versions_of(lake, BATCH)
    ]
    assert recipes == ["b", "a"]


def test_only_so_many_versions_are_kept(root: str) -> None:
    lake = Lake(root)
    for recipe in ("a", "b", "c", "d"):
        remake(lake, recipe, limit=2)
    first, second = versions_of(lake, BATCH)
    recipes = [
        version_lake(lake, version).rows("seed_cots", BATCH)["recipe"][0]
        for version in (first, second)
    ]
    assert recipes == ["b", "c"]
    remove_versions(lake, BATCH, [first])
    assert versions_of(lake, BATCH) == [second]
    remake(lake, "e", limit=0)
    assert versions_of(lake, BATCH) == [second]


def test_a_batch_without_refined_rows_is_not_kept(root: str) -> None:
    lake = Lake(root)
    make(lake, Stage.SEED_COTS, "a")
    assert keep(lake, Stage.SEED_COTS) is None
    assert versions_of(lake, BATCH) == []


def test_what_a_copy_that_was_cut_off_left_is_cleared_away(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    make_all(lake, "a")
    leftover = tmp_path / "_versions" / BATCH / "20260101-000000-abcdef" / "seed_cots"
    leftover.mkdir(parents=True)
    assert versions_of(lake, BATCH) == []
    remake(lake, "b")
    assert not leftover.exists()
    assert len(versions_of(lake, BATCH)) == 1


def test_unchanged_stages_take_no_room_on_a_local_disk(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    make_all(lake, "a")
    version = keep(lake, Stage.COT_GRADES)
    assert version is not None
    make(lake, Stage.COT_GRADES, "b")
    kept = version_lake(lake, version)

    def is_shared(stage: str) -> bool:
        paths = [Path(str(one.rows_path(stage, BATCH))) for one in (lake, kept)]
        return paths[0].samefile(paths[1])

    assert is_shared("refined_cots")
    assert not is_shared("cot_grades")
