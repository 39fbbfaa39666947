"""The deliberators and the moderator of a round table.

A turn agrees, or adds one or two thoughts and mends the response. A sound thought makes one of the
moves below, the next one for each number, so that deliberators do not repeat each other. A planted
thought takes the place of a move.
"""

from collections.abc import Sequence

from aidsafe_dagster.engines.rehearsal.faults import THOUGHT_FAULTS, Fault
from aidsafe_dagster.engines.rehearsal.phrasebook import phrases
from aidsafe_dagster.engines.rehearsal.planted import Reply
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
    opens = inputs.round == 1 and (inputs.at_table or inputs.agent == agent_name(1))
    if opens and _stalls(speaker):
        return Reply(_agreement(speaker, inputs, "comments.stalled"), (Fault.STALLED,))
    # The longer a deliberation goes on, the likelier is an agreement.
    chance = min(0.35 + 0.1 * inputs.round, 0.8)
    if not opens and speaker.call_dice.hits(chance, "agrees"):
        return Reply(_agreement(speaker, inputs, "comments.agree"))
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
            if new.thought not in known:
                known.add(new.thought)
                author = opinion.number
                merged.append(
                    MergedThoughtAnswer(
                        thought=new.thought, rules=new.rules, author=author
                    )
                )
        mend = opinion.answer.response.removeprefix(inputs.response).strip()
        if mend not in response:
            response = f"{response} {mend}"
    return Reply(ModeratorAnswer(thoughts=merged, response=response))


def _stalls(speaker: Speaker) -> bool:
    # The dice of the prompt: at a round table, all stall or none.
    rate = speaker.rate(Fault.STALLED)
    return speaker.prompt_dice.hits(rate, Fault.STALLED, speaker.draw)


def _agreement(
    speaker: Speaker, inputs: DeliberatorInputs, comments: str
) -> DeliberatorAnswer:
    comment = speaker.say(comments)
    return DeliberatorAnswer(
        verdict="agree",
        comment=comment,
        thoughts=[],
        response=inputs.response or comment,
    )


def _revision(speaker: Speaker, inputs: DeliberatorInputs) -> Reply:
    rates = {fault: speaker.rate(fault) for fault in THOUGHT_FAULTS}
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
            thoughts.append(_sound_thought(speaker, inputs, number, rule))
            mend = speaker.say_by_stance(f"mends.{note}")
            response = response if mend in response else f"{response} {mend}"
        else:
            note = fault
            thoughts.append(_planted_thought(speaker, inputs, fault, rule))
            faults[index] = fault
        notes.append(speaker.say(f"notes.{note}", rule_id=rule))
    comment = f"I {', and I '.join(notes)}."
    if response != inputs.response:
        comment += speaker.say("comments.mended")
    answer = DeliberatorAnswer(
        verdict="revise", comment=comment, thoughts=thoughts, response=response
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
    covered = {rule.partition(".")[0] for rule in used}
    applicable = inputs.applicable or speaker.policies.ids
    uncovered = [policy_id for policy_id in applicable if policy_id not in covered]
    policy_id = speaker.call_dice.pick(uncovered or applicable, "policy", len(thoughts))
    return speaker.best_rule(policy_id, frozenset(used))


def _move_number(speaker: Speaker, inputs: DeliberatorInputs) -> int:
    """Return the number of the first move of a turn, which goes by the thoughts so far."""
    number = int(speaker.prompt_dice.roll("moves") * len(MOVES)) + len(inputs.thoughts)
    if inputs.at_table:
        # All see the same thoughts, and each of them may make two moves.
        number += 2 * int(inputs.agent.rpartition("_")[2])
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
    text = speaker.fill(phrase, intent=wish, **speaker.cite(rule))
    cites = move == "rule" or speaker.call_dice.hits(0.5, "cites", number)
    rules = [rule] if cites and inputs.applicable else []
    return ThoughtAnswer(thought=text, rules=rules)


def _planted_thought(
    speaker: Speaker, inputs: DeliberatorInputs, fault: Fault, rule: str
) -> ThoughtAnswer:
    if fault is Fault.REPETITIVE:
        earlier = speaker.call_dice.pick(inputs.thoughts, "repeated", rule)
        text = speaker.say("planted.repetitive") + earlier.text
        return ThoughtAnswer(thought=text, rules=list(earlier.rules))
    text = speaker.say_by_stance(f"planted.{fault}", **speaker.cite(rule))
    cites = fault is Fault.POLICY_INCONSISTENT and inputs.applicable
    return ThoughtAnswer(thought=text, rules=[rule] if cites else [])
