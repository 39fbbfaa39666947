"""One prompt through a variant of the recipe, by hand."""

from collections.abc import Callable

import pytest

from aidsafe_dagster.recipe.ablations import AblationRow, Variant, run_variant
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.context_plan import LIKELY, fill
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import Conversation, Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import FailureReason, Role, Stage
from aidsafe_dagster.recipe.row_gate import CheckSettings
from tests.builders import a_prompt
from tests.recipe.scripted_model import a_dialogue_context, a_grade_answer, run_dialogue

TWO_ROUNDS = Variant("two rounds", DeliberationSettings(max_rounds=2))
ONE_JUDGE, TWO_JUDGES = GradingSettings(judges=1), GradingSettings(judges=2)
Model = Callable[[Request], str]


def valid(request: Request) -> str:
    """Answer as the schema asks for; agents never agree."""
    return fill(request, LIKELY)


def a_conversation() -> Conversation:
    context = a_dialogue_context(bad_text=ACCEPT_ALL)
    return Conversation(context, Stage.SEED_COTS, a_prompt())


def run(
    variant: Variant,
    model: Model = valid,
    grading: GradingSettings = ONE_JUDGE,
    checks: CheckSettings | None = None,
) -> tuple[AblationRow, list[Request]]:
    dialogue = run_variant(a_conversation(), variant, grading, checks)
    return run_dialogue(dialogue, model)


def test_a_row_tells_how_its_agents_deliberated() -> None:
    row, _ = run(TWO_ROUNDS)
    assert (row.turns, row.outcome, row.stalled) == (4, "budget", False)
    assert (row.shared_rounds, row.split_rounds, row.voices) == (2, 0, 2)
    # All made-up thoughts have the same words.
    assert row.diversity == 0


def test_grading_is_no_part_of_the_cost() -> None:
    row, requests = run(TWO_ROUNDS)
    graded = [request for request in requests if request.role is Role.JUDGE]
    assert len(graded) == 1
    assert row.usage.calls == len(requests) - 1


def test_a_single_call_costs_no_seed_and_has_no_deliberation() -> None:
    row, requests = run(Variant("single", single=True))
    assert [request.stage for request in requests] == [
        Stage.SEED_COTS,
        Stage.SEED_COTS,
        Stage.SINGLE_LLM_COTS,
        Stage.COT_GRADES,
    ]
    assert row.usage.calls == 1
    assert (row.turns, row.outcome, row.stalled, row.diversity) == (0, "", None, None)


def test_a_deliberation_cut_off_at_once_did_not_stall() -> None:
    seed_alone = Variant("no round", TWO_ROUNDS.deliberation, stop_after=0)
    row, _ = run(seed_alone)
    assert (row.turns, row.outcome, row.stalled) == (0, "", None)


def test_a_row_that_the_pipeline_would_hold_back_fails_at_its_stage() -> None:
    conversation = a_conversation()
    checks = CheckSettings(min_cot_tokens=100_000)
    dialogue = run_variant(conversation, TWO_ROUNDS, ONE_JUDGE, checks)
    with pytest.raises(RowFailed) as raised:
        run_dialogue(dialogue, valid)
    assert raised.value.reason is FailureReason.COT_TOO_SHORT
    assert conversation.stage == Stage.SEED_COTS
    assert conversation.usage.calls == 2


def test_a_failure_names_the_stage_and_the_role_that_were_asked_last() -> None:
    def no_refiner(request: Request) -> str:
        return "no" if request.role is Role.REFINER else valid(request)

    conversation = a_conversation()
    dialogue = run_variant(conversation, TWO_ROUNDS, ONE_JUDGE, None)
    with pytest.raises(RowFailed) as raised:
        run_dialogue(dialogue, no_refiner)
    failed = conversation.failure(raised.value.reason, "", redraw=True)
    assert (failed.stage, failed.role) == (Stage.REFINED_COTS, Role.REFINER)
    # The answers that could not be read were paid for as well.
    assert failed.usage.calls == 2 + 4 + 3


def test_one_judge_without_a_grade_leaves_the_other_ones() -> None:
    def judges(request: Request) -> str:
        if request.role is Role.SECOND_JUDGE:
            return "no"
        return a_grade_answer(3) if request.role is Role.JUDGE else valid(request)

    row, _ = run(TWO_ROUNDS, judges, TWO_JUDGES)
    assert row.policy_score == 3


def test_a_prompt_that_no_judge_grades_fails() -> None:
    def no_judge(request: Request) -> str:
        is_judge = request.role in (Role.JUDGE, Role.SECOND_JUDGE)
        return "no" if is_judge else valid(request)

    with pytest.raises(RowFailed) as raised:
        run(TWO_ROUNDS, no_judge, TWO_JUDGES)
    assert raised.value.reason is FailureReason.NOT_GRADED
