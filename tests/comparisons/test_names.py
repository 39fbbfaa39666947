"""What a person types for a side, and what it means."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.comparisons.names import Names, batch_states
from aidsafe_dagster.lake.kept_versions import keep_version
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.settings.load import load_settings
from tests.comparisons.lakes import BATCH, a_row, fill
from tests.site import prepare


def models(names: Names, name: str, *only: str) -> Mapping[str, str]:
    """Return which model made a batch on the side that is named."""
    side = names.side(name, only)
    found = {}
    for batch, lake in side.lakes.items():
        found[batch] = str(lake.rows("refined_cots", batch)["model"][0])
    return found


def remake(lake: Lake, model: str, batch: str = BATCH, **changes: Any) -> None:
    """Make a batch again with another model, as a run does."""
    keep_version(
        lake,
        batch,
        Stage.SEED_COTS,
        changes=(f"model: {model}",),
        currency="EUR",
        limit=3,
    )
    fill(lake, [a_row(f"{batch}-p1", **changes)], batch=batch, model=model)


def a_project(folder: Path) -> tuple[Names, Lake]:
    prepare(folder)
    settings = load_settings(folder, {}).settings
    lake = Lake(settings.lake)
    remake(lake, "small")
    remake(lake, "medium")
    remake(lake, "large")
    remake(lake, "small", "other-0001")
    return Names(settings, folder), lake


def test_now_and_before_are_the_batches_as_they_are_and_were(tmp_path: Path) -> None:
    names, _ = a_project(tmp_path)
    assert models(names, "now") == {BATCH: "large", "other-0001": "small"}
    assert models(names, "before") == {BATCH: "medium"}
    assert names.side("before").currency == "EUR"


def test_a_batch_and_a_source_have_names_and_versions_of_their_own(
    tmp_path: Path,
) -> None:
    names, _ = a_project(tmp_path)
    assert models(names, BATCH) == models(names, "mine") == {BATCH: "large"}
    assert models(names, "mine@before") == {BATCH: "medium"}
    assert models(names, "now", "other") == {"other-0001": "small"}
    with pytest.raises(SetupError, match="Did you mean 'mine'"):
        names.side("now", ("mien",))


def test_a_version_goes_by_its_recipe_its_date_and_its_name(tmp_path: Path) -> None:
    names, lake = a_project(tmp_path)
    (state,) = batch_states(lake, [BATCH])
    oldest, latest = state.versions
    assert models(names, oldest.recipe[:5])[BATCH] == "small"
    assert models(names, oldest.name) == {BATCH: "small"}
    assert models(names, f"mine@{latest.recipe}") == {BATCH: "medium"}
    assert models(names, state.recipe) == {BATCH: "large"}
    day = oldest.replaced[:4]
    # Of several, the latest one.
    assert models(names, day) == {BATCH: "medium"}


def test_what_comes_back_is_not_its_own_version_before(tmp_path: Path) -> None:
    names, lake = a_project(tmp_path)
    remake(lake, "medium")
    assert models(names, "before") == {BATCH: "large"}


def test_another_project_its_lake_and_its_versions_go_by_folder(tmp_path: Path) -> None:
    names, _ = a_project(tmp_path / "one")
    a_project(tmp_path / "two")
    shutil.move(str(tmp_path / "two"), str(tmp_path / "one" / "sub"))
    for name in ("sub", "sub/data", "sub/data/lake", str(tmp_path / "one" / "sub")):
        assert models(names, name)[BATCH] == "large", name
        assert models(names, f"{name}@before") == {BATCH: "medium"}, name


def test_settings_of_this_project_do_not_hold_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, _ = a_project(tmp_path / "one")
    a_project(tmp_path / "two")
    monkeypatch.setenv("AIDSAFE_HOME", str(tmp_path / "elsewhere"))
    assert models(names, "../two")[BATCH] == "large"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("befour", "neither a batch, a source"),
        ("mine@befour", "Kept: "),
        ("miner@before", "Did you mean 'mine'"),
        ("./nowhere", "no such folder"),
        ("last", "no tryout yet"),
        ("other@before", "nothing is kept"),
    ],
)
def test_a_name_that_means_nothing_is_told_from_what_may_be_meant(
    tmp_path: Path, name: str, message: str
) -> None:
    names, _ = a_project(tmp_path)
    with pytest.raises(SetupError, match=message):
        names.side(name)


def test_stages_of_the_version_before_are_no_part_of_now(tmp_path: Path) -> None:
    names, lake = a_project(tmp_path)
    remake(lake, "huge")
    (state,) = batch_states(lake, [BATCH])
    older = state.versions[-1]
    # A run that was killed after the refined rows: the grades are still those of before.
    folder = Path(str(lake.root)) / "_versions" / BATCH / older.name
    for stage in ("cot_grades", "preference_pairs"):
        shutil.copytree(
            folder / stage, Path(str(lake.root)) / stage, dirs_exist_ok=True
        )
    now = names.side("now")
    assert now.stale == {BATCH: {"cot_grades", "preference_pairs"}}
    assert set(now.recipes(BATCH)) == {"seed_cots", "refined_cots"}
    (outcome,) = now.outcomes([f"{BATCH}-p1"]).values()
    assert outcome.refined is not None
    assert outcome.grades is None
