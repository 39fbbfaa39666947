"""The refiner: a verdict on each thought, and what is left of them as a shorter chain of thought.

It recognises planted thoughts by their opening words, errs at the rates of the settings, and
otherwise does the real work: it leaves out elaborations and covers every applicable policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aidsafe_dagster.engines.rehearsal.faults import (
    REFINER_FAULTS,
    THOUGHT_FAULTS,
    Fault,
)
from aidsafe_dagster.engines.rehearsal.phrasebook import begins_with
from aidsafe_dagster.engines.rehearsal.planted import Reply
from aidsafe_dagster.engines.rehearsal.reading import (
    abridge,
    policy_of,
    split_sentences,
)
from aidsafe_dagster.engines.rehearsal.speaker import MOST_RULES, Speaker
from aidsafe_dagster.recipe.answers import (
    JudgementAnswer,
    RefinedThoughtAnswer,
    RefinerAnswer,
)
from aidsafe_dagster.recipe.records import Thought, ThoughtVerdict
from aidsafe_dagster.recipe.refined_cots import RefinerInputs

_KEEP = ThoughtVerdict.KEEP
_WRONG_VERDICTS = (ThoughtVerdict.REDUNDANT, ThoughtVerdict.REPETITIVE)


@dataclass
class _Draft:
    """A final thought in the making."""

    sentences: list[str]
    rules: list[str]
    origin: int
    """Number of the deliberated thought that it is made from."""

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def refine_thoughts(speaker: Speaker, inputs: RefinerInputs) -> Reply:
    """Judge the thoughts in their order, then write the final thoughts."""
    rates = speaker.rates(REFINER_FAULTS)
    fault = speaker.call_dice.choose(rates, "refined")
    # No policy can be missing where none applies.
    if fault is Fault.MISSING_POLICY and not inputs.applicable:
        fault = None
    judgements = []
    kept = []
    for thought in inputs.thoughts:
        planted = recognise(thought.text)
        verdict = _choose_verdict(speaker, planted, thought, fault)
        judgements.append(_judgement(speaker, thought, verdict))
        if verdict is _KEEP:
            kept.append(thought)
    # A chain of thought has at least one thought, even if the refiner likes none of them.
    sources = kept or inputs.thoughts[:1]
    thoughts = []
    for draft in _final_drafts(speaker, inputs, sources, fault):
        thought_answer = RefinedThoughtAnswer(
            thought=draft.text, rules=draft.rules, origins=[draft.origin]
        )
        thoughts.append(thought_answer)
    answer = RefinerAnswer(
        judgements=judgements, thoughts=thoughts, response=inputs.response
    )
    faults = (fault,) if fault else ()
    return Reply(answer, faults)


def recognise(thought: str) -> ThoughtVerdict:
    """Return the verdict that a deliberated thought deserves, by its opening words."""
    for fault in THOUGHT_FAULTS:
        if begins_with(thought, f"planted.{fault}"):
            return ThoughtVerdict(fault)
    return _KEEP


def _choose_verdict(
    speaker: Speaker, planted: ThoughtVerdict, thought: Thought, fault: Fault | None
) -> ThoughtVerdict:
    """Return the refiner's verdict, its errors included."""
    is_sound = planted is _KEEP
    if fault is Fault.OVER_FILTERED:
        if thought.number == 1:
            return _KEEP
        return ThoughtVerdict.REDUNDANT if is_sound else planted
    error = "refiner_false_removals" if is_sound else "refiner_misses"
    errs = speaker.call_dice.hits(speaker.rate(error), "verdict", thought.number)
    if not errs:
        return planted
    if is_sound:
        return speaker.call_dice.pick(_WRONG_VERDICTS, "wrong verdict", thought.number)
    return _KEEP


def _judgement(
    speaker: Speaker, thought: Thought, verdict: ThoughtVerdict
) -> JudgementAnswer:
    name: str = verdict
    if verdict is _KEEP:
        name = "keep.rules" if thought.rules else "keep.plain"
    # More than three ids make no readable sentence.
    rules = " and ".join(thought.rules[:3]) or "the policies"
    reason = speaker.say(f"judgements.{name}", thought.number, rule_ids=rules)
    return JudgementAnswer(reason=reason, verdict=verdict)


def _final_drafts(
    speaker: Speaker,
    inputs: RefinerInputs,
    kept: Sequence[Thought],
    fault: Fault | None,
) -> list[_Draft]:
    due = list(inputs.applicable)
    if fault is Fault.OVER_FILTERED:
        # Far too little, though every policy is cited.
        line = speaker.say("refined.over_filtered")
        rules = speaker.best_rules(due[:MOST_RULES])
        drafts = [_Draft([line], rules, kept[0].number)]
    else:
        drafts = _shortened_drafts(speaker, inputs, kept)
    if fault is Fault.MISSING_POLICY:
        missing = speaker.call_dice.pick(due, "missing policy")
        # Not due any more, or the bridges below would bring it back.
        due.remove(missing)
        for draft in drafts:
            draft.rules = [rule for rule in draft.rules if policy_of(rule) != missing]
    # In front of the last draft, which is the decision.
    drafts[-1:-1] = _bridges(speaker, drafts, due)
    if fault is Fault.AGENT_TALK:
        _add_agent_talk(speaker, inputs.thoughts[-1], drafts[-1])
    return drafts


def _shortened_drafts(
    speaker: Speaker, inputs: RefinerInputs, kept: Sequence[Thought]
) -> list[_Draft]:
    """Return a draft per kept thought, the decision last; together, a shorter text.

    The middle sentence of a thought elaborates and goes first, then the last one. The first and
    the last thought keep theirs longest.
    """
    drafts = []
    for thought in _decision_last(kept):
        sentences = split_sentences(thought.text)
        drafts.append(_Draft(sentences, list(thought.rules), thought.number))
    deliberated = sum(len(thought.text) for thought in inputs.thoughts)
    # The paper's refined CoTs have about two thirds of the deliberated tokens.
    share = 0.62 + 0.12 * speaker.call_dice.roll("share")
    _drop_elaborations(drafts, share * deliberated)
    # Thoughts of a single sentence lose words, if nothing else makes the text shorter.
    for draft in reversed(drafts):
        if _length(drafts) >= deliberated:
            half = max(len(draft.text) // 2, 1)
            draft.sentences = [abridge(draft.text, half)]
    return drafts


def _decision_last(kept: Sequence[Thought]) -> list[Thought]:
    """Return the thoughts in their order, the last seed thought behind those of the agents."""
    seed_numbers = [thought.number for thought in kept if not thought.round]
    last_seed = max(seed_numbers, default=0)
    # The first seed thought reads the prompt. It decides nothing, even if it is the only one left.
    if last_seed <= 1:
        return list(kept)
    return sorted(kept, key=lambda thought: thought.number == last_seed)


def _drop_elaborations(drafts: list[_Draft], target: float) -> None:
    """Drop sentences until the drafts have `target` characters, or a sentence each."""
    # From the middle outwards: the reading and the decision keep their sentences longest.
    middle = (len(drafts) - 1) / 2
    places = sorted(range(len(drafts)), key=lambda place: abs(place - middle))
    # Every draft comes down to two sentences before any of them has to make do with one.
    for fewest in (2, 1):
        for place in places:
            sentences = drafts[place].sentences
            while len(sentences) > fewest and _length(drafts) > target:
                del sentences[1]


def _length(drafts: list[_Draft]) -> int:
    return sum(len(draft.text) + 1 for draft in drafts)


def _bridges(speaker: Speaker, drafts: list[_Draft], due: list[str]) -> list[_Draft]:
    """Return lines for the due policies that lost their thought."""
    covered: set[str] = set()
    for draft in drafts:
        covered.update(map(policy_of, draft.rules))
    lost = [policy_id for policy_id in due if policy_id not in covered]
    bridges = []
    for start in range(0, len(lost), MOST_RULES):
        group = lost[start : start + MOST_RULES]
        titles = speaker.list_titles(group)
        line = speaker.say("refined.bridge", others=titles)
        rules = speaker.best_rules(group)
        bridges.append(_Draft([line], rules, drafts[-1].origin))
    return bridges


def _add_agent_talk(speaker: Speaker, last: Thought, draft: _Draft) -> None:
    # If no agent added anything, the leak blames the first one's turn.
    agent = "1"
    if last.round:
        agent = last.agent.rpartition("_")[2]
    leak = speaker.say("refined.agent_talk", n=agent, r=max(last.round, 1))
    # The leak is the beginning of a sentence, such as "Agent 2 added that".
    text = draft.text
    draft.sentences = [leak + text[:1].lower() + text[1:]]
