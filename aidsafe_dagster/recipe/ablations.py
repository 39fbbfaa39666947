"""Ablations: the same prompts through variants of the recipe, graded by the same judges.

They answer what the paper leaves open: how many rounds to hold, whether the refiner pays, agents in
turn or at a round table, one model or several, what agents are shown. A variant sends the same
requests as the pipeline for the part that they share, so the journal answers those and no call is
made twice. Every variant has one attempt at every prompt, and its rows pass the same row gate as
the pipeline's, so that a prompt that fails tells something about the variant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from pydantic import Field

from aidsafe_dagster.recipe.answers import (
    AnswerBounds,
    AnswerFormat,
    DeliberatorAnswer,
    GradeAnswer,
    NotAnAnswer,
)
from aidsafe_dagster.recipe.cot_grades import GradingSettings, subject_of
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import Completion, Conversation, Dialogue, Request
from aidsafe_dagster.recipe.diversity import Opinion, opinion_diversity, split_rounds
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.judging import Subject, grade, policy_score
from aidsafe_dagster.recipe.prompt_kinds import classify_prompt
from aidsafe_dagster.recipe.records import (
    METRICS,
    DeliberatedCot,
    FailureReason,
    Prompt,
    PromptKind,
    Record,
    RefinedCot,
    Role,
    SeedCot,
    SingleLlmCot,
    Stage,
    Usage,
    Version,
)
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.round_table import DELIBERATION_STYLES
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.seed_cots import join_thoughts, seed
from aidsafe_dagster.recipe.single_llm_cots import answer_directly
from aidsafe_dagster.recipe.stages import stage_named

Cot = SingleLlmCot | DeliberatedCot | RefinedCot


@dataclass(frozen=True)
class Variant:
    """One way to make a CoT from a prompt."""

    name: str
    deliberation: DeliberationSettings = DeliberationSettings()
    stop_after: int | None = None
    """Rounds after which deliberation is cut off. 0: the seed is refined as it is."""
    refined: bool = True
    """Whether a refiner follows. Otherwise the deliberated CoT is final."""
    single: bool = False
    """Whether the CoT comes from a single call, without deliberation."""


class AblationRow(Record):
    """One prompt under one variant. Table of an experiment."""

    variant: str
    prompt_id: str
    batch: str
    prompt: str = Field(description="the user's text")
    prompt_kind: PromptKind
    simulated: bool
    models: str = Field(description="models that answered, in order of first use")
    relevance: float = Field(
        description="mean of the judges, 1 to 5; so are the next five"
    )
    coherence: float
    completeness: float
    policy_to_cot: float
    policy_to_response: float
    response_to_cot: float
    policy_score: float = Field(
        description="mean of policy_to_cot and policy_to_response"
    )
    policy_coverage: float = Field(
        description="share of the applicable policies that the final CoT cites, 0 to 1"
    )
    applicable_policies: tuple[str, ...]
    cited_rules: tuple[str, ...] = Field(description="by the final CoT, each once")
    cot_tokens: int
    thoughts: int
    turns: int = Field(description="opinions of deliberators")
    outcome: str = Field(description="consensus, budget, or empty without deliberation")
    stalled: bool | None = Field(
        description="the agents agreed before anyone had added anything; null without deliberation"
    )
    diversity: float | None = Field(
        description="how different the words are that agents of one round would add, 0 to 1; null "
        "where no two agents spoke in a round"
    )
    shared_rounds: int = Field(description="rounds in which several agents spoke")
    split_rounds: int = Field(
        description="of these, rounds in which one agreed and another did not"
    )
    voices: int = Field(
        description="deliberators with a thought in the deliberated CoT"
    )
    refusal: str = Field(
        description="how far the response declines, by the first judge: none, partial or full"
    )
    cot: str
    response: str
    usage: Usage = Field(
        description="cost of making the CoT, without grading, replayed calls included"
    )


@dataclass(frozen=True)
class _Chain:
    """The rows that lead to a variant's final CoT."""

    seed: SeedCot
    """Holds the intents, from which the kind of the prompt follows."""
    final: Cot
    deliberated: DeliberatedCot | None = None


def run_variant(
    conversation: Conversation,
    variant: Variant,
    grading: GradingSettings,
    checks: CheckSettings | None,
) -> Dialogue[AblationRow]:
    """Run a prompt through a variant and let the judges grade the final CoT.

    Args:
        conversation: of the prompt; is told the stage, the role and the cost of every call, and
            stays without messages.
        variant: what is done with the prompt.
        grading: how many judges there are.
        checks: bounds of the row gate; None: every row passes.

    Raises:
        RowFailed: a role gave no valid answer, or a row did not pass the gate of its stage.
    """
    opinions: list[Opinion] = []
    dialogue = _run(conversation, variant, grading, checks, opinions)
    try:
        request = next(dialogue)
        while True:
            _note_request(conversation, request)
            completion = yield request
            _note_answer(conversation, variant, request, completion)
            bounds = conversation.context.bounds
            opinions.extend(_opinions_in(request, completion, bounds))
            request = dialogue.send(completion)
    except StopIteration as end:
        row: AblationRow = end.value
        return row


def _note_request(conversation: Conversation, request: Request) -> None:
    """Let a failure of the conversation name where it happened."""
    conversation.stage = request.stage
    conversation.role = request.role
    conversation.turn = request.turn


def _note_answer(
    conversation: Conversation,
    variant: Variant,
    request: Request,
    completion: Completion,
) -> None:
    # The CoT of a single call does not rest on the seed, which only tells the kind of the prompt.
    is_of_seed = request.stage == Stage.SEED_COTS
    is_beside = variant.single and is_of_seed
    if request.stage == Stage.COT_GRADES or is_beside:
        return
    conversation.usage += completion.usage
    conversation.models.append(completion.model)


def _opinions_in(
    request: Request, completion: Completion, bounds: AnswerBounds
) -> list[Opinion]:
    """Return the opinion that an agent's answer holds; none if it is asked for again."""
    if request.role is not Role.DELIBERATOR:
        return []
    inputs = request.inputs
    answer_format = AnswerFormat(
        DeliberatorAnswer, {"rules": inputs.policies.rule_ids}, {}, bounds
    )
    try:
        answer = answer_format.parse(completion.text).answer
    except NotAnAnswer:
        return []
    return [Opinion(inputs.agent, inputs.round, answer)]


def _run(
    conversation: Conversation,
    variant: Variant,
    grading: GradingSettings,
    checks: CheckSettings | None,
    opinions: Sequence[Opinion],
) -> Dialogue[AblationRow]:
    chain_of_rows = yield from _generate(conversation, variant, checks)
    final = chain_of_rows.final
    subject = subject_of(_version(final), final)
    answers = yield from _grade(conversation, subject, grading)
    scores = {}
    for metric in METRICS:
        scores[metric] = fmean(getattr(answer, metric).score for answer in answers)
    policies = conversation.context.policies
    cited_rules = dict.fromkeys(chain.from_iterable(t.rules for t in final.thoughts))
    # Words have no mean, so `refusal` is that of the first judge.
    return AblationRow(
        variant=variant.name,
        prompt_id=final.prompt_id,
        batch=final.batch,
        prompt=final.prompt,
        prompt_kind=classify_prompt(chain_of_rows.seed, policies),
        simulated=conversation.context.simulated,
        models=", ".join(dict.fromkeys(conversation.models)),
        **scores,
        policy_score=policy_score(answers),
        policy_coverage=_coverage(final.applicable_policies, cited_rules),
        applicable_policies=final.applicable_policies,
        cited_rules=tuple(cited_rules),
        cot_tokens=final.cot_tokens,
        thoughts=len(final.thoughts),
        **_deliberation_columns(chain_of_rows.deliberated, opinions),
        refusal=answers[0].refusal,
        cot=join_thoughts(final.thoughts),
        response=final.response,
        usage=conversation.usage,
    )


def _coverage(
    applicable: Sequence[str], cited_rules: Sequence[str] | dict[str, None]
) -> float:
    if not applicable:
        return 1.0
    cited = {rule.rpartition(".")[0] for rule in cited_rules}
    return len(cited.intersection(applicable)) / len(applicable)


def _deliberation_columns(
    deliberated: DeliberatedCot | None, opinions: Sequence[Opinion]
) -> dict[str, object]:
    split, shared = split_rounds(opinions)
    columns: dict[str, object] = {
        "turns": 0,
        "outcome": "",
        "stalled": None,
        "diversity": opinion_diversity(opinions),
        "shared_rounds": shared,
        "split_rounds": split,
        "voices": 0,
    }
    # A row without turns says "budget", although no budget was spent.
    if deliberated is not None and deliberated.turns:
        columns["turns"] = len(deliberated.turns)
        columns["outcome"] = deliberated.outcome
        columns["stalled"] = deliberated.stalled
        agents = {turn.agent for turn in deliberated.turns if turn.added}
        columns["voices"] = len(agents)
    return columns


def _grade(
    conversation: Conversation, subject: Subject, grading: GradingSettings
) -> Dialogue[list[GradeAnswer]]:
    """Return the valid grades, as the pipeline counts them: one judge's gap is no failure."""
    # A judge's seed does not depend on the turn, so the pipeline's grade of the same text is
    # replayed here, wherever it came in the pipeline's own dialogue.
    judging = _conversation(conversation, Stage.COT_GRADES, conversation.prompt)
    answers: list[GradeAnswer] = []
    trouble = ""
    for judge in grading.roles:
        try:
            answer = yield from grade(judging, judge, subject, grading.temperature)
        except RowFailed as failure:
            trouble = failure.detail
        else:
            answers.append(answer)
    if not answers:
        raise RowFailed(FailureReason.NOT_GRADED, trouble)
    return answers


def _version(final: Cot) -> Version:
    if isinstance(final, SingleLlmCot):
        return "single_llm"
    if isinstance(final, RefinedCot):
        return "refined"
    return "deliberated"


def _generate(
    conversation: Conversation, variant: Variant, checks: CheckSettings | None
) -> Dialogue[_Chain]:
    prompt = conversation.prompt
    seeding = seed(_conversation(conversation, Stage.SEED_COTS, prompt), prompt)
    # The single-LLM variant does not use the seed, but the kind of the prompt follows from it.
    seed_cot = yield from seeding
    _pass_gate(conversation, Stage.SEED_COTS, seed_cot, checks)
    if variant.single:
        alone = _conversation(conversation, Stage.SINGLE_LLM_COTS, prompt)
        single = yield from answer_directly(alone, prompt)
        _pass_gate(conversation, Stage.SINGLE_LLM_COTS, single, checks)
        return _Chain(seed_cot, single)

    deliberate = DELIBERATION_STYLES[variant.deliberation.style]
    deliberated = yield from deliberate(
        _conversation(conversation, Stage.DELIBERATED_COTS, seed_cot),
        seed_cot,
        variant.deliberation,
        variant.stop_after,
    )
    _pass_gate(conversation, Stage.DELIBERATED_COTS, deliberated, checks)
    if not variant.refined:
        return _Chain(seed_cot, deliberated, deliberated)

    refining = _conversation(conversation, Stage.REFINED_COTS, deliberated)
    refined = yield from refine(refining, deliberated)
    _pass_gate(conversation, Stage.REFINED_COTS, refined, checks)
    return _Chain(seed_cot, refined, deliberated)


def _conversation(outer: Conversation, stage: Stage, row: Prompt) -> Conversation:
    """Return the conversation of one stage, as the pipeline begins it."""
    # Without the redraws of the pipeline: it has them for what failed it before, and the other
    # variants would have no second attempt.
    return Conversation(outer.context, stage, row)


def _pass_gate(
    conversation: Conversation,
    stage: Stage,
    row: Cot | SeedCot,
    checks: CheckSettings | None,
) -> None:
    """Raise RowFailed if the row would go no further in the pipeline."""
    if checks is None:
        return
    context = conversation.context
    definition = stage_named(stage)
    verdict = definition.check_row(row, checks, context.policies, context.language_of)
    if verdict is not None:
        conversation.stage = stage
        raise RowFailed(*verdict)
