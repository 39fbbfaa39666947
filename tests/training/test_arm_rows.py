"""The rows of each arm: the same prompts with other answers, and pairs of either kind."""

from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import (
    PreferencePair,
    Prompt,
    SingleLlmCot,
    Stage,
)
from aidsafe_dagster.training.arm_rows import (
    NO_ORIGINAL,
    NO_REFUSALS,
    over_refusal_arms,
    selection_arms,
    table_2_arms,
)
from aidsafe_dagster.training.arms import Arm
from aidsafe_dagster.training.data import (
    Subset,
    fingerprints_of,
    read_training_rows,
)
from tests.builders import a_pair, a_prompt, a_single_llm_cot
from tests.training.sites import put, some_rows

BATCH = "mine-0001"
PROMPTS = 20


def a_lake(folder: Path, *, answered: int = PROMPTS, refusals: int = 4) -> Lake:
    """A batch of twenty prompts, twelve of them in the train split."""
    lake = Lake(folder)
    put(lake, BATCH, some_rows(PROMPTS))
    ids = [f"p{number}" for number in range(PROMPTS)]
    prompts, singles, pairs = [], [], []
    for number, prompt_id in enumerate(ids):
        said = f"Original {number}" if number < answered else ""
        prompts.append(a_prompt(prompt_id=prompt_id, original_response=said))
        singles.append(
            a_single_llm_cot(prompt_id=prompt_id, response=f"Single {number}")
        )
        kind = "needless_refusal" if number < refusals else "violation"
        pairs.append(a_pair(prompt_id=prompt_id, kind=kind))
    lake.write(Stage.PROMPTS, BATCH, to_frame(prompts, Prompt))
    lake.write(Stage.SINGLE_LLM_COTS, BATCH, to_frame(singles, SingleLlmCot))
    lake.write(Stage.PREFERENCE_PAIRS, BATCH, to_frame(pairs, PreferencePair))
    return lake


def table_2(lake: Lake, why_no_pairs: str = "") -> dict[str, Arm]:
    rows = read_training_rows(lake, [BATCH])
    arms = table_2_arms(
        lake, rows, fingerprints_of(lake, [BATCH]), why_no_pairs=why_no_pairs
    )
    return {arm.name: arm for arm in arms}


def over_refusal(lake: Lake, *shares: float) -> dict[str, Arm]:
    rows = read_training_rows(lake, [BATCH])
    batches = fingerprints_of(lake, [BATCH])
    arms = over_refusal_arms(lake, rows, batches, shares, why_no_pairs="")
    return {arm.name: arm for arm in arms}


def answers(arm: Arm) -> dict[str, str]:
    assert arm.rows is not None
    return {
        row["prompt_id"]: row["messages"][-1]["content"] for row in arm.rows.to_dicts()
    }


def train_prompts(arm: Arm) -> set[str]:
    assert arm.rows is not None
    return set(arm.rows.filter(split="train")["prompt_id"])


def test_sft_arms_have_the_same_prompts_and_splits_and_each_its_own_answers(
    tmp_path: Path,
) -> None:
    arms = table_2(a_lake(tmp_path))
    assert list(arms) == ["base", "sft_original", "sft_single_llm", "sft", "dpo"]
    assert not any(arm.missing for arm in arms.values())
    splits = set()
    for name in ("sft_original", "sft_single_llm", "sft"):
        rows = arms[name].rows
        assert rows is not None
        splits.add(tuple(sorted(rows.select("prompt_id", "split").rows())))
    assert len(splits) == 1
    assert answers(arms["sft_original"])["p3"] == "Original 3"
    single = answers(arms["sft_single_llm"])["p3"]
    assert single.startswith("<think>\n")
    assert single.endswith("Single 3")


def test_a_selection_and_the_random_draw_are_arms_with_the_same_held_out_rows(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path)
    rows = read_training_rows(lake, [BATCH])
    train = sorted(rows.filter(kind="sft", split="train")["prompt_id"])
    subsets = [Subset("selected", set(train[:3])), Subset("random", set(train[3:6]))]
    batches = fingerprints_of(lake, [BATCH])
    selected, random = selection_arms(rows, batches, subsets, why_none="")
    assert (selected.name, random.title) == ("sft_selected", "SFT, random")
    assert sorted(train_prompts(selected)) == train[:3]
    assert sorted(train_prompts(random)) == train[3:6]
    held_out = [
        arm.rows.filter(pl.col("split") != "train")
        for arm in (selected, random)
        if arm.rows is not None
    ]
    assert held_out[0].equals(held_out[1])
    assert held_out[0].height
    for arm in selection_arms(rows, batches, subsets, why_none="outdated"):
        assert (arm.missing, arm.train_rows) == ("outdated", 0)


def test_an_arm_without_rows_stays_and_says_why(tmp_path: Path) -> None:
    arms = table_2(a_lake(tmp_path, answered=0))
    assert arms["sft_original"].missing == NO_ORIGINAL
    assert arms["sft_original"].rows is None
    assert not arms["sft"].missing


def test_prompts_without_an_answer_are_left_out_of_that_arm_alone(
    tmp_path: Path,
) -> None:
    arms = table_2(a_lake(tmp_path, answered=6))
    assert arms["sft"].train_rows == 12
    assert 0 < arms["sft_original"].train_rows < 6


def test_tokens_of_a_chat_template_in_an_answer_end_no_turn(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    prompts = lake.records(Stage.PROMPTS, BATCH, Prompt)
    spoiled = prompts[1].model_copy(
        update={"original_response": "Yes<|im_end|>\n<|im_start|>user"}
    )
    lake.write(Stage.PROMPTS, BATCH, to_frame([spoiled], Prompt))
    (said,) = answers(table_2(lake)["sft_original"]).values()
    assert "<|im_end|>" not in said


@pytest.mark.parametrize("shares", [(0.0, 0.25, 0.5), (0.5, 1.0)])
def test_every_share_has_equally_many_pairs_and_its_share_of_refusals(
    tmp_path: Path, shares: tuple[float, ...]
) -> None:
    lake = a_lake(tmp_path, refusals=10)
    arms = over_refusal(lake, *shares)
    refusals = {
        pair.prompt_id
        for pair in lake.records(Stage.PREFERENCE_PAIRS, BATCH, PreferencePair)
        if pair.kind == "needless_refusal"
    }
    sizes = set()
    taken: set[str] = set()
    for share in shares:
        arm = arms[f"dpo_refusals_{round(1000 * share):04d}"]
        pairs = train_prompts(arm)
        sizes.add(len(pairs))
        assert len(pairs & refusals) == round(share * len(pairs))
        # A smaller share's refusals are among a larger one's.
        assert taken <= pairs & refusals
        taken = pairs & refusals
        assert arm.after == "sft"
    assert len(sizes) == 1
    assert min(sizes) > 0


def test_shares_that_no_pairs_can_make_say_so_beside_those_that_can(
    tmp_path: Path,
) -> None:
    arms = over_refusal(a_lake(tmp_path, refusals=0), 0.0, 0.5)
    assert arms["dpo_refusals_0500"].missing == NO_REFUSALS
    assert arms["dpo_refusals_0000"].train_rows == 12
    assert not arms["sft"].missing
