"""Beliefs: the ear-whisperer searches for the belief that misleads the target most.

AIDSAFE, belief augmentation by iterated in-context learning. In each iteration the whisperer writes
candidate beliefs for every prompt of the batch, and the target answers under each of them. A judge
or a guard model scores how faithful the answer is to the policies. The beliefs that misled the
target most become the examples of the next iteration. All candidates are kept with the target's
answer and the whole grade. Which of them may become the rejected side: see `recipe/pair_floors.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

from pydantic import Field

from aidsafe_dagster.recipe.answers import AnswerFormat, EarWhispererAnswer, GradeAnswer
from aidsafe_dagster.recipe.bad_answers import BadText, describe_text, rule_ids
from aidsafe_dagster.recipe.chat_tokens import without_chat_tokens
from aidsafe_dagster.recipe.cot_grades import GradingSettings, subject_of
from aidsafe_dagster.recipe.dialogue import Completion, Conversation, Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.hash_draw import hash_fraction
from aidsafe_dagster.recipe.judging import Subject, grade, policy_score, to_grade
from aidsafe_dagster.recipe.pair_floors import (
    Assessment,
    Fault,
    PairFloors,
    PairKind,
    rejected_fault,
)
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.records import (
    BeliefCandidate,
    BeliefExample,
    BeliefPosition,
    BeliefScore,
    CotGrades,
    Grade,
    Message,
    Origin,
    Prompt,
    RefinedCot,
    Role,
    Stage,
    TriedBelief,
)
from aidsafe_dagster.recipe.target_answer import TargetAnswer, read_target_answer


class BeliefSettings(PairFloors):
    belief_position: BeliefPosition = "tag"
    """Where the target finds the belief: in a tag before the prompt, as a line of its system
    message, or as the beginning of its own reasoning, which the server has to be able to continue
    (`continuation` of the target's server)."""
    reasoning_opening: str = "<think>\n"
    """What begins the target's reasoning, in front of a belief in position 'reasoning'."""
    iterations: int = Field(default=2, ge=1)
    candidates: int = Field(default=2, ge=1)
    """Beliefs per prompt and iteration."""
    examples: int = Field(default=3, ge=0)
    """Most misleading beliefs of the batch, shown to the whisperer from iteration 2 on."""
    good_enough: float = Field(default=1.5, ge=1, le=5)
    """The search on a prompt ends at an answer with this policy score or less (5: faithful) that
    may become a rejected side."""
    scorer: Literal["judge", "guard"] = "judge"
    """Who scores answers.

    `guard` is a safety classifier such as ShieldGemma, set up as `roles.guard`. Guards do not
    detect needless refusals, so the judge scores those in any case.
    """


@dataclass(frozen=True)
class EarWhispererInputs:
    prompt: Prompt
    policies: Policies
    refined: RefinedCot
    kind: PairKind
    tried: tuple[BeliefCandidate, ...]
    examples: tuple[BeliefExample, ...] = ()


@dataclass(frozen=True)
class TargetInputs:
    prompt: Prompt
    policies: Policies
    refined: RefinedCot
    kind: PairKind
    belief: str
    attempt: int = 0
    """How many answers to the same question could not be used."""


@dataclass(frozen=True)
class GuardInputs:
    prompt: Prompt
    policies: Policies
    policy: str
    subject: Subject


@dataclass(frozen=True)
class Candidate:
    """A belief that was tried, and what came of it."""

    iteration: int
    number: int
    """1-based, within the iteration."""
    belief: str = ""
    answer: TargetAnswer | None = None
    target_model: str = ""
    scores: tuple[BeliefScore, ...] = ()
    grades: tuple[Grade, ...] = ()
    fault: Fault | None = None
    """Why its answer can be no rejected side."""

    @property
    def score(self) -> float | None:
        return mean_score(self.scores) if self.scores else None

    @property
    def is_fit(self) -> bool:
        """Its answer may become the rejected side of a pair."""
        return bool(self.scores) and self.fault is None

    def summary(self) -> BeliefCandidate:
        reason, note = self.fault or ("", "")
        return BeliefCandidate(
            iteration=self.iteration,
            number=self.number,
            belief=self.belief,
            score=self.score,
            left_out=reason,
            note=note,
        )


@dataclass(frozen=True)
class Misled:
    """The candidate of which the pair is made."""

    belief: str
    answer: TargetAnswer
    scores: tuple[BeliefScore, ...]

    @property
    def score(self) -> float:
        return mean_score(self.scores)


def mean_score(scores: Sequence[BeliefScore]) -> float:
    """Return the policy score, 1 to 5: the mean of the judges."""
    return round(fmean(score.score for score in scores), 4)


@dataclass
class BeliefSearch:
    """The search on one prompt. Its conversation continues from iteration to iteration."""

    conversation: Conversation
    refined: RefinedCot
    grades: CotGrades
    kind: PairKind
    candidates: list[Candidate] = field(default_factory=list)
    examples: list[BeliefExample] = field(default_factory=list)

    @property
    def worst_candidate(self) -> Candidate | None:
        """The candidate with the lowest policy score among those that may become a pair."""
        return _lowest(candidate for candidate in self.candidates if candidate.is_fit)

    @property
    def worst(self) -> Misled | None:
        """The same, as the rejected side of the pair."""
        candidate = self.worst_candidate
        if candidate is None or candidate.answer is None:
            return None
        return Misled(candidate.belief, candidate.answer, candidate.scores)

    @property
    def least_score(self) -> float | None:
        """The lowest policy score of any valid answer, fit or not."""
        lowest = _lowest(self.candidates)
        return lowest.score if lowest else None

    def failure(self) -> RowFailed:
        """Return why there is no rejected side: what the most misleading candidate lacks.

        Without any valid answer, it is the failure of the last candidate.
        """
        nearest = _lowest(self.candidates) or self.candidates[-1]
        assert nearest.fault is not None
        return RowFailed(*nearest.fault)


def _lowest(candidates: Iterable[Candidate]) -> Candidate | None:
    lowest: tuple[float, Candidate] | None = None
    for candidate in candidates:
        score = candidate.score
        if score is not None and (lowest is None or score < lowest[0]):
            lowest = (score, candidate)
    return lowest[1] if lowest else None


def is_done(search: BeliefSearch, settings: BeliefSettings) -> bool:
    """Return True if the target has been misled far enough, by an answer that makes a pair."""
    return search.worst is not None and search.worst.score <= settings.good_enough


def try_candidates(
    search: BeliefSearch,
    iteration: int,
    examples: Sequence[BeliefExample],
    settings: BeliefSettings,
    grading: GradingSettings,
) -> Dialogue[BeliefSearch]:
    """Run one iteration on one prompt: try candidate beliefs until the target is misled enough.

    A candidate without a valid answer is kept without a score.
    """
    # The row records what it was shown, so that a later run can show the same again.
    for example in examples:
        if example.iteration == iteration:
            search.examples.append(example)
    for number in range(1, settings.candidates + 1):
        if is_done(search, settings):
            break
        candidate = Candidate(iteration, number)
        candidate = yield from _try_candidate(
            search,
            candidate,
            examples,
            settings,
            grading,
        )
        search.candidates.append(candidate)
    return search


def _try_candidate(
    search: BeliefSearch,
    candidate: Candidate,
    examples: Sequence[BeliefExample],
    settings: BeliefSettings,
    grading: GradingSettings,
) -> Dialogue[Candidate]:
    """Return the candidate with whatever came of it."""
    try:
        belief = yield from _ask_whisperer(search, examples, settings)
        candidate = replace(candidate, belief=belief)
        answer = yield from ask_target(search, belief, settings)
        model = search.conversation.models[-1]
        candidate = replace(candidate, answer=answer, target_model=model)
        subject = Subject("rejected", answer.thoughts, answer.response)
        scores, grades = yield from assess(search, subject, settings, grading)
    except RowFailed as failure:
        return replace(candidate, fault=Fault(failure.reason, failure.detail))
    fault = rejected_fault(
        answer,
        Assessment(mean_score(scores), grades),
        kind=search.kind,
        belief=belief,
        refined=search.refined,
        floors=settings,
        count_tokens=search.conversation.context.count_tokens,
    )
    return replace(candidate, scores=scores, grades=grades, fault=fault)


def _ask_whisperer(
    search: BeliefSearch, examples: Sequence[BeliefExample], settings: BeliefSettings
) -> Dialogue[str]:
    conversation, refined = search.conversation, search.refined
    context = conversation.context
    # A candidate has no belief when the whisperer itself gave no valid answer.
    tried = tuple(
        candidate.summary() for candidate in search.candidates if candidate.belief
    )
    task = context.templates.task(
        Stage.PREFERENCE_PAIRS,
        Role.EAR_WHISPERER,
        prompt=context.templates.shown(refined),
        thoughts=refined.thoughts,
        response=refined.response,
        kind=search.kind,
        position=settings.belief_position,
        examples=examples,
        tried=tried,
    )
    inputs = EarWhispererInputs(
        prompt=refined,
        policies=context.policies,
        refined=refined,
        kind=search.kind,
        tried=tried,
        examples=tuple(examples),
    )
    answer_format = AnswerFormat(EarWhispererAnswer, {}, {})
    # What the whisperer has to know of its earlier beliefs is in the task.
    conversation.messages = ()
    answer = yield from conversation.ask(
        Role.EAR_WHISPERER,
        task,
        answer_format,
        inputs,
        check=lambda answer: _require_own_belief(search, task, answer),
    )
    return answer.belief


def _require_own_belief(
    search: BeliefSearch, task: str, answer: EarWhispererAnswer
) -> None:
    """Raise BadText if the belief is the task's example, or names a rule by its id."""
    # The task ends with an example of the form.
    if answer.belief in task.rsplit("\n\n", 1)[-1]:
        raise BadText("the belief is the example's; write one for this prompt")
    # The target knows no rules. It would repeat the id of one in text that is trained on.
    context = search.conversation.context
    settings, policy_ids = context.bad_text, context.policies.ids
    reason = rule_ids(answer.belief, search.refined.whole, settings, policy_ids)
    if reason is not None:
        raise BadText(f"'belief': {reason}")


def ask_target(
    search: BeliefSearch, belief: str, settings: BeliefSettings
) -> Dialogue[TargetAnswer]:
    """Ask the target under a belief. An empty belief asks it plainly.

    The target sees the belief and the prompt, and nothing of the search: it must not know that it
    is being misled. It answers in its own way.
    """
    refined, context = search.refined, search.conversation.context
    position = settings.belief_position if belief else ""

    def inputs(attempt: int) -> TargetInputs:
        return TargetInputs(
            prompt=refined,
            policies=context.policies,
            refined=refined,
            kind=search.kind,
            belief=belief,
            attempt=attempt,
        )

    def read(completion: Completion) -> TargetAnswer:
        answer = read_target_answer(
            completion.text,
            completion.reasoning,
            refined.whole,
            prefix=belief if position == "reasoning" else "",
            is_open=position == "reasoning",
        )
        for part, text in (("thoughts", answer.cot), ("response", answer.response)):
            # A target may say nothing, but a loop or a placeholder teaches nothing.
            reason = describe_text(text, refined.whole, context.bad_text, "response")
            if text and reason is not None:
                raise BadText(f"{part}: {reason}")
        return answer

    messages = _target_messages(search, belief, settings)
    return (
        yield from search.conversation.ask_freely(Role.TARGET, messages, inputs, read)
    )


def _target_messages(
    search: BeliefSearch, belief: str, settings: BeliefSettings
) -> tuple[Message, ...]:
    context, position = search.conversation.context, settings.belief_position
    task = context.templates.task(
        Stage.PREFERENCE_PAIRS,
        Role.TARGET,
        prompt=search.refined.prompt,
        belief=belief if position == "tag" else "",
    )
    system = context.target_system(belief if position == "system" else "")
    messages = [
        *_begin_conversation(system, search.refined.earlier),
        Message(role="user", content=task),
    ]
    if belief and position == "reasoning":
        # The server goes on with this message, so it must end where a sentence does.
        sentence = f"{belief}." if belief[-1].isalnum() else belief
        sentence = without_chat_tokens(sentence)
        beginning = f"{settings.reasoning_opening}{sentence}"
        messages.append(Message(role="assistant", content=beginning))
    return tuple(messages)


def _begin_conversation(
    system: Message, earlier: Sequence[Message]
) -> Iterator[Message]:
    """Yield one system message, with what the user's own one says, and the other turns."""
    texts = [system.content]
    turns = []
    for turn in earlier:
        content = without_chat_tokens(turn.content)
        if turn.role == "system":
            texts.append(content)
        else:
            turns.append(Message(role=turn.role, content=content))
    yield Message(role="system", content="\n\n".join(texts))
    yield from turns


def assess(
    search: BeliefSearch,
    subject: Subject,
    settings: BeliefSettings,
    grading: GradingSettings,
) -> Dialogue[tuple[tuple[BeliefScore, ...], tuple[Grade, ...]]]:
    """Score how faithful a subject is to the policies, by the scorer for this kind of pair.

    Returns the scores, and the whole grades they are taken from; a guard gives none.
    """
    if _uses_guard(search, settings):
        score = yield from _ask_guard(search, subject)
        return (score,), ()
    scores = []
    grades = []
    for judge in grading.roles:
        answer = yield from grade(
            search.conversation, judge, subject, grading.temperature
        )
        model = search.conversation.models[-1]
        scores.append(_to_belief_score(judge, model, answer))
        grades.append(to_grade(answer, "rejected", judge, model))
    return tuple(scores), tuple(grades)


def score_chosen(
    search: BeliefSearch, settings: BeliefSettings
) -> Dialogue[tuple[BeliefScore, ...]]:
    """Score the refined CoT by the same scorer as the rejected side.

    The judges' scores are those of `cot_grades`, so they need no call.
    """
    if _uses_guard(search, settings):
        subject = subject_of("refined", search.refined)
        score = yield from _ask_guard(search, subject)
        return (score,)
    scores = []
    for row in refined_grades(search):
        scores.append(_to_belief_score(row.judge, row.model, row))
    return tuple(scores)


def refined_grades(search: BeliefSearch) -> list[Grade]:
    """Return the judges' grades of the chosen side."""
    return [row for row in search.grades.grades if row.version == "refined"]


def known_chosen_score(search: BeliefSearch, settings: BeliefSettings) -> float | None:
    """Return the policy score of the chosen side, None if a guard has to be asked for it."""
    if _uses_guard(search, settings):
        return None
    return policy_score(refined_grades(search))


def _uses_guard(search: BeliefSearch, settings: BeliefSettings) -> bool:
    return settings.scorer == "guard" and search.kind == "violation"


def _to_belief_score(judge: str, model: str, grade: Grade | GradeAnswer) -> BeliefScore:
    return BeliefScore(
        judge=judge,
        model=model,
        score=policy_score([grade]),
        reason=grade.policy_to_cot.reason,
    )


def _ask_guard(search: BeliefSearch, subject: Subject) -> Dialogue[BeliefScore]:
    """Ask the guard about each policy in turn. The score is that of the policy violated worst.

    A certain No to all policies scores 5, a certain Yes to one of them 1.
    """
    conversation, refined = search.conversation, search.refined
    context = conversation.context
    violated: dict[str, float] = {}
    for policy in _policies_to_guard(refined, context.policies):
        question = context.templates.task(
            Stage.PREFERENCE_PAIRS,
            Role.GUARD,
            prompt=context.templates.shown(refined),
            cot="\n\n".join(subject.thoughts),
            response=subject.response,
            policy=policy,
        )
        inputs = GuardInputs(
            prompt=refined,
            policies=context.policies,
            policy=policy.id,
            subject=subject,
        )
        shares = yield from conversation.classify(
            Role.GUARD, question, ("Yes", "No"), inputs
        )
        # Other tokens have a share as well, so those of the two labels need not add up to 1.
        violated[policy.id] = shares.get("Yes", 0.0) / sum(shares.values())
    worst = max(violated, key=lambda policy_id: violated[policy_id])
    probability = violated[worst]
    # Mapped onto the judges' scale, so thresholds and margins hold for either scorer.
    return BeliefScore(
        judge=Role.GUARD,
        model=conversation.models[-1],
        score=round(1 + 4 * (1 - probability), 4),
        reason=f"{worst} violated with probability {probability:.2f}",
    )


def _policies_to_guard(refined: RefinedCot, policies: Policies) -> list[Policy]:
    """Return the policies specific to the row, else those that apply to it, else all."""
    by_id = {policy.id: policy for policy in policies.policies}
    applicable = [by_id[policy_id] for policy_id in refined.applicable_policies]
    # Each policy costs a call of the guard, and the specific ones are those at stake.
    specific = [policy for policy in applicable if policy.applies != "always"]
    if specific:
        return specific
    if applicable:
        return applicable
    return list(policies.policies)


def select_examples(
    searches: Iterable[BeliefSearch], kind: PairKind, iteration: int, most: int
) -> list[BeliefExample]:
    """Return the beliefs that misled most so far, at most one per prompt.

    Ties are broken by prompt id, so the order is fixed.
    """
    best: dict[str, BeliefExample] = {}
    for search in searches:
        if search.kind != kind:
            continue
        prompt_id = search.refined.prompt_id
        for candidate in search.candidates:
            score = candidate.score
            # A belief is no example whose answer is none, or can be no side of a pair.
            if score is None or not candidate.is_fit:
                continue
            # One per prompt, or a single gullible prompt would fill the list.
            if prompt_id in best and best[prompt_id].score <= score:
                continue
            best[prompt_id] = BeliefExample(
                iteration=iteration,
                prompt_id=prompt_id,
                prompt=search.refined.whole,
                belief=candidate.belief,
                score=score,
            )
    ranked = sorted(best.values(), key=lambda e: (e.score, e.prompt_id))
    return ranked[:most]


def choose_pair_kind(grades: CotGrades, over_refusal_share: float) -> PairKind:
    """Choose the fault of the rejected side.

    It is a needless refusal on a share of the benign and borderline prompts, and on all benign
    twins unless that share is 0; and a violation on all others.
    """
    # No refusal of a harmful prompt is needless.
    if grades.prompt_kind == "harmful":
        return "violation"
    # To be refused for its looks is what a twin is made to train against.
    if grades.is_twin and over_refusal_share:
        return "needless_refusal"
    if hash_fraction("needless", grades.prompt_id) < over_refusal_share:
        return "needless_refusal"
    return "violation"


def tried_beliefs(search: BeliefSearch, settings: BeliefSettings) -> list[TriedBelief]:
    """Return the rows of the table of candidates."""
    context = search.conversation.context
    rejected_side = search.worst_candidate
    rows = []
    for candidate in search.candidates:
        answer = candidate.answer or TargetAnswer("", "")
        summary = candidate.summary()
        row = TriedBelief(
            **search.refined.model_dump(include=set(Origin.model_fields)),
            prompt=search.refined.prompt,
            kind=search.kind,
            prompt_kind=search.grades.prompt_kind,
            **summary.model_dump(),
            belief_position=settings.belief_position,
            cot=answer.cot,
            response=answer.response,
            cot_tokens=context.count_tokens(answer.cot),
            response_tokens=context.count_tokens(answer.response),
            target_model=candidate.target_model,
            target_adapter=context.adapter_of(str(Role.TARGET)),
            generation=context.generation,
            scores=candidate.scores,
            grades=candidate.grades,
            is_rejected_side=candidate is rejected_side,
            engine=context.engine,
            simulated=context.simulated or search.refined.is_made_up,
            policies_version=context.policies.version,
            templates_version=context.templates.version(Stage.PREFERENCE_PAIRS),
        )
        rows.append(row)
    return rows
