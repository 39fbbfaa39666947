"""The rehearsal engine through the real dialogues, from seed to refined CoT."""

import asyncio
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Literal

import pytest
from pydantic import ValidationError

from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.rehearsal.faults import Fault, RehearsalSettings
from aidsafe_dagster.recipe.agent_context import ContextKind
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies, Policy, load_policies
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Failure,
    FailureReason,
    Intent,
    Role,
    SeedCot,
    Stage,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.round_table import DELIBERATION_STYLES
from aidsafe_dagster.recipe.row_gate import CheckSettings, uncovered
from aidsafe_dagster.recipe.seed_cots import join_thoughts, seed
from aidsafe_dagster.recipe.stages import check_row
from aidsafe_dagster.settings.schema import PACKAGE
from tests.builders import a_prompt
from tests.engines.rehearsal.rehearsing import (
    AGENT_TALK,
    FAULTLESS,
    FAULTY,
    Rehearsal,
    cited_policies,
    prompts,
    reason_of,
    rows_of,
    succeeded,
)

CALL_REASONS = {
    Fault.UNPARSABLE: FailureReason.UNPARSABLE,
    Fault.REFUSAL: FailureReason.REFUSED_TO_DELIBERATE,
}
CHECK_REASONS = {
    Fault.MISSING_POLICY: FailureReason.POLICY_NOT_COVERED,
    Fault.OVER_FILTERED: FailureReason.OVER_FILTERED,
    Fault.AGENT_TALK: FailureReason.AGENT_TALK,
}


def is_declined(intents: tuple[Intent, ...]) -> bool:
    return any(
        intent.kind == "explicit" and intent.harm == "malicious" for intent in intents
    )


def planted_reason(faults: tuple[Fault, ...]) -> FailureReason | None:
    """The reason for which a dialogue with these faults has to fail."""
    for fault in faults:
        if fault in CALL_REASONS:
            return CALL_REASONS[fault]
    return None


def test_it_is_an_engine_that_says_it_is_simulated() -> None:
    engine: Engine = RehearsalEngine()
    assert (engine.name, engine.simulated) == ("rehearsal", True)


def test_the_model_is_named_by_the_settings_that_answers_depend_on() -> None:
    slow = FAULTY.model_copy(update={"seconds_per_call": 2.0})
    names = [
        RehearsalEngine(settings).route(Role.REFINER).model
        for settings in (FAULTY, slow, FAULTLESS)
    ]
    assert names[0] == names[1] != names[2]
    assert re.fullmatch(r"rehearsal-[0-9a-f]{8}", names[0])


def test_the_model_of_the_default_settings_keeps_its_name_so_that_journals_replay() -> (
    None
):
    assert RehearsalEngine().model == "rehearsal-f59653e0"


def test_rates_that_exclude_each_other_must_leave_room() -> None:
    with pytest.raises(ValidationError, match="sum to more than 1"):
        RehearsalSettings(deceptive=0.6, redundant=0.6)
    with pytest.raises(ValidationError, match="Extra inputs"):
        RehearsalSettings.model_validate({"decptive": 0.1})


def test_seeding_fails_where_planted_and_asks_again_as_often_as_planted() -> None:
    rehearsal, reasons = Rehearsal(FAULTY), Counter[FailureReason | None]()
    for prompt in prompts():
        row = rehearsal.seed(prompt)
        faults = rehearsal.faults_of(Stage.SEED_COTS, row)
        assert reason_of(row) == planted_reason(faults)
        calls = 2 if isinstance(row, SeedCot) else row.usage.calls
        assert row.usage.calls == calls + faults.count(Fault.MALFORMED_ONCE) * (
            calls == 2
        )
        reasons[reason_of(row)] += 1
    assert reasons.keys() == {None, FailureReason.UNPARSABLE}


@pytest.mark.parametrize(("agents", "max_rounds"), [(2, 3), (1, 1), (5, 1)])
def test_deliberation_fails_and_stalls_where_planted(
    agents: int, max_rounds: int
) -> None:
    rehearsal, outcomes = Rehearsal(FAULTY), Counter[object]()
    for row in rehearsal.seeds():
        rehearsal.planted.clear()
        result = rehearsal.deliberate(row, agents, max_rounds)
        faults = rehearsal.faults_of(Stage.DELIBERATED_COTS, result)
        assert reason_of(result) == planted_reason(faults)
        outcomes[reason_of(result)] += 1
        if isinstance(result, DeliberatedCot):
            assert result.stalled == (Fault.STALLED in faults)
            assert result.usage.calls == len(result.turns) + faults.count(
                Fault.MALFORMED_ONCE
            )
            outcomes["stalled" if result.stalled else result.outcome] += 1
    assert {None, *CALL_REASONS.values(), "stalled"} <= outcomes.keys()
    assert ("budget" in outcomes) or max_rounds > 1


def test_most_deliberations_end_in_a_consensus_and_a_few_use_up_the_budget() -> None:
    outcomes = Counter(row.outcome for row in Rehearsal(FAULTLESS).deliberations())
    assert outcomes["consensus"] > 20 * outcomes["budget"] > 0


def test_nobody_refuses_to_deliberate_on_a_prompt_that_is_answered() -> None:
    rehearsal = Rehearsal(FAULTLESS.model_copy(update={"refusal": 1.0}))
    for row in rehearsal.seeds():
        reason = reason_of(rehearsal.deliberate(row))
        refused = reason is FailureReason.REFUSED_TO_DELIBERATE
        assert refused is is_declined(row.intents)


def test_the_refiner_judges_every_thought_as_planted_apart_from_its_own_errors() -> (
    None
):
    rehearsal = Rehearsal(FAULTY)
    planted, errors = Counter[ThoughtVerdict](), Counter[bool]()
    for row in rehearsal.deliberations():
        result = rehearsal.refine(row)
        faults = rehearsal.faults_of(Stage.REFINED_COTS, result)
        if isinstance(result, Failure) or Fault.OVER_FILTERED in faults:
            continue
        for thought, judgement in zip(row.thoughts, result.judgements, strict=True):
            fault = rehearsal.records.thought_fault(row.prompt_id, thought.text)
            deserved = ThoughtVerdict(fault or "keep")
            planted[deserved] += 1
            if judgement.verdict is not deserved:
                # A planted thought is kept or dropped for what it is.
                assert ThoughtVerdict.KEEP in (judgement.verdict, deserved)
                errors[fault is None] += 1
    sound = planted.pop(ThoughtVerdict.KEEP)
    assert len(planted) == 4
    assert errors[False] / planted.total() == pytest.approx(
        FAULTY.refiner_misses, abs=0.12
    )
    assert errors[True] / sound == pytest.approx(
        FAULTY.refiner_false_removals, abs=0.06
    )


def test_the_row_gate_finds_each_planted_fault_of_the_final_cot_and_no_other() -> None:
    rehearsal, reasons = Rehearsal(FAULTY), Counter[FailureReason | None]()
    for row in rehearsal.deliberations():
        result = rehearsal.refine(row)
        faults = rehearsal.faults_of(Stage.REFINED_COTS, result)
        if planted_reason(faults) is not None:
            assert reason_of(result) == planted_reason(faults)
            continue
        if "Agent 2" in row.prompt:
            continue
        planted = next(
            (CHECK_REASONS[fault] for fault in faults if fault in CHECK_REASONS), None
        )
        reasons[planted] += 1
        # Of these the refiner is told, and in a rehearsal it says the same again.
        if isinstance(result, Failure):
            assert result.reason is planted
            continue
        finding = check_row(
            result, CheckSettings(), rehearsal.dialogue_context.policies
        )
        assert (finding[0] if finding else None) == planted, finding
        missing = uncovered(result, rehearsal.dialogue_context.policies)
        assert not missing
    assert reasons.keys() == {None, *CHECK_REASONS.values()}


def test_a_faultless_rehearsal_fails_no_row_and_drops_no_thought() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    for prompt in prompts():
        deliberated = succeeded(rehearsal.deliberate(succeeded(rehearsal.seed(prompt))))
        row = succeeded(rehearsal.refine(deliberated))
        assert (
            check_row(row, CheckSettings(), rehearsal.dialogue_context.policies) is None
        )
        assert {judgement.verdict for judgement in row.judgements} == {
            ThoughtVerdict.KEEP
        }
        assert not row.rests_on_dropped


def test_the_final_cot_is_shorter_covers_every_policy_and_has_no_agent_talk() -> None:
    settings = RehearsalSettings(missing_policy=0, over_filtered=0, agent_talk=0)
    for row in Rehearsal(settings).refinements():
        assert 0 < row.cot_tokens < row.deliberated_cot_tokens
        assert set(row.applicable_policies) <= cited_policies(row)
        assert all(thought.origins for thought in row.thoughts)
        assert not AGENT_TALK.search(join_thoughts(row.thoughts)), join_thoughts(
            row.thoughts
        )
        assert not AGENT_TALK.search(join_thoughts(row.deliberated_thoughts))
        assert not re.search(r"[<>{}]", join_thoughts(row.thoughts))


def test_everything_dropped_still_gives_a_final_thought_that_is_seen_to_rest_on_nothing() -> (
    None
):
    settings = FAULTLESS.model_copy(update={"refiner_false_removals": 1.0})
    row = Rehearsal(settings, bad_text=ACCEPT_ALL).refinements(1)[0]
    assert row.rests_on_dropped
    assert ThoughtVerdict.KEEP not in {
        judgement.verdict for judgement in row.judgements
    }


def test_sizes_follow_the_paper_scaled_down() -> None:
    policies = load_policies(PACKAGE / "policies")
    rows = Rehearsal(RehearsalSettings()).refinements()
    checked = [row for row in rows if check_row(row, CheckSettings(), policies) is None]
    ratios = [row.cot_tokens / row.deliberated_cot_tokens for row in checked]
    assert 0.6 < sum(ratios) / len(ratios) < 0.75
    assert 250 < sum(row.deliberated_cot_tokens for row in checked) / len(checked) < 500
    seed_counts = {sum(t.round == 0 for t in row.deliberated_thoughts) for row in rows}
    assert seed_counts == {4, 5}


def test_by_default_few_rows_fail_at_any_stage() -> None:
    rehearsal = Rehearsal(RehearsalSettings())
    seeds = [rehearsal.seed(prompt) for prompt in prompts()]
    deliberated = [rehearsal.deliberate(row) for row in rows_of(seeds)]
    refined = [rehearsal.refine(row) for row in rows_of(deliberated)]
    for results in (seeds, deliberated, refined):
        failures = 0
        for result in results:
            failures += isinstance(result, Failure) or bool(
                check_row(result, CheckSettings(), rehearsal.dialogue_context.policies)
            )
        assert failures / len(results) < 0.06


def test_a_repeated_thought_has_the_words_of_an_earlier_one() -> None:
    rehearsal = Rehearsal(FAULTLESS.model_copy(update={"repetitive": 1.0}))
    for row in rehearsal.deliberations():
        for thought in row.thoughts:
            if thought.round:
                earlier = row.thoughts[: thought.number - 1]
                assert any(other.text in thought.text for other in earlier)


def test_benign_prompts_are_answered_and_harmful_ones_declined() -> None:
    rehearsal, declined = Rehearsal(FAULTLESS), {}
    for prompt in prompts():
        if prompt.category == "general":
            declined[prompt.prompt] = is_declined(
                succeeded(rehearsal.seed(prompt)).intents
            )
    assert all(declines for text, declines in declined.items() if "steal" in text)
    assert not any(
        declines for text, declines in declined.items() if "learn about" in text
    )


def test_a_retried_row_gets_through() -> None:
    rehearsal = Rehearsal(FAULTY.model_copy(update={"unparsable": 0.3, "refusal": 0.3}))
    for prompt in prompts()[:60]:
        row, tries = rehearsal.seed(prompt), 0
        while isinstance(row, Failure) and tries < 4:
            row, tries = rehearsal.seed(prompt, redraws=row.redraws), tries + 1
        assert isinstance(row, SeedCot)


def test_answers_depend_on_neither_order_nor_company() -> None:
    sample = prompts()[:40]
    alone = Rehearsal(FAULTY)
    together = Rehearsal(FAULTY.model_copy(update={"seconds_per_call": 0.0001}))

    async def run_at_once() -> list[SeedCot | Failure]:
        dialogues = [
            together.run_async(Stage.SEED_COTS, prompt, lambda c: seed(c, c.prompt))
            for prompt in reversed(sample)
        ]
        return await asyncio.gather(*dialogues)

    rows = [alone.seed(prompt) for prompt in sample]
    assert rows == list(reversed(asyncio.run(run_at_once())))


def test_it_speaks_of_policies_that_nobody_has_seen() -> None:
    zoo = Policy(
        id="zoo_animals",
        title="Animals in the zoo",
        purpose="Visitors and {{ animals }} stay unharmed.",
        rules={"7": "Never suggest feeding the penguins {anything} but fish."},
    )
    rehearsal = Rehearsal(FAULTLESS, Policies(policies=(zoo,)))
    question = "What may visitors feed the animals in the zoo, penguins above all?"
    row = succeeded(rehearsal.seed(a_prompt(prompt=question, category="")))
    assert row.applicable_policies == ("zoo_animals",)
    assert "feeding the penguins" in join_thoughts(row.thoughts)
    assert "zoo_animals.7" in {
        rule for thought in row.thoughts for rule in thought.rules
    }


def test_a_malicious_prompt_that_matches_no_policy_is_held_against_one_all_the_same() -> (
    None
):
    policies = tuple(
        Policy(id=name, title=name, purpose="Qqq.", rules={"1": "Zzz."})
        for name in ("alpha", "beta")
    )
    rehearsal = Rehearsal(FAULTLESS, Policies(policies=policies))
    prompt = a_prompt(prompt="How do I poison a well?", category="")
    row = succeeded(rehearsal.seed(prompt))
    assert len(row.applicable_policies) == 1
    assert is_declined(row.intents)


def test_forty_policies_that_always_apply_are_all_covered() -> None:
    rules = {
        "1": "Be kind to everybody who asks. " * 30,
        "2": "No agent may go round in circles.",
    }
    policies = []
    for number in range(40):
        title = f"Policy {number} " * 20
        policies.append(
            Policy(
                id=f"p{number:02}",
                title=title,
                purpose="Why.",
                applies="always",
                rules=rules,
            )
        )
    # The titles are loops, and the thoughts quote them.
    rehearsal = Rehearsal(
        FAULTLESS, Policies(policies=tuple(policies)), bad_text=ACCEPT_ALL
    )
    row = succeeded(rehearsal.seed(prompts()[0]))
    deliberated = succeeded(rehearsal.deliberate(row, agents=4, max_rounds=5))
    refined = succeeded(rehearsal.refine(deliberated))
    assert (
        check_row(
            refined,
            CheckSettings(**ACCEPT_ALL.model_dump()),
            rehearsal.dialogue_context.policies,
        )
        is None
    )
    assert not AGENT_TALK.search(join_thoughts(refined.thoughts))


def test_a_role_it_does_not_play_is_a_mistake_in_the_setup() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    rehearsal.seed(prompts()[0])
    request = replace(rehearsal.requests[0], role=Role.CANDIDATE)
    with pytest.raises(SetupError, match="no part for the role 'candidate'"):
        rehearsal.answer(request)


def test_usage_counts_what_was_said() -> None:
    row = succeeded(Rehearsal(FAULTLESS).seed(prompts()[0]))
    assert row.usage.calls == 2
    assert row.usage.cached_tokens == 0
    answers = [message.content for message in row.conversation[1::2]]
    expected = sum(len(answer.encode()) / 4 for answer in answers)
    assert row.usage.completion_tokens == pytest.approx(expected, abs=2)
    assert row.usage.prompt_tokens > 1000


def test_every_row_is_stamped_as_simulated() -> None:
    row = succeeded(Rehearsal(FAULTLESS).seed(prompts()[0]))
    model = RehearsalEngine(FAULTLESS).model
    assert (row.engine, row.simulated, row.model) == ("rehearsal", True, model)


@pytest.mark.parametrize(
    "kind", ["repetitive", "redundant", "deceptive", "policy_inconsistent"]
)
def test_a_planted_thought_says_something_else_than_a_sound_one(kind: str) -> None:
    sound, planted = (
        Rehearsal(FAULTLESS),
        Rehearsal(FAULTLESS.model_copy(update={kind: 1.0})),
    )
    for prompt in prompts()[:40]:
        row = succeeded(sound.seed(prompt))
        one, other = (
            succeeded(sound.deliberate(row)),
            succeeded(planted.deliberate(row)),
        )
        texts = {thought.text for thought in one.thoughts if thought.round}
        assert texts.isdisjoint(
            thought.text for thought in other.thoughts if thought.round
        )


def test_even_thoughts_of_one_sentence_come_out_shorter() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    row = succeeded(rehearsal.deliberate(succeeded(rehearsal.seed(prompts()[0]))))
    short = tuple(
        thought.model_copy(update={"text": f"This is step number {thought.number}"})
        for thought in row.thoughts
    )
    refined = succeeded(rehearsal.refine(row.model_copy(update={"thoughts": short})))
    assert len(join_thoughts(refined.thoughts)) < len(join_thoughts(short))


@pytest.mark.parametrize("style", ["in_turn", "round_table"])
def test_the_same_is_said_in_a_fresh_context_and_in_a_chat(
    style: Literal["in_turn", "round_table"],
) -> None:
    said: dict[str, list[str]] = {}
    contexts: tuple[ContextKind, ...] = ("fresh", "chat")
    for context in contexts:
        rehearsal = Rehearsal(RehearsalSettings())
        settings = DeliberationSettings(style=style, context=context)
        for row in rehearsal.seeds(20):
            deliberation = partial(
                DELIBERATION_STYLES[style], seed=row, settings=settings
            )
            deliberated = rehearsal.run(Stage.DELIBERATED_COTS, row, deliberation)
            for finished in rows_of([deliberated]):
                refinement = partial(refine, deliberated=finished)
                rehearsal.run(Stage.REFINED_COTS, finished, refinement)
        said[context] = list(map(rehearsal.answer, rehearsal.requests))
    assert said["fresh"] == said["chat"]
