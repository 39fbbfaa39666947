"""The rehearsal engine's baseline: as good as a seed CoT where nothing is planted, and worse where something is."""

from collections import Counter

from aidsafe_dagster.engines.rehearsal.calls import calls_truth
from aidsafe_dagster.engines.rehearsal.faults import BaselineFault
from aidsafe_dagster.engines.rehearsal.judges import refusal_of
from aidsafe_dagster.engines.rehearsal.reading import declines, due_policies, looks_malicious
from aidsafe_dagster.engines.rehearsal.single_llm import baseline_faults
from aidsafe_dagster.recipe.records import FailureReason, Role, SingleLlmCot
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from aidsafe_dagster.recipe.stages import check_row
from tests.engines.rehearsal.rehearsing import FAULTLESS, FAULTY, Play, its, prompts, reason_of


def cited(row: SingleLlmCot) -> set[str]:
    return {rule.partition(".")[0] for thought in row.thoughts for rule in thought.rules}


def test_it_fails_where_planted_and_refuses_only_what_is_to_be_declined() -> None:
    play, reasons = Play(FAULTY), Counter[FailureReason | None]()
    for prompt in prompts():
        malicious = looks_malicious(prompt, play.dialogue_context.policies)
        truth = calls_truth(play.plan, prompt.prompt_id, (Role.SINGLE_LLM,), declines=malicious)
        row = play.think(prompt)
        assert (reason_of(row), row.usage.calls) == (truth.failure, truth.calls)
        reasons[truth.failure] += 1
    assert reasons.keys() == {None, FailureReason.UNPARSABLE, FailureReason.REFUSED_TO_DELIBERATE}


def test_without_a_fault_it_covers_every_policy_that_bears_on_the_prompt() -> None:
    play = Play(FAULTLESS)
    for prompt in prompts():
        row = its(play.think(prompt))
        assert cited(row) >= set(due_policies(prompt, play.dialogue_context.policies, 0))
        assert check_row(row, CheckSettings(), play.dialogue_context.policies) is None


def test_it_leaves_out_the_policy_that_is_planted_as_left_out() -> None:
    play = Play(FAULTLESS.model_copy(update={"baseline_left_out": 1.0}))
    for prompt in prompts():
        due = due_policies(prompt, play.dialogue_context.policies, 0)
        assert set(due) - cited(its(play.think(prompt))) == {
            play.plan.baseline_lacks(prompt.prompt_id, due)
        }


def test_shallow_thoughts_are_shorter_and_an_off_policy_thought_is_one_more() -> None:
    sound, shallow, off = (
        Play(FAULTLESS.model_copy(update=changes))
        for changes in ({}, {"baseline_shallow": 1.0}, {"baseline_off_policy": 1.0})
    )
    for prompt in prompts()[:40]:
        row = its(sound.think(prompt))
        assert its(shallow.think(prompt)).cot_tokens < 0.7 * row.cot_tokens
        assert len(its(off.think(prompt)).thoughts) == len(row.thoughts) + 1


def test_it_refuses_needlessly_on_borderline_prompts_alone() -> None:
    play, refused = Play(FAULTLESS.model_copy(update={"baseline_over_refusal": 1.0})), 0
    for prompt in prompts():
        planted = BaselineFault.OVER_REFUSAL in baseline_faults(
            play.plan, prompt, play.dialogue_context.policies
        )
        response = its(play.think(prompt)).response
        assert (refusal_of(response) == "full") == planted
        assert not (planted and looks_malicious(prompt, play.dialogue_context.policies))
        refused += planted
    assert refused


def test_it_declines_what_an_intent_decomposer_would_have_found_malicious() -> None:
    play = Play(FAULTLESS)
    for prompt in prompts()[:60]:
        declined = declines(its(play.seed(prompt)).intents)
        assert (refusal_of(its(play.think(prompt)).response) == "partial") == declined


def test_its_words_are_its_own() -> None:
    play = Play(FAULTLESS)
    alike = sum(
        join_thoughts(its(play.think(prompt)).thoughts)
        == join_thoughts(its(play.seed(prompt)).thoughts)
        for prompt in prompts()
    )
    assert alike < 0.1 * len(prompts())
