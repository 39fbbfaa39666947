"""The deliberators and the moderator of a round table.

A turn agrees, or adds one or two thoughts and mends the response. A sound thought makes one of the
moves below, the next one for each number, so that deliberators do not repeat each other. A planted
thought takes the place of a move.
"""

from collections.abc import Sequence

from aidsafe_dagster.engines.rehearsal.faults import THOUGHT_FAULTS, Fault
from aidsafe_dagster.engines.rehearsal.phrasebook import phrases
from aidsafe_dagster.engines.rehearsal.planted import Reply
from aidsafe_dagster.engines.rehearsal.reading import policy_of
from aidsafe_dagster.engines.rehearsal.speaker import Speaker
from aidsafe_dagster.recipe.answers import (
    DeliberatorAnswer,
    MergedThoughtAnswer,
    ModeratorAnswer,
    ThoughtAnswer,
)
from aidsafe_dagster.recipe.deliberated_cots import DeliberatorInputs, agent_name
from aidsafe_dagster.recipe.round_table import ModeratorInputs

MOVES = ("rule", "fair", "detail", "path", "intent", "safety", "tone")
_TWO_THOUGHTS = 0.3


def take_turn(speaker: Speaker, inputs: DeliberatorInputs) -> Reply:
    """Agree, or add thoughts and mend the response."""
    # At a table, nobody sees what the others of the round say, so all of them open.
    is_first_to_speak = inputs.at_table or inputs.agent == agent_name(1)
    opens = inputs.round == 1 and is_first_to_speak
    if opens and _stalls(speaker):
        answer = _agreement(speaker, "comments.stalled")
        return Reply(answer, (Fault.STALLED,))
    # The longer a deliberation goes on, the likelier is an agreement.
    chance = min(0.35 + 0.1 * inputs.round, 0.8)
    # Whoever opens agrees only by the planted fault, or its rate would not be the one that is set.
    if not opens and speaker.call_dice.hits(chance, "agrees"):
        answer = _agreement(speaker, "comments.agree")
        return Reply(answer)
    return _revision(speaker, inputs)


def merge_opinions(_: Speaker, inputs: ModeratorInputs) -> Reply:
    """Put opinions together: each thought once, and the response with everybody's mends."""
    known = {thought.text for thought in inputs.thoughts}
    merged = []
    response = inputs.response
    for opinion in inputs.opinions:
        if opinion.agrees:
            continue
        for new in opinion.answer.thoughts:
            if new.thought in known:
                continue
            known.add(new.thought)
            thought = MergedThoughtAnswer(
                thought=new.thought, rules=new.rules, author=opinion.number
            )
            merged.append(thought)
        # A deliberator only ever adds to the end of the response that all of them were shown.
        mend = opinion.answer.response.removeprefix(inputs.response).strip()
        if mend not in response:
            response = f"{response} {mend}"
    return Reply(ModeratorAnswer(thoughts=merged, response=response))


def _stalls(speaker: Speaker) -> bool:
    # The dice of the prompt: at a round table, all stall or none.
    rate = speaker.rate(Fault.STALLED)
    return speaker.prompt_dice.hits(rate, Fault.STALLED, speaker.draw)


def _agreement(speaker: Speaker, comments: str) -> DeliberatorAnswer:
    return DeliberatorAnswer(comment=speaker.say(comments), verdict="agree")


def _revision(speaker: Speaker, inputs: DeliberatorInputs) -> Reply:
    rates = speaker.rates(THOUGHT_FAULTS)
    count = 2 if speaker.call_dice.hits(_TWO_THOUGHTS, "two thoughts") else 1
    thoughts: list[ThoughtAnswer] = []
    faults: dict[int, Fault] = {}
    notes = []
    response = inputs.response
    for index in range(count):
        rule = _next_rule(speaker, inputs, thoughts)
        fault = speaker.call_dice.choose(rates, "thought", index)
        if fault is None:
            number = _move_number(speaker, inputs) + index
            note = MOVES[number % len(MOVES)]
            thought = _sound_thought(speaker, inputs, number, rule)
            # The response is mended by sound thoughts alone, or a planted one would spoil it.
            mend = speaker.say_by_stance(f"mends.{note}")
            if mend not in response:
                response = f"{response} {mend}"
        else:
            note = fault
            thought = _planted_thought(speaker, inputs, fault, rule)
            faults[index] = fault
        thoughts.append(thought)
        note_text = speaker.say(f"notes.{note}", rule_id=rule)
        notes.append(note_text)
    actions = ", and I ".join(notes)
    comment = f"I {actions}."
    if response != inputs.response:
        comment += speaker.say("comments.mended")
    answer = DeliberatorAnswer(
        comment=comment, verdict="revise", thoughts=thoughts, response=response
    )
    return Reply(answer, thought_faults=faults)


def _next_rule(
    speaker: Speaker, inputs: DeliberatorInputs, thoughts: Sequence[ThoughtAnswer]
) -> str:
    """Return a rule not cited yet, of a policy that no thought covers if there is one."""
    used: set[str] = set()
    for earlier in inputs.thoughts:
        used.update(earlier.rules)
    for thought in thoughts:
        used.update(thought.rules)
    covered = set(map(policy_of, used))
    applicable = inputs.applicable or speaker.policies.ids
    uncovered = [policy_id for policy_id in applicable if policy_id not in covered]
    # Once all policies are covered, any of them may have a further rule to cite.
    candidates = uncovered or applicable
    policy_id = speaker.call_dice.pick(candidates, "policy", len(thoughts))
    return speaker.best_rule(policy_id, frozenset(used))


def _move_number(speaker: Speaker, inputs: DeliberatorInputs) -> int:
    """Return the number of the first move of a turn, which goes by the thoughts so far."""
    # The dice of the prompt: all deliberators count from the same move, so none repeats another.
    first_move = int(speaker.prompt_dice.roll("moves") * len(MOVES))
    number = first_move + len(inputs.thoughts)
    if inputs.at_table:
        # All see the same thoughts, and each of them may make two moves.
        agent = int(inputs.agent.rpartition("_")[2])
        number += 2 * agent
    return number


def _sound_thought(
    speaker: Speaker, inputs: DeliberatorInputs, number: int, rule: str
) -> ThoughtAnswer:
    # When the moves are through, the next phrase of each is due.
    times, index = divmod(number, len(MOVES))
    move = MOVES[index]
    options = phrases(f"added.{move}.{speaker.stance}")
    phrase = options[times % len(options)]
    wish = speaker.implicit_wish() or "be understood"
    fields = speaker.cite(rule)
    text = speaker.fill(phrase, intent=wish, **fields)
    cites = move == "rule" or speaker.call_dice.hits(0.5, "cites", number)
    # Without an applicable policy there still is a rule to talk about, but none to cite.
    if not inputs.applicable:
        cites = False
    return ThoughtAnswer(thought=text, rules=[rule] if cites else [])


def _planted_thought(
    speaker: Speaker, inputs: DeliberatorInputs, fault: Fault, rule: str
) -> ThoughtAnswer:
    if fault is Fault.REPETITIVE:
        earlier = speaker.call_dice.pick(inputs.thoughts, "repeated", rule)
        # The refiner and the judges recognise the fault by the phrase in front.
        text = speaker.say("planted.repetitive") + earlier.text
        return ThoughtAnswer(thought=text, rules=list(earlier.rules))
    fields = speaker.cite(rule)
    text = speaker.say_by_stance(f"planted.{fault}", **fields)
    rules = []
    if fault is Fault.POLICY_INCONSISTENT and inputs.applicable:
        rules.append(rule)
    return ThoughtAnswer(thought=text, rules=rules)
