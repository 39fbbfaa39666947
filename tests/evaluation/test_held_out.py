"""Held-out rows as a benchmark, and what scores add up to."""

from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.evaluation.held_out import (
    HeldOutResult,
    held_out_benchmark,
    held_out_results,
    read_held_out,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.held_out import AnswerScore, HeldOutScore
from aidsafe_dagster.recipe.records import Usage
from tests.training.sites import put, some_rows


def a_score(
    candidate: str,
    log_probability: float | None,
    rejected: float | None = None,
    prompt_id: str = "p1",
) -> HeldOutScore:
    return HeldOutScore(
        candidate=candidate,
        model="m",
        kind="sft" if rejected is None else "dpo",
        prompt_id=prompt_id,
        batch="a-0001",
        simulated=True,
        answer=an_answer_score(log_probability),
        rejected=an_answer_score(rejected),
        problem="",
        usage=Usage(),
    )


def an_answer_score(log_probability: float | None) -> AnswerScore | None:
    if log_probability is None:
        return None
    return AnswerScore(tokens=10, log_probability=log_probability)


def results(*scores: HeldOutScore) -> dict[str, HeldOutResult]:
    return {result.candidate: result for result in held_out_results(scores)}


def test_rows_of_the_test_split_alone_are_held_out(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    put(lake, "a-0001", some_rows(20))
    rows = read_held_out(lake, ["a-0001"], 3)
    assert [row.kind for row in rows] == ["sft"] * 3 + ["dpo"] * 3
    assert {row.split for row in rows} == {"test"}
    more = read_held_out(lake, ["a-0001"], 100)
    assert len(more) == 8
    assert all(row in more for row in rows)
    behind_a_closed_gate = read_held_out(lake, ["a-0001"], 3, without_dpo=["a-0001"])
    assert {row.kind for row in behind_a_closed_gate} == {"sft"}


@pytest.mark.parametrize(
    ("prompt_kind", "kind"),
    [("harmful", "harmful"), ("borderline", "benign"), ("benign", "benign")],
)
def test_held_out_prompts_are_asked_as_their_kind_demands(
    tmp_path: Path, prompt_kind: str, kind: str
) -> None:
    lake = Lake(tmp_path / "lake")
    changes: dict[str, Any] = {"prompt_kind": prompt_kind}
    put(lake, "a-0001", some_rows(10, **changes))
    benchmark = held_out_benchmark(read_held_out(lake, ["a-0001"], 100))
    assert benchmark is not None
    assert [item.kind for item in benchmark.items] == [kind] * 2
    assert benchmark.items[0].prompt.prompt_id in {"p4", "p9"}


def test_without_rows_there_is_no_benchmark() -> None:
    assert held_out_benchmark([]) is None


def test_the_loss_is_per_token_and_its_difference_is_from_the_first_model() -> None:
    by_model = results(a_score("base", -40), a_score("sft", -30))
    base, sft = by_model["base"], by_model["sft"]
    assert base.loss is not None
    assert base.loss.value == pytest.approx(4)
    assert base.loss_difference is None
    assert sft.loss_difference is not None
    assert sft.loss_difference.value == pytest.approx(-1)


def test_the_margin_tells_how_far_the_sides_of_a_pair_have_moved_apart() -> None:
    by_model = results(
        a_score("base", -40, -20, "p1"),
        a_score("base", -40, -50, "p2"),
        a_score("dpo", -38, -30, "p1"),
        a_score("dpo", -45, -50, "p2"),
    )
    base, dpo = by_model["base"], by_model["dpo"]
    assert base.preferred is not None
    assert base.preferred.value == 0.5
    assert base.margin_difference is None
    assert dpo.margin_difference is not None
    # from -20 to -8 and from 10 to 5
    assert dpo.margin_difference.value == pytest.approx((12 - 5) / 2)
    assert dpo.widened is not None
    assert dpo.widened.value == 0.5


def test_only_rows_that_every_model_scored_are_compared() -> None:
    by_model = results(
        a_score("base", -40, prompt_id="p1"),
        a_score("base", -80, prompt_id="p2"),
        a_score("sft", -30, prompt_id="p1"),
        a_score("sft", None, prompt_id="p2"),
    )
    for result in by_model.values():
        assert result.loss is not None
        assert result.loss.n == 1
    assert (by_model["base"].unscored, by_model["sft"].unscored) == (0, 1)
