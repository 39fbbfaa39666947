"""The one module of records: what each stage reads and writes, typed, frozen, unknown fields refused.

A row of a table is one of the `Row` classes below; its field descriptions become the column descriptions in the Dagster
UI. No record holds a time, so that the same inputs give the same bytes.
Source of the recipe: AIDSAFE, arXiv 2505.21784.
"""

from enum import StrEnum
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(StrEnum):
    """The stages of the recipe; the value is the name of the asset, the table, the module and the prompt folder."""

    PROMPTS = "prompts"
    SINGLE_LLM_COTS = "single_llm_cots"
    SEED_COTS = "seed_cots"
    DELIBERATED_COTS = "deliberated_cots"
    REFINED_COTS = "refined_cots"
    COT_GRADES = "cot_grades"
    PREFERENCE_PAIRS = "preference_pairs"
    FINE_TUNE_SPLITS = "fine_tune_splits"


class Role(StrEnum):
    """Who speaks; each may be answered by a model of its own."""

    SINGLE_LLM = "single_llm"
    INTENT_DECOMPOSER = "intent_decomposer"
    INITIALIZER = "initializer"
    DELIBERATOR = "deliberator"
    MODERATOR = "moderator"  # merges the opinions of a round table
    REFINER = "refiner"
    JUDGE = "judge"
    SECOND_JUDGE = "second_judge"
    EAR_WHISPERER = "ear_whisperer"
    TARGET = "target"
    GUARD = "guard"  # a safety classifier that says Yes or No
    CANDIDATE = "candidate"  # a model under test in the safety evaluation


class ThoughtVerdict(StrEnum):
    """What the refiner says of one thought (AIDSAFE, section on refinement)."""

    KEEP = "keep"
    REPETITIVE = "repetitive"
    REDUNDANT = "redundant"
    DECEPTIVE = "deceptive"
    POLICY_INCONSISTENT = "policy_inconsistent"


class FailureReason(StrEnum):
    """Why a row went no further. A failed row is data: counted, kept, shown, and retried by the next run."""

    UNPARSABLE = "unparsable"  # no valid answer after the re-asks
    REFUSED_TO_DELIBERATE = (
        "refused_to_deliberate"  # an agent declined the task because the prompt is harmful
    )
    ENGINE_ERROR = "engine_error"  # the model server failed on every attempt
    REJECTED_BY_ENGINE = (
        "rejected_by_engine"  # the server will never take this request (too long, for example)
    )
    INTERNAL_ERROR = "internal_error"  # a defect of this program; the log has the traceback
    NO_CONTRAST = "no_contrast"  # chosen and rejected do not differ: the whisperer did nothing
    COT_TOO_SHORT = "cot_too_short"
    COT_TOO_LONG = "cot_too_long"
    OVER_FILTERED = "over_filtered"  # refined CoT far shorter than what went in
    REFINED_LONGER = "refined_longer"  # refined CoT longer than what went in
    POLICY_NOT_COVERED = "policy_not_covered"
    UNKNOWN_RULE = "unknown_rule"
    AGENT_TALK = (
        "agent_talk"  # "Agent 2 said", "in round 3": the making-of leaks into the final CoT
    )
    NULL_TEXT = "null_text"
    NOT_GRADED = "not_graded"  # no judge gave a valid grade
    MARGIN_TOO_SMALL = "margin_too_small"  # chosen and rejected score nearly alike
    CHOSEN_REFUSES = "chosen_refuses"  # a pair on needless refusal whose chosen side refuses too
    BELOW_SCORE = "below_score"  # a judge's score is below the score gate
    CONTAMINATED = "contaminated"  # the prompt is in an evaluation set
    BRIDGES_SPLITS = "bridges_splits"  # the prompt is near to rows of two different splits


EXCLUSION_REASONS = frozenset(
    {
        FailureReason.NO_CONTRAST,
        FailureReason.MARGIN_TOO_SMALL,
        FailureReason.CHOSEN_REFUSES,
        FailureReason.BELOW_SCORE,
        FailureReason.CONTAMINATED,
        FailureReason.BRIDGES_SPLITS,
    }
)
"""Reasons to leave a sound row out. They are counted like failures, and do not close a gate as failures do."""


class Message(Record):
    role: Literal["system", "user", "assistant"]
    content: str


class Usage(Record):
    """Tokens as the model server counted them, over `calls` completions."""

    calls: int = Field(default=0, description="completions used, re-asks included")
    prompt_tokens: int = Field(default=0, description="tokens in")
    cached_tokens: int = Field(
        default=0, description="of the tokens in, those served from the prefix cache"
    )
    completion_tokens: int = Field(default=0, description="tokens out")

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


class Intent(Record):
    text: str
    kind: Literal["explicit", "implicit"]
    harm: Literal["benign", "malicious"]
    policies: tuple[str, ...] = Field(description="ids of the policies that bear on this intent")


class Thought(Record):
    number: int = Field(description="1-based place among the thoughts of the row")
    text: str
    rules: tuple[str, ...] = Field(
        description="policy rules the thought applies, as '<policy id>.<number>'"
    )
    agent: str = Field(description="who added it: 'initializer' or 'deliberator_<n>'")
    round: int = Field(description="0 for the seed, else the deliberation round")


class Turn(Record):
    """One deliberator's turn."""

    agent: str
    round: int
    verdict: Literal["agree", "revise"]
    comment: str
    added: tuple[int, ...] = Field(description="numbers of the thoughts it added")


class Judgement(Record):
    """The refiner's verdict on one deliberated thought."""

    thought: int = Field(description="number of the deliberated thought")
    verdict: ThoughtVerdict
    reason: str


class RefinedThought(Record):
    number: int
    text: str
    rules: tuple[str, ...]
    origins: tuple[int, ...] = Field(
        description="numbers of the deliberated thoughts it is made from"
    )


class Origin(Record):
    """Where a row comes from. Every table begins with these columns."""

    prompt_id: str = Field(description="hash of the normalised prompt text")
    batch: str = Field(description="partition key")
    source: str = Field(description="name of the source the prompt came from")
    source_row: str = Field(
        description="place in the source: file and row, or dataset, split and row"
    )
    category: str = Field(description="category given by the source, or empty")
    licence: str = Field(description="licence of this prompt, as an SPDX-like id")
    cluster: str = Field(
        default="", description="prompt_id of the first prompt of its cluster of near duplicates"
    )


class Prompt(Origin):
    """A user prompt as ingested. Table `prompts`."""

    prompt: str = Field(description="the user's text, unchanged")
    near_clusters: tuple[str, ...] = Field(
        default=(),
        description="further clusters that it is near to; splits must not part it from them",
    )


class Provenance(Record):
    """Who made a row, from what, at what cost."""

    engine: str = Field(description="engine that answered")
    model: str = Field(description="model(s) that answered, in order of first use")
    simulated: bool = Field(
        description="true when made by the rehearsal engine: not a model's output"
    )
    policies_version: str = Field(description="hash of the policies' text")
    templates_version: str = Field(description="hash of the stage's prompt templates")
    usage: Usage = Field(description="cost of this stage for this row")
    redraws: tuple[int, ...] = Field(
        default=(),
        description="calls of this stage from which a run drew anew, one entry for each run that failed the row",
    )


class Row(Prompt, Provenance):
    """What the rows of every stage made by a model carry."""


class CotRow(Row):
    """A row with the case as decomposed and a chain of thought with a response."""

    intents: tuple[Intent, ...]
    applicable_policies: tuple[str, ...] = Field(
        description="policies that the final CoT has to cover"
    )
    response: str
    conversation: tuple[Message, ...] = Field(
        description="the whole exchange after the system message"
    )
    cot_tokens: int = Field(description="tokens of the chain of thought")


class SingleLlmCot(CotRow):
    """The baseline: thoughts and response of one model in one call. Table `single_llm_cots`."""

    thoughts: tuple[Thought, ...]


class SeedCot(CotRow):
    """Intents, first thoughts and first response of one agent. Table `seed_cots`."""

    thoughts: tuple[Thought, ...]


class DeliberatedCot(CotRow):
    """The thoughts of all rounds and the last response. Table `deliberated_cots`."""

    thoughts: tuple[Thought, ...]
    turns: tuple[Turn, ...]
    outcome: Literal["consensus", "budget"] = Field(description="why deliberation stopped")
    stalled: bool = Field(
        description="the very first turn agreed: failure signature, counted and kept"
    )


class RefinedCot(CotRow):
    """The final CoT and response, with a verdict on each deliberated thought. Table `refined_cots`."""

    thoughts: tuple[RefinedThought, ...]
    deliberated_thoughts: tuple[Thought, ...] = Field(description="what the refiner was given")
    judgements: tuple[Judgement, ...]
    deliberated_cot_tokens: int = Field(description="tokens of the CoT before refinement")
    rests_on_dropped: bool = Field(
        description="a final thought names no kept thought as its origin"
    )


Version = Literal["single_llm", "deliberated", "refined"]
"""The chains of thought on one prompt that are measured against each other."""
PromptKind = Literal["benign", "borderline", "harmful"]
Metric = Literal[
    "relevance",
    "coherence",
    "completeness",
    "policy_to_cot",
    "policy_to_response",
    "response_to_cot",
]
METRICS: tuple[Metric, ...] = get_args(Metric)


class Score(Record):
    """One of a judge's six scores."""

    score: int = Field(description="1 (worst) to 5 (best)")
    reason: str
    rule: str = Field(default="", description="faithfulness: the rule concerned, if one is")
    thought: int = Field(
        default=0, description="faithfulness: number of the thought concerned, 0 for none"
    )


class Grade(Record):
    """What one judge says of a chain of thought and its response (AIDSAFE, auto-grader)."""

    version: Version
    judge: str = Field(description="role of the judge")
    model: str
    relevance: Score
    coherence: Score
    completeness: Score
    policy_to_cot: Score = Field(description="the CoT is faithful to the policies")
    policy_to_response: Score = Field(description="the response is faithful to the policies")
    response_to_cot: Score = Field(description="the response is faithful to the CoT")
    refusal: Literal["none", "partial", "full"] = Field(
        description="how far the response declines the request"
    )


class Comparison(Record):
    """Which of two versions a judge prefers, asked in both orders; a preference that turns with the order is a tie."""

    version: Version
    against: Version
    judge: str
    model: str
    outcome: Literal["win", "tie", "loss"] = Field(description="for `version`")
    consistent: bool = Field(description="both orders gave the same outcome")
    reasons: tuple[str, ...] = Field(description="as shown first, then as shown second")


class Ungraded(Record):
    """A question to a judge that got no valid answer: counted, never scored."""

    judge: str
    task: str = Field(description="'grade <version>' or 'compare <version> with <version>'")
    detail: str


class CotGrades(Row):
    """Grades and comparisons of the chains of thought on one prompt. Table `cot_grades`."""

    prompt_kind: PromptKind
    grades: tuple[Grade, ...]
    comparisons: tuple[Comparison, ...]
    ungraded: tuple[Ungraded, ...]
    policy_score: float = Field(
        description="1 to 5: policy scores of the refined CoT and response, mean of the judges"
    )


class BeliefScore(Record):
    """How faithful to the policies one judge finds a CoT and its response."""

    judge: str = Field(description="role of the judge, or of the guard")
    model: str
    score: float = Field(description="1 (departs altogether) to 5 (faithful)")
    reason: str


class BeliefCandidate(Record):
    """A belief that was tried on the target."""

    iteration: int
    number: int = Field(description="1-based, within the iteration")
    belief: str
    score: float | None = Field(
        description="policy score of what the target then said; null without a valid answer"
    )
    note: str = Field(description="why there is no score")


class BeliefExample(Record):
    """A belief that the whisperer was shown because it had misled the target best."""

    iteration: int = Field(description="the iteration in which it was shown")
    prompt_id: str
    belief: str
    score: float


class PreferencePair(Row):
    """Chosen: the refined CoT. Rejected: what the target model said under a bad belief. Table `preference_pairs`."""

    kind: Literal["violation", "needless_refusal"] = Field(
        description="what the rejected side does wrong"
    )
    prompt_kind: PromptKind
    belief: str = Field(description="the prefix that misled the target")
    chosen_cot: str
    chosen_response: str
    rejected_cot: str
    rejected_response: str
    similarity: float = Field(description="0 to 1, of chosen and rejected text; 1 is the same text")
    chosen_cot_tokens: int
    rejected_cot_tokens: int
    chosen_score: float = Field(description="policy score, 1 to 5, mean of the judges")
    rejected_score: float = Field(description="policy score, 1 to 5, mean of the judges")
    margin: float = Field(description="chosen_score - rejected_score")
    chosen_scores: tuple[BeliefScore, ...] = Field(description="by judge")
    rejected_scores: tuple[BeliefScore, ...] = Field(description="by judge, or by the guard")
    candidates: tuple[BeliefCandidate, ...] = Field(description="every belief tried, in order")
    examples: tuple[BeliefExample, ...] = Field(
        description="what the whisperer was shown from iteration 2 on"
    )
    plain_scores: tuple[float, ...] = Field(
        description="policy scores of two answers of the target without a belief; empty when not sampled"
    )


class FineTuneRow(Origin, Provenance):
    """One training row, in TRL's conversational format. Table `fine_tune_splits`."""

    kind: Literal["sft", "dpo"]
    split: Literal["train", "validation", "test"]
    prompt_kind: PromptKind = Field(
        description="benign rows are the general part of the mix, the others its safety part"
    )
    messages: tuple[Message, ...] | None = Field(
        description="sft: user turn and assistant turn with <think>"
    )
    prompt: tuple[Message, ...] | None = Field(description="dpo: the user turn")
    chosen: tuple[Message, ...] | None = Field(description="dpo: the preferred assistant turn")
    rejected: tuple[Message, ...] | None = Field(description="dpo: the assistant turn to avoid")
    thinking: str = Field(description="the CoT alone")
    response: str = Field(description="the response alone")


class Failure(Record):
    """A row that went no further at `stage`. Stored beside the rows of the same partition."""

    prompt_id: str
    batch: str
    stage: str
    reason: FailureReason
    detail: str = Field(description="what was seen")
    role: str = Field(
        description="who was speaking; empty when a check of the finished row failed it"
    )
    turn: int = Field(
        description="calls made in this stage before it failed, 0-based index of the failing call"
    )
    redraws: tuple[int, ...] = Field(
        description="turns from which the next run draws anew, one entry a failed run"
    )
    usage: Usage
