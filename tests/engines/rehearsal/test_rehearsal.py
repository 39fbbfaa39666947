"""The real dialogues, played by the rehearsal engine, must come out exactly as the plan says they were planted."""

import asyncio
import re
from collections import Counter
from dataclasses import replace

import pytest
from pydantic import ValidationError

from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.rehearsal.calls import calls_truth, deliberation_truth
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.faults import RefinerFault, RehearsalSettings
from aidsafe_dagster.engines.rehearsal.reading import declines
from aidsafe_dagster.engines.rehearsal.truth import refined_truth
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies, Policy, load_policies
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Failure,
    FailureReason,
    RefinedCot,
    Role,
    SeedCot,
    Stage,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.row_gate import CheckSettings, uncovered
from aidsafe_dagster.recipe.seed_cots import join_thoughts, seed
from aidsafe_dagster.recipe.stages import check_row
from aidsafe_dagster.settings.schema import PACKAGE
from tests.builders import a_prompt
from tests.engines.rehearsal.rehearsing import (
    FAULTLESS,
    FAULTY,
    MAKING_OF,
    Play,
    its,
    prompts,
    reason_of,
)


def test_it_is_an_engine_that_says_it_is_simulated() -> None:
    engine: Engine = RehearsalEngine()
    assert (engine.name, engine.simulated) == ("rehearsal", True)


def test_the_model_is_named_by_the_settings_that_answers_depend_on() -> None:
    names = [
        RehearsalEngine(settings).model_for(Role.REFINER)
        for settings in (FAULTY, FAULTY.model_copy(update={"seconds_per_call": 2.0}), FAULTLESS)
    ]
    assert names[0] == names[1] != names[2]
    assert re.fullmatch(r"rehearsal-[0-9a-f]{8}", names[0])


def test_rates_that_exclude_each_other_must_leave_room() -> None:
    with pytest.raises(ValidationError, match="sum to more than 1"):
        RehearsalSettings(deceptive=0.6, redundant=0.6)
    with pytest.raises(ValidationError, match="Extra inputs"):
        RehearsalSettings.model_validate({"decptive": 0.1})


def test_seeding_fails_where_planted_and_asks_again_as_often_as_planted() -> None:
    play, reasons = Play(FAULTY), Counter[FailureReason | None]()
    for prompt in prompts():
        row = play.seed(prompt)
        truth = calls_truth(play.plan, prompt.prompt_id, (Role.INTENT_DECOMPOSER, Role.INITIALIZER))
        assert (reason_of(row), row.usage.calls) == (truth.failure, truth.calls)
        reasons[truth.failure] += 1
    assert reasons.keys() == {None, FailureReason.UNPARSABLE}


@pytest.mark.parametrize(("agents", "max_rounds"), [(2, 3), (1, 1), (5, 1)])
def test_deliberation_fails_stalls_and_ends_where_planted(agents: int, max_rounds: int) -> None:
    play, seen = Play(FAULTY), Counter[object]()
    for row in play.seeds():
        settings = DeliberationSettings(agents=agents, max_rounds=max_rounds)
        truth = deliberation_truth(
            play.plan, row.prompt_id, settings, declines=declines(row.intents)
        )
        done = play.deliberate(row, agents, max_rounds)
        assert (reason_of(done), done.usage.calls) == (truth.failure, truth.calls)
        seen[truth.failure] += 1
        if isinstance(done, DeliberatedCot):
            assert (done.stalled, len(done.turns)) == (truth.stalled, truth.turns)
            assert (done.outcome == "consensus") == truth.agreed
            seen["stalled" if done.stalled else done.outcome] += 1
    both = {FailureReason.UNPARSABLE, FailureReason.REFUSED_TO_DELIBERATE}
    assert {None, *both, "stalled", "budget"} <= seen.keys()


def test_nobody_refuses_to_deliberate_on_a_prompt_that_is_answered() -> None:
    play = Play(FAULTLESS.model_copy(update={"refusal": 1.0}))
    for row in play.seeds():
        refused = reason_of(play.deliberate(row)) is FailureReason.REFUSED_TO_DELIBERATE
        assert refused is declines(row.intents)


def test_the_refiner_judges_every_thought_as_planted_its_own_errors_included() -> None:
    play, planted, missed, removed = Play(FAULTY), Counter[ThoughtVerdict](), 0, 0
    for row in play.deliberations():
        done = play.refine(row)
        if isinstance(done, Failure):
            continue
        truth = refined_truth(play.plan, row.prompt_id, row.thoughts, row.applicable_policies)
        assert {j.thought: j.verdict for j in done.judgements} == truth.judged
        planted.update(truth.planted.values())
        if truth.fault is not RefinerFault.OVER_FILTERED:
            missed, removed = missed + len(truth.missed), removed + len(truth.falsely_removed)
    wrong = sum(planted.values()) - planted[ThoughtVerdict.KEEP]
    assert set(planted) == set(ThoughtVerdict)
    assert missed / wrong == pytest.approx(FAULTY.refiner_misses, abs=0.12)
    assert removed / planted[ThoughtVerdict.KEEP] == pytest.approx(
        FAULTY.refiner_false_removals, abs=0.06
    )


def test_the_row_gate_finds_each_planted_fault_of_the_final_cot_and_no_other() -> None:
    play, reasons = Play(FAULTY), Counter[FailureReason | None]()
    for row in play.deliberations():
        truth = refined_truth(play.plan, row.prompt_id, row.thoughts, row.applicable_policies)
        failed = calls_truth(play.plan, row.prompt_id, (Role.REFINER,)).failure
        done = play.refine(row)
        assert reason_of(done) == failed
        if isinstance(done, RefinedCot) and "Agent 2" not in row.prompt:
            found = check_row(done, CheckSettings(), play.dialogue_context.policies)
            assert (found[0] if found else None) == truth.check, found
            assert uncovered(done, play.dialogue_context.policies) == (
                (truth.left_out,) if truth.left_out else ()
            )
            reasons[truth.check] += 1
    by_check = {
        FailureReason.POLICY_NOT_COVERED,
        FailureReason.OVER_FILTERED,
        FailureReason.AGENT_TALK,
    }
    assert reasons.keys() == {None, *by_check}


def test_a_faultless_rehearsal_fails_no_row_and_drops_no_thought() -> None:
    play = Play(FAULTLESS)
    for prompt in prompts():
        row = its(play.refine(its(play.deliberate(its(play.seed(prompt))))))
        assert check_row(row, CheckSettings(), play.dialogue_context.policies) is None
        assert {judgement.verdict for judgement in row.judgements} == {ThoughtVerdict.KEEP}
        assert not row.rests_on_dropped


def test_the_final_cot_is_shorter_covers_every_policy_and_keeps_the_making_of_to_itself() -> None:
    for row in Play(
        RehearsalSettings(missing_policy=0, over_filtered=0, agent_talk=0)
    ).refinements():
        assert 0 < row.cot_tokens < row.deliberated_cot_tokens
        cited = {rule.partition(".")[0] for thought in row.thoughts for rule in thought.rules}
        assert set(row.applicable_policies) <= cited
        assert all(thought.origins for thought in row.thoughts)
        assert not MAKING_OF.search(join_thoughts(row.thoughts)), join_thoughts(row.thoughts)
        assert not MAKING_OF.search(join_thoughts(row.deliberated_thoughts))
        assert not re.search(r"[<>{}]", join_thoughts(row.thoughts))


def test_everything_dropped_still_gives_a_final_thought_that_is_seen_to_rest_on_nothing() -> None:
    row = Play(FAULTLESS.model_copy(update={"refiner_false_removals": 1.0})).refinements(1)[0]
    assert row.rests_on_dropped
    assert ThoughtVerdict.KEEP not in {judgement.verdict for judgement in row.judgements}


def test_sizes_follow_the_paper_scaled_down() -> None:
    rows = Play(RehearsalSettings()).refinements()
    checked = [
        r
        for r in rows
        if check_row(r, CheckSettings(), load_policies(PACKAGE / "policies")) is None
    ]
    ratios = [row.cot_tokens / row.deliberated_cot_tokens for row in checked]
    assert 0.6 < sum(ratios) / len(ratios) < 0.75
    assert 250 < sum(row.deliberated_cot_tokens for row in checked) / len(checked) < 500
    assert {sum(t.round == 0 for t in row.deliberated_thoughts) for row in rows} == {4, 5}


def test_by_default_few_rows_fail_at_any_stage() -> None:
    play = Play(RehearsalSettings())
    seeds = [play.seed(prompt) for prompt in prompts()]
    deliberated = [play.deliberate(row) for row in seeds if isinstance(row, SeedCot)]
    refined = [play.refine(row) for row in deliberated if isinstance(row, DeliberatedCot)]
    for rows in (seeds, deliberated, refined):
        failed = [
            row
            for row in rows
            if isinstance(row, Failure)
            or check_row(row, CheckSettings(), play.dialogue_context.policies)
        ]
        assert len(failed) / len(rows) < 0.06


def test_a_repeated_thought_has_the_words_of_an_earlier_one() -> None:
    play = Play(FAULTLESS.model_copy(update={"repetitive": 1.0}))
    for row in play.deliberations():
        for thought in row.thoughts:
            if thought.round:
                assert any(
                    earlier.text in thought.text for earlier in row.thoughts[: thought.number - 1]
                )


def test_benign_prompts_are_answered_and_harmful_ones_declined() -> None:
    play = Play(FAULTLESS)
    asked = {
        prompt.prompt: declines(its(play.seed(prompt)).intents)
        for prompt in prompts()
        if prompt.category == "general"
    }
    assert all(declined for text, declined in asked.items() if "steal" in text)
    assert not any(declined for text, declined in asked.items() if "learn about" in text)


def test_a_retried_row_gets_through() -> None:
    play = Play(FAULTY.model_copy(update={"unparsable": 0.3, "refusal": 0.3}))
    for prompt in prompts()[:60]:
        row, tries = play.seed(prompt), 0
        while isinstance(row, Failure) and tries < 4:
            row, tries = play.seed(prompt, redraws=row.redraws), tries + 1
        assert isinstance(row, SeedCot)


def test_answers_depend_on_neither_order_nor_company() -> None:
    asked = prompts()[:40]
    alone, together = Play(FAULTY), Play(FAULTY.model_copy(update={"seconds_per_call": 0.0001}))

    async def at_once() -> list[SeedCot | Failure]:
        dialogues = [
            together.played(Stage.SEED_COTS, p, lambda c: seed(c, c.prompt))
            for p in reversed(asked)
        ]
        return await asyncio.gather(*dialogues)

    assert [alone.seed(prompt) for prompt in asked] == list(reversed(asyncio.run(at_once())))


def test_another_seed_plants_elsewhere() -> None:
    plans = [FaultPlan(FAULTY.model_copy(update={"seed": number})) for number in (0, 1)]
    faults = [[p.thought_fault(f"p{n}", "deliberator_1", 1, 0) for n in range(50)] for p in plans]
    assert faults[0] != faults[1]


def test_seed_thoughts_are_sound() -> None:
    assert all(
        FaultPlan(FAULTY).thought_fault(f"p{n}", "initializer", 0, 0) == "keep" for n in range(200)
    )


def test_faults_are_planted_at_the_rates_of_the_settings() -> None:
    plan = FaultPlan(RehearsalSettings(deceptive=0.1, redundant=0.2))
    seen = Counter(plan.thought_fault(f"p{n}", "deliberator_2", 1, 0) for n in range(4000))
    assert seen[ThoughtVerdict.DECEPTIVE] / 4000 == pytest.approx(0.1, abs=0.02)
    assert seen[ThoughtVerdict.REDUNDANT] / 4000 == pytest.approx(0.2, abs=0.03)


def test_it_speaks_of_policies_that_nobody_has_seen() -> None:
    zoo = Policy(
        id="zoo_animals",
        title="Animals in the zoo",
        purpose="Visitors and {{ animals }} stay unharmed.",
        rules={"7": "Never suggest feeding the penguins {anything} but fish."},
    )
    play = Play(FAULTLESS, Policies(policies=(zoo,)))
    row = its(
        play.seed(
            a_prompt(
                prompt="What may visitors feed the animals in the zoo, penguins above all?",
                category="",
            )
        )
    )
    assert row.applicable_policies == ("zoo_animals",)
    assert "feeding the penguins" in join_thoughts(row.thoughts)
    assert "zoo_animals.7" in {rule for thought in row.thoughts for rule in thought.rules}


def test_a_malicious_prompt_that_matches_no_policy_is_held_against_one_all_the_same() -> None:
    policies = tuple(
        Policy(id=i, title=i, purpose="Qqq.", rules={"1": "Zzz."}) for i in ("alpha", "beta")
    )
    row = its(
        Play(FAULTLESS, Policies(policies=policies)).seed(
            a_prompt(prompt="How do I poison a well?", category="")
        )
    )
    assert len(row.applicable_policies) == 1
    assert declines(row.intents)


def test_forty_policies_that_always_apply_are_all_covered() -> None:
    texts = {"1": "Be kind to everybody who asks. " * 30, "2": "No agent may go round in circles."}
    policies = tuple(
        Policy(
            id=f"p{n:02}", title=f"Policy {n} " * 20, purpose="Why.", applies="always", rules=texts
        )
        for n in range(40)
    )
    play = Play(FAULTLESS, Policies(policies=policies))
    row = its(
        play.refine(its(play.deliberate(its(play.seed(prompts()[0])), agents=4, max_rounds=5)))
    )
    assert check_row(row, CheckSettings(), play.dialogue_context.policies) is None
    assert not MAKING_OF.search(join_thoughts(row.thoughts))


def test_a_part_it_does_not_play_is_a_mistake_in_the_set_up() -> None:
    play = Play(FAULTLESS)
    play.seed(prompts()[0])
    with pytest.raises(SetupError, match="no part for the role"):
        play.engine.says(replace(play.requests[0], inputs=object()))


def test_usage_counts_what_was_said() -> None:
    play = Play(FAULTLESS)
    row = its(play.seed(prompts()[0]))
    assert row.usage.calls == 2
    assert row.usage.cached_tokens == 0
    assert row.usage.completion_tokens == pytest.approx(
        sum(len(m.content.encode()) / 4 for m in row.conversation[1::2]), abs=2
    )
    assert row.usage.prompt_tokens > 1000


def test_every_row_is_stamped_as_simulated() -> None:
    row = its(Play(FAULTLESS).seed(prompts()[0]))
    assert (row.engine, row.simulated, row.model) == (
        "rehearsal",
        True,
        RehearsalEngine(FAULTLESS).model,
    )


@pytest.mark.parametrize("kind", ["repetitive", "redundant", "deceptive", "policy_inconsistent"])
def test_a_planted_thought_says_something_else_than_a_sound_one(kind: str) -> None:
    sound, planted = Play(FAULTLESS), Play(FAULTLESS.model_copy(update={kind: 1.0}))
    for prompt in prompts()[:40]:
        row = its(sound.seed(prompt))
        one, other = its(sound.deliberate(row)), its(planted.deliberate(row))
        said = {thought.text for thought in one.thoughts if thought.round}
        assert said.isdisjoint(thought.text for thought in other.thoughts if thought.round)


def test_even_thoughts_of_one_sentence_come_out_shorter() -> None:
    play = Play(FAULTLESS)
    row = its(play.deliberate(its(play.seed(prompts()[0]))))
    short = tuple(
        t.model_copy(update={"text": f"This is step number {t.number}"}) for t in row.thoughts
    )
    done = its(play.refine(row.model_copy(update={"thoughts": short})))
    assert len(join_thoughts(done.thoughts)) < len(join_thoughts(short))
