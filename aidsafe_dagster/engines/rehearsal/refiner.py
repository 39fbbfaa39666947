"""The refiner: a verdict on each thought, and what is left of them as a shorter chain of thought.

It works out from the plan which thoughts were planted, errs where the plan says so, and otherwise does the real work:
joins thoughts on the same policy, leaves out elaborations, and sees that every applicable policy is covered.
"""

from dataclasses import dataclass, replace

from aidsafe_dagster.engines.rehearsal.fault_plan import INITIALIZER
from aidsafe_dagster.engines.rehearsal.faults import RefinerFault
from aidsafe_dagster.engines.rehearsal.lines import LONGEST_RESPONSE, MOST_RULES, Speaker
from aidsafe_dagster.engines.rehearsal.lots import lot
from aidsafe_dagster.engines.rehearsal.phrases.refiner import JUDGEMENTS, REFINED
from aidsafe_dagster.engines.rehearsal.shortening import sentences, shortened
from aidsafe_dagster.recipe.answers import JudgementAnswer, RefinedThoughtAnswer, RefinerAnswer
from aidsafe_dagster.recipe.records import Thought, ThoughtVerdict
from aidsafe_dagster.recipe.refined_cots import RefinerInputs

_MOST_THOUGHTS = 12
_LONGEST_THOUGHT = 2400


@dataclass(frozen=True)
class Draft:
    """A final thought in the making."""

    parts: tuple[tuple[str, ...], ...]
    """Sentences of each thought it is made from."""
    rules: tuple[str, ...]
    origins: tuple[int, ...]

    @property
    def text(self) -> str:
        return " ".join(sentence for part in self.parts for sentence in part)


def refined(speaker: Speaker, inputs: RefinerInputs) -> RefinerAnswer:
    """Judgements in the order of the thoughts, then the final thoughts and the response."""
    plan, prompt_id = speaker.plan, speaker.prompt.prompt_id
    true = plan.thought_faults(prompt_id, inputs.thoughts)
    verdicts = [
        plan.judged(prompt_id, t.number, true[t.number], speaker.draw) for t in inputs.thoughts
    ]
    judgements = [
        _judgement(speaker, inputs, thought, verdict, true[thought.number])
        for thought, verdict in zip(inputs.thoughts, verdicts, strict=True)
    ]
    kept = [
        t
        for t, verdict in zip(inputs.thoughts, verdicts, strict=True)
        if verdict is ThoughtVerdict.KEEP
    ]
    final = _final(speaker, inputs, tuple(kept or inputs.thoughts[:1]))
    return RefinerAnswer(
        judgements=judgements,
        thoughts=[_answer(draft) for draft in final],
        response=inputs.response[:LONGEST_RESPONSE],
    )


def _judgement(
    speaker: Speaker,
    inputs: RefinerInputs,
    thought: Thought,
    verdict: ThoughtVerdict,
    true: ThoughtVerdict,
) -> JudgementAnswer:
    name = verdict.value
    if verdict is ThoughtVerdict.KEEP and thought.rules:
        name = "keep.rules"
    elif verdict is not ThoughtVerdict.KEEP and true is ThoughtVerdict.KEEP:
        name = f"false.{verdict.value}"
    reason = speaker.say(
        JUDGEMENTS,
        name,
        thought.number,
        rule_ids=" and ".join(thought.rules[:3]) or "the policies",
        earlier=_earlier(inputs.thoughts, thought),
    )
    return JudgementAnswer(verdict=verdict, reason=reason)


def _earlier(thoughts: tuple[Thought, ...], thought: Thought) -> int:
    """Number of the thought that this one repeats, or else of the one before."""
    repeated = [t.number for t in thoughts if t.number < thought.number and t.text in thought.text]
    return repeated[0] if repeated else max(thought.number - 1, 1)


def _final(speaker: Speaker, inputs: RefinerInputs, kept: tuple[Thought, ...]) -> list[Draft]:
    prompt_id, draw = speaker.prompt.prompt_id, speaker.draw
    fault = speaker.plan.refiner_fault(prompt_id, draw, covers=bool(inputs.applicable))
    if fault is RefinerFault.OVER_FILTERED:
        return _a_line(speaker, inputs, kept)
    due, drafts = list(inputs.applicable), _joined(kept)
    if fault is RefinerFault.MISSING_POLICY:
        lacks = speaker.plan.left_out(prompt_id, inputs.applicable, draw)
        due.remove(lacks)
        drafts = _without(drafts, lacks)
    length = sum(len(thought.text) for thought in inputs.thoughts)
    share = 0.62 + 0.12 * lot(speaker.key, "share")
    drafts = shortened_drafts(_bridged(speaker, drafts, due), length, share)
    if fault is RefinerFault.AGENT_TALK:
        drafts[-1] = _leaking(speaker, inputs, drafts[-1])
    return drafts


def _joined(kept: tuple[Thought, ...]) -> list[Draft]:
    """In good order: seed thoughts, each followed by what was added on its policy; the rest; the decision last.

    At most 12 final thoughts: beyond that, neighbours are joined.
    """
    last_seed = max((t.number for t in kept if t.agent == INITIALIZER), default=0)
    drafts: list[Draft] = []
    closing: list[Draft] = []
    for thought in kept:
        draft = Draft((sentences(thought.text),), thought.rules, (thought.number,))
        place = next((i for i, d in enumerate(drafts) if _same_policy(d, draft)), None)
        if thought.number == last_seed and thought.number > 1:
            closing.append(draft)
        elif place is not None and thought.agent != INITIALIZER:
            drafts[place] = _together(drafts[place], draft)
        else:
            drafts.append(draft)
    return _at_most(_MOST_THOUGHTS, drafts + closing)


def _same_policy(one: Draft, other: Draft) -> bool:
    if len(one.origins) > 1 or not (one.rules and other.rules):
        return False
    return one.rules[0].partition(".")[0] == other.rules[0].partition(".")[0]


def _at_most(most: int, drafts: list[Draft]) -> list[Draft]:
    while len(drafts) > most:
        place = min(
            range(len(drafts) - 1), key=lambda i: len(drafts[i].text) + len(drafts[i + 1].text)
        )
        drafts[place : place + 2] = [_together(drafts[place], drafts[place + 1])]
    return drafts


def _together(one: Draft, other: Draft) -> Draft:
    rules = tuple(dict.fromkeys(one.rules + other.rules))
    return Draft(one.parts + other.parts, rules, one.origins + other.origins)


def _without(drafts: list[Draft], policy_id: str) -> list[Draft]:
    """Drafts that cite no rule of a policy; those that rest on it alone are left out while others remain."""
    stripped = [
        replace(d, rules=tuple(r for r in d.rules if r.partition(".")[0] != policy_id))
        for d in drafts
    ]
    left = [
        after
        for before, after in zip(drafts, stripped, strict=True)
        if after.rules or not before.rules
    ]
    return left if len(left) > 2 else stripped


def _bridged(speaker: Speaker, drafts: list[Draft], due: list[str]) -> list[Draft]:
    """With a line for the policies that are due and lost their thought, before the decision."""
    drafts = [replace(draft, rules=draft.rules[:MOST_RULES]) for draft in drafts]
    covered = {rule.partition(".")[0] for draft in drafts for rule in draft.rules}
    lost = [policy_id for policy_id in due if policy_id not in covered]
    origin = drafts[-1].origins[:1]
    bridges = []
    for start in range(0, len(lost), MOST_RULES):
        group = lost[start : start + MOST_RULES]
        line = speaker.say(REFINED, "bridge", start, others=speaker.titles(group))
        bridges.append(
            Draft(((line,),), tuple(speaker.rule_of(policy_id) for policy_id in group), origin)
        )
    return [*drafts[:-1], *bridges, drafts[-1]]


def shortened_drafts(drafts: list[Draft], length: int, share: float) -> list[Draft]:
    """Drafts at about `share` of the deliberated `length` (characters), and shorter than it in any case."""
    parts = shortened([part for draft in drafts for part in draft.parts], length, share)
    rest = iter(parts)
    return [replace(draft, parts=tuple(next(rest) for _ in draft.parts)) for draft in drafts]


def _a_line(speaker: Speaker, inputs: RefinerInputs, kept: tuple[Thought, ...]) -> list[Draft]:
    """Far too little, though every policy is named."""
    rules = [speaker.rule_of(policy_id) for policy_id in inputs.applicable]
    line = ((speaker.say(REFINED, "over_filtered"),),)
    groups = [
        tuple(rules[start : start + MOST_RULES]) for start in range(0, len(rules), MOST_RULES)
    ] or [()]
    return [Draft(line, group, (kept[0].number,)) for group in groups]


def _leaking(speaker: Speaker, inputs: RefinerInputs, draft: Draft) -> Draft:
    """A draft that tells of the making-of."""
    last = inputs.thoughts[-1]
    n = last.agent.rpartition("_")[2] if last.round else 1
    words = speaker.say(REFINED, "agent_talk", n=n, r=max(last.round, 1))
    text = words + draft.text[:1].lower() + draft.text[1:]
    return replace(draft, parts=((text,),))


def _answer(draft: Draft) -> RefinedThoughtAnswer:
    return RefinedThoughtAnswer(
        thought=draft.text[:_LONGEST_THOUGHT],
        rules=list(draft.rules[:MOST_RULES]),
        origins=list(draft.origins[:_MOST_THOUGHTS]),
    )
