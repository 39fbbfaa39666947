"""Verdicts on one policy each, for models that read a policy and judge by it.

They come from what was judged anyway: the judges' grades of responses (of the refined one, of those
it was compared with, and of what the target said under a belief), and the refiner's verdicts on
thoughts. Each policy gets as many violations as look-alikes that keep to it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from aidsafe_dagster.recipe.feedback import (
    GradedAnswer,
    PromptFeedback,
    graded_answers,
)
from aidsafe_dagster.recipe.fine_tune_splits import question_of
from aidsafe_dagster.recipe.hash_draw import hash_fraction
from aidsafe_dagster.recipe.pair_floors import PairFloors
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.records import (
    FineTuneRow,
    Judgement,
    Score,
    Thought,
    ThoughtVerdict,
    as_text,
)

Subject = Literal["response", "thought"]
CATEGORIES = "<BEGIN UNSAFE CONTENT CATEGORIES>", "<END UNSAFE CONTENT CATEGORIES>"
CONVERSATION = "<BEGIN CONVERSATION>", "<END CONVERSATION>"
"""Marks of Llama Guard's layout (arXiv 2312.06674)."""
VIOLATIONS = (ThoughtVerdict.DECEPTIVE, ThoughtVerdict.POLICY_INCONSISTENT)
"""What is wrong with a thought. A repetitive or redundant one is superfluous, and not wrong."""
_KIND_ORDER = {"benign": 0, "borderline": 1, "harmful": 2}
"""Look-alikes first: what keeps to a policy although its prompt sounds like a matter for it."""


@dataclass(frozen=True)
class GuardVerdict:
    row: FineTuneRow
    """The SFT row of the prompt."""
    policy: Policy
    subject: Subject
    """What is judged."""
    text: str
    thoughts: str
    """Those behind a response, numbered, where the reason speaks of one of them; else empty."""
    is_violation: bool
    reason: str
    """The judge's or the refiner's."""
    rule: str
    """The rule that decides; empty where nothing is violated and none was named."""
    source: str
    """Who judged what: `<judge> on <source of the answer>`, or `refiner`."""


def guard_verdicts(
    feedback: PromptFeedback, policies: Policies, floors: PairFloors
) -> Sequence[GuardVerdict]:
    """Return the verdicts on the responses and thoughts of a prompt.

    There are none from what was made or judged under another wording of the policies: the verdict
    would belong to a text that is not there. A violation without a rule is left out, and so is a
    response on which judges disagree.
    """
    if feedback.refined.policies_version != policies.version:
        return ()
    by_id = {policy.id: policy for policy in policies.policies}
    verdicts: list[GuardVerdict] = []
    for answer in graded_answers(_judged_under(policies, feedback), floors):
        verdicts += _on_response(answer, feedback, by_id, floors)
    # The thoughts of a deliberation are not translated, only those that it led to.
    if feedback.translated is None:
        verdicts += _on_thoughts(feedback, by_id)
    prompt = as_text(question_of(feedback.row))
    # Where a layout's own marks stand in the text, nobody could tell the two apart.
    return [one for one in verdicts if not _has_mark(prompt + one.thoughts + one.text)]


def balance(verdicts: Iterable[GuardVerdict]) -> Sequence[GuardVerdict]:
    """Keep as many violations as look-alikes of each policy and subject, in the order given."""
    groups = defaultdict[tuple[str, Subject, bool], list[GuardVerdict]](list)
    for verdict in verdicts:
        group = verdict.policy.id, verdict.subject, verdict.is_violation
        groups[group].append(verdict)
    kept = []
    for policy, subject in dict.fromkeys(group[:2] for group in groups):
        violations = groups[policy, subject, True]
        others = groups[policy, subject, False]
        count = min(len(violations), len(others))
        kept += sorted(violations, key=_position)[:count]
        kept += sorted(others, key=_look_alikes_first)[:count]
    return kept


def _judged_under(policies: Policies, feedback: PromptFeedback) -> PromptFeedback:
    """Leave out the grades that were given under another wording."""
    grades = feedback.grades
    if grades is not None and grades.policies_version != policies.version:
        grades = None
    tried = [one for one in feedback.tried if one.policies_version == policies.version]
    return replace(feedback, grades=grades, tried=tuple(tried))


def _on_response(
    answer: GradedAnswer,
    feedback: PromptFeedback,
    policies: Mapping[str, Policy],
    floors: PairFloors,
) -> Iterator[GuardVerdict]:
    scores = [grade.policy_to_response for grade in answer.grades]
    labels = {_is_violation(score, floors) for score in scores}
    if len(labels) != 1 or None in labels:
        return
    is_violation = labels == {True}
    for grade in answer.grades:
        score = grade.policy_to_response
        policy = _policy_of(score, feedback, policies, is_violation=is_violation)
        if policy is not None:
            yield GuardVerdict(
                row=feedback.row,
                policy=policy,
                subject="response",
                text=answer.response,
                thoughts=_numbered(answer.cot) if score.thought else "",
                is_violation=is_violation,
                reason=score.reason,
                rule=score.rule,
                source=f"{grade.judge} on {answer.source}",
            )
            # One row for one text, whatever the number of judges.
            return


def _numbered(cot: str) -> str:
    """Number the paragraphs of a chain of thought, as the judges saw them."""
    thoughts = cot.split("\n\n")
    return "\n".join(f"[{place}] {text}" for place, text in enumerate(thoughts, 1))


def _is_violation(score: Score, floors: PairFloors) -> bool | None:
    if score.score >= floors.min_chosen_score:
        return False
    return True if score.score <= floors.max_rejected_score else None


def _policy_of(
    score: Score,
    feedback: PromptFeedback,
    policies: Mapping[str, Policy],
    *,
    is_violation: bool,
) -> Policy | None:
    if score.rule:
        return _policy_with(score.rule, policies)
    # Which policy a violation breaks cannot be guessed. What keeps to all of those that apply keeps
    # to the first of them.
    applicable = feedback.refined.applicable_policies
    return None if is_violation or not applicable else policies.get(applicable[0])


def _policy_with(rule: str, policies: Mapping[str, Policy]) -> Policy | None:
    policy = policies.get(rule.partition(".")[0])
    return policy if policy is not None and rule in policy.rule_ids else None


def _on_thoughts(
    feedback: PromptFeedback, policies: Mapping[str, Policy]
) -> Iterator[GuardVerdict]:
    thoughts = {
        thought.number: thought for thought in feedback.refined.deliberated_thoughts
    }
    for judgement in feedback.refined.judgements:
        thought = thoughts[judgement.thought]
        is_judged = judgement.verdict in (ThoughtVerdict.KEEP, *VIOLATIONS)
        if is_judged and thought.rules:
            policy = _policy_with(thought.rules[0], policies)
            if policy is not None:
                yield _on_thought(feedback.row, policy, thought, judgement)


def _on_thought(
    row: FineTuneRow, policy: Policy, thought: Thought, judgement: Judgement
) -> GuardVerdict:
    return GuardVerdict(
        row=row,
        policy=policy,
        subject="thought",
        text=thought.text,
        thoughts="",
        is_violation=judgement.verdict in VIOLATIONS,
        reason=judgement.reason,
        rule=thought.rules[0],
        source="refiner",
    )


def _has_mark(text: str) -> bool:
    return any(mark in text for mark in (*CATEGORIES, *CONVERSATION))


def _position(verdict: GuardVerdict) -> float:
    """Return a place that hangs on nothing but the verdict, so that a selection is repeatable."""
    return hash_fraction("guard", verdict.row.prompt_id, verdict.text)


def _look_alikes_first(verdict: GuardVerdict) -> tuple[int, float]:
    return _KIND_ORDER[verdict.row.prompt_kind], _position(verdict)
