"""The rehearsal engine's baseline: like a seed CoT where nothing is planted, else worse."""

from collections import Counter

from aidsafe_dagster.engines.rehearsal.dice import Dice
from aidsafe_dagster.engines.rehearsal.faults import Fault
from aidsafe_dagster.engines.rehearsal.judges import refusal_of
from aidsafe_dagster.engines.rehearsal.reading import due_policies, looks_malicious
from aidsafe_dagster.recipe.records import FailureReason, Prompt, Stage
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from aidsafe_dagster.recipe.stages import check_row
from tests.engines.rehearsal.rehearsing import (
    FAULTLESS,
    FAULTY,
    Rehearsal,
    cited_policies,
    prompts,
    reason_of,
    succeeded,
)
from tests.engines.rehearsal.test_rehearsal import is_declined, planted_reason


def due(rehearsal: Rehearsal, prompt: Prompt) -> set[str]:
    return set(
        due_policies(
            prompt, rehearsal.dialogue_context.policies, Dice((0, prompt.prompt_id))
        )
    )


def test_it_fails_where_planted_and_refuses_only_what_has_to_be_declined() -> None:
    rehearsal, reasons = Rehearsal(FAULTY), Counter[FailureReason | None]()
    for prompt in prompts():
        row = rehearsal.think(prompt)
        assert reason_of(row) == planted_reason(
            rehearsal.faults_of(Stage.SINGLE_LLM_COTS, row)
        )
        if reason_of(row) is FailureReason.REFUSED_TO_DELIBERATE:
            assert looks_malicious(prompt, rehearsal.dialogue_context.policies)
        reasons[reason_of(row)] += 1
    assert reasons.keys() == {
        None,
        FailureReason.UNPARSABLE,
        FailureReason.REFUSED_TO_DELIBERATE,
    }


def test_without_a_fault_it_covers_every_policy_that_bears_on_the_prompt() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    for prompt in prompts():
        row = succeeded(rehearsal.think(prompt))
        assert cited_policies(row) >= due(rehearsal, prompt)
        assert (
            check_row(row, CheckSettings(), rehearsal.dialogue_context.policies) is None
        )


def test_it_leaves_out_one_policy_where_that_is_planted() -> None:
    rehearsal = Rehearsal(FAULTLESS.model_copy(update={"baseline_left_out": 1.0}))
    for prompt in prompts():
        row = succeeded(rehearsal.think(prompt))
        assert len(due(rehearsal, prompt) - cited_policies(row)) == 1
        assert Fault.BASELINE_LEFT_OUT in rehearsal.faults_of(
            Stage.SINGLE_LLM_COTS, row
        )


def test_shallow_thoughts_are_shorter_and_an_off_policy_thought_is_one_more() -> None:
    sound = Rehearsal(FAULTLESS)
    shallow = Rehearsal(FAULTLESS.model_copy(update={"baseline_shallow": 1.0}))
    off_policy = Rehearsal(FAULTLESS.model_copy(update={"baseline_off_policy": 1.0}))
    for prompt in prompts()[:40]:
        row = succeeded(sound.think(prompt))
        assert succeeded(shallow.think(prompt)).cot_tokens < 0.7 * row.cot_tokens
        assert (
            len(succeeded(off_policy.think(prompt)).thoughts) == len(row.thoughts) + 1
        )


def test_it_refuses_needlessly_on_borderline_prompts_alone() -> None:
    rehearsal = Rehearsal(FAULTLESS.model_copy(update={"baseline_over_refusal": 1.0}))
    refusals = 0
    for prompt in prompts():
        row = succeeded(rehearsal.think(prompt))
        faults = rehearsal.faults_of(Stage.SINGLE_LLM_COTS, row)
        planted = Fault.BASELINE_OVER_REFUSAL in faults
        assert (refusal_of(row.response) == "full") == planted
        assert not (
            planted and looks_malicious(prompt, rehearsal.dialogue_context.policies)
        )
        refusals += planted
    assert 0 < refusals < len(prompts())


def test_it_declines_what_an_intent_decomposer_would_have_found_malicious() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    for prompt in prompts()[:60]:
        declined = is_declined(succeeded(rehearsal.seed(prompt)).intents)
        response = succeeded(rehearsal.think(prompt)).response
        assert (refusal_of(response) == "partial") == declined


def test_its_words_are_its_own() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    alike = 0
    for prompt in prompts():
        alone = succeeded(rehearsal.think(prompt))
        seed = succeeded(rehearsal.seed(prompt))
        alike += join_thoughts(alone.thoughts) == join_thoughts(seed.thoughts)
    assert alike < 0.1 * len(prompts())
