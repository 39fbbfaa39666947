"""What formats of feedback are made of: the wording of policies that rows were made under."""

from pathlib import Path

from aidsafe_dagster.lake.batch_recipes import store_recipe
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.policy_texts import store_policies
from aidsafe_dagster.publishing.batch_rows import BatchRows, Judging
from aidsafe_dagster.publishing.batches import read_batch
from aidsafe_dagster.publishing.dataset import SPLITS
from aidsafe_dagster.recipe.batch_recipe import (
    POLICIES,
    RecipePart,
    StageRecipe,
    policy_hash,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import Stage
from tests.builders import policies
from tests.publishing.lakes import a_filled_lake

BATCH = "demo-0001"
OTHERS = Policies(policies=policies().policies[:1])


def rubrics(lake: Lake) -> list[tuple[str, ...]]:
    """Return the rubrics of the batch's prompts, with other policies in force."""
    rows = BatchRows(read_batch(lake, BATCH), Judging(OTHERS, PairSettings()))
    return [
        assignment.rubric for split in SPLITS for assignment in rows.of("grpo", split)
    ]


def test_rows_made_under_an_earlier_wording_have_that_wording(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, BATCH)
    assert rubrics(lake) == []
    store_policies(lake, policies())
    parts = tuple(
        RecipePart(name=POLICIES, of=policy.id, value=policy_hash(policy))
        for policy in policies().policies
    )
    store_recipe(
        lake,
        StageRecipe(
            batch=BATCH, stage=str(Stage.REFINED_COTS), fingerprint="f", parts=parts
        ),
    )
    found = rubrics(lake)
    assert len(found) == 8
    assert "helpfulness.1: Be of use." in found[0]
