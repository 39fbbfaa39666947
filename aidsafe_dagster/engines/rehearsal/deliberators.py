"""The deliberators: each turn agrees, or adds one or two thoughts and mends the response.

A sound thought makes one of the moves below. Which one is a matter of its number, so two deliberators seldom make the
same move on one prompt; a planted thought takes the place of a move.
"""

from aidsafe_dagster.engines.rehearsal.fault_plan import place_of
from aidsafe_dagster.engines.rehearsal.lines import LONGEST_RESPONSE, Speaker
from aidsafe_dagster.engines.rehearsal.lots import lot, pick
from aidsafe_dagster.engines.rehearsal.phrases.deliberators import (
    ADDED,
    COMMENTS,
    MENDS,
    NOTES,
    PLANTED,
)
from aidsafe_dagster.engines.rehearsal.reading import abridged, quotable
from aidsafe_dagster.recipe.answers import DeliberatorAnswer, ThoughtAnswer
from aidsafe_dagster.recipe.deliberated_cots import DeliberatorInputs
from aidsafe_dagster.recipe.records import ThoughtVerdict

MOVES = ("rule", "fair", "detail", "path", "intent", "safety", "tone")
_TWO_THOUGHTS = 0.3


def deliberated(speaker: Speaker, inputs: DeliberatorInputs) -> DeliberatorAnswer:
    """One turn."""
    if speaker.plan.agrees(speaker.prompt.prompt_id, inputs.agent, inputs.round, speaker.draw):
        return _agreement(speaker, inputs)
    response, thoughts, notes = inputs.response, list[ThoughtAnswer](), list[str]()
    for nth, number in enumerate(_numbers(speaker, inputs)):
        rule = _rule(speaker, inputs, thoughts)
        move, thought = _added(speaker, inputs, number, nth, rule)
        thoughts.append(thought)
        notes.append(NOTES[move].format(rule_id=rule))
        response = _mended(speaker, response, move)
    comment = "I " + ", and I ".join(notes) + "."
    if response != inputs.response:
        comment += speaker.say(COMMENTS, "mended")
    return DeliberatorAnswer(
        verdict="revise", comment=comment[:600], thoughts=thoughts, response=response
    )


def _agreement(speaker: Speaker, inputs: DeliberatorInputs) -> DeliberatorAnswer:
    stalled = place_of(inputs.agent, inputs.round) == "deliberator_1@1"
    comment = speaker.say(COMMENTS, "stalled" if stalled else "agree")
    response = inputs.response[:LONGEST_RESPONSE] or comment
    return DeliberatorAnswer(verdict="agree", comment=comment, thoughts=[], response=response)


def _numbers(speaker: Speaker, inputs: DeliberatorInputs) -> range:
    """Numbers of the thoughts that this turn adds."""
    after = len(inputs.thoughts)
    return range(after + 1, after + (3 if lot(speaker.key, "two") < _TWO_THOUGHTS else 2))


def _added(
    speaker: Speaker, inputs: DeliberatorInputs, number: int, nth: int, rule: str
) -> tuple[str, ThoughtAnswer]:
    """The planted fault of a thought, or else a move that nobody has made in these words; and the thought."""
    fault = speaker.plan.thought_fault(speaker.prompt.prompt_id, inputs.agent, inputs.round, nth)
    if fault is not ThoughtVerdict.KEEP:
        return fault.value, _said(speaker, inputs, fault, rule, number)
    told = {thought.text for thought in inputs.thoughts}
    offers = [
        (move, _said(speaker, inputs, move, rule, number))
        for move in _moves(speaker, inputs, number)
    ]
    return next((offer for offer in offers if offer[1].thought not in told), offers[0])


def _moves(speaker: Speaker, inputs: DeliberatorInputs, number: int) -> tuple[str, ...]:
    """Moves in the order in which they suggest themselves; for the first thought added, a rule is the likeliest."""
    added = number - 1 - sum(1 for thought in inputs.thoughts if not thought.round)
    start = int(lot(speaker.plan.settings.seed, speaker.prompt.prompt_id, "moves") * 2 * len(MOVES))
    apart = 2 * (int(inputs.agent.rpartition("_")[2]) - 1) if inputs.at_table else 0
    first = (added + apart + (start if start < len(MOVES) else 0)) % len(MOVES)
    return MOVES[first:] + MOVES[:first]


def _rule(speaker: Speaker, inputs: DeliberatorInputs, thoughts: list[ThoughtAnswer]) -> str:
    """A rule not yet cited, of a policy that nothing covers if there is one, else of an applicable one."""
    used = frozenset(
        rule for said in (inputs.thoughts, thoughts) for thought in said for rule in thought.rules
    )
    covered = {rule.partition(".")[0] for rule in used}
    applicable = inputs.applicable or speaker.policies.ids
    uncovered = [policy_id for policy_id in applicable if policy_id not in covered]
    policy_id = pick(uncovered or applicable, speaker.key, "policy", len(thoughts))
    return speaker.rule_of(policy_id, without=used)


def _said(
    speaker: Speaker, inputs: DeliberatorInputs, move: str, rule: str, number: int
) -> ThoughtAnswer:
    if move == ThoughtVerdict.REPETITIVE and inputs.thoughts:
        return _repeated(speaker, inputs, number)
    phrases = ADDED if move in MOVES else PLANTED
    text = speaker.take(phrases, move, number, intent=_wish(speaker, number), **speaker.cites(rule))
    names_rule = move in ("rule", ThoughtVerdict.POLICY_INCONSISTENT)
    supported = names_rule or (move in MOVES and lot(speaker.key, "supported", number) < 0.5)
    return ThoughtAnswer(thought=text, rules=[rule] if supported and inputs.applicable else [])


def _repeated(speaker: Speaker, inputs: DeliberatorInputs, number: int) -> ThoughtAnswer:
    seeds = [thought for thought in inputs.thoughts if not thought.round] or inputs.thoughts
    earlier = pick(seeds, speaker.key, "repeated", number)
    text = speaker.say(PLANTED, "repeated", number) + earlier.text
    return ThoughtAnswer(thought=text[:2400], rules=list(earlier.rules)[:8])


def _wish(speaker: Speaker, number: int) -> str:
    implicit = [i for i in speaker.intents if i.kind == "implicit"] or speaker.intents
    wish = (
        quotable(pick(implicit, speaker.key, "wish", number).text, 90)
        if implicit
        else "be understood"
    )
    return wish[:1].lower() + wish[1:]


def _mended(speaker: Speaker, response: str, move: str) -> str:
    """The response with the sentence that a move adds, unless it is there or there is no room."""
    name = f"{move}.{speaker.stance}"
    mend = MENDS[name].format(topic=speaker.reading.topic) if name in MENDS else ""
    response = abridged(response, LONGEST_RESPONSE)
    if not mend or mend in response or len(response) + len(mend) >= LONGEST_RESPONSE:
        return response or mend
    return f"{response} {mend}".strip()
