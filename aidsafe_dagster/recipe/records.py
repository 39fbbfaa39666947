"""The records that the stages read and write: typed, frozen, and closed to unknown fields.

A row of a table is one of the `Row` classes below. The descriptions of its fields become the column
descriptions in the Dagster UI. No record holds a time, so the same inputs give the same bytes.
The recipe is that of AIDSAFE, arXiv 2505.21784.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    # Closed to unknown fields: a misspelt setting or a column of another release must not pass
    # in silence.
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(StrEnum):
    """The stages of the recipe. A value names the asset, the table, the module and the prompts."""

    PROMPTS = "prompts"
    SINGLE_LLM_COTS = "single_llm_cots"
    SEED_COTS = "seed_cots"
    DELIBERATED_COTS = "deliberated_cots"
    REFINED_COTS = "refined_cots"
    COT_GRADES = "cot_grades"
    PREFERENCE_PAIRS = "preference_pairs"
    FINE_TUNE_SPLITS = "fine_tune_splits"
    POLICY_COUNTERFACTUALS = "policy_counterfactuals"


class Role(StrEnum):
    """The roles that models play. Each role may have a model of its own."""

    SINGLE_LLM = "single_llm"
    INTENT_DECOMPOSER = "intent_decomposer"
    INITIALIZER = "initializer"
    DELIBERATOR = "deliberator"
    # Merges the opinions of a round table.
    MODERATOR = "moderator"
    REFINER = "refiner"
    JUDGE = "judge"
    SECOND_JUDGE = "second_judge"
    EAR_WHISPERER = "ear_whisperer"
    TARGET = "target"
    # A safety classifier that says Yes or No.
    GUARD = "guard"
    # A model under test in the safety evaluation.
    CANDIDATE = "candidate"
    # Drafts rules and cases, and reviews rules: it works on the policies, and on no row.
    POLICY_EDITOR = "policy_editor"
    # Puts finished rows into another language.
    TRANSLATOR = "translator"
    # Writes new prompts where the dataset is thin.
    PROMPT_WRITER = "prompt_writer"


class ThoughtVerdict(StrEnum):
    """The refiner's verdict on one thought (AIDSAFE, section on refinement)."""

    KEEP = "keep"
    REPETITIVE = "repetitive"
    REDUNDANT = "redundant"
    DECEPTIVE = "deceptive"
    POLICY_INCONSISTENT = "policy_inconsistent"


class FailureReason(StrEnum):
    """Why a row went no further."""

    # The model gives no valid answer, even after it is asked again.
    UNPARSABLE = "unparsable"
    # The answers are valid and worthless, even after the model is asked again: placeholders, loops,
    # text cut at its bound, responses that say nothing. Or the finished row shows such text.
    BAD_TEXT = "bad_text"
    # An agent declines the task itself, as opposed to refusing the user.
    REFUSED_TO_DELIBERATE = "refused_to_deliberate"
    # The model server fails on every attempt.
    ENGINE_ERROR = "engine_error"
    # The server will never take this request, for example because it is too long.
    REJECTED_BY_ENGINE = "rejected_by_engine"
    # A content filter of the server stopped the prompt or the answer.
    MODERATED = "moderated"
    # The prompt does not fit the model's context.
    CONTEXT_OVERFLOW = "context_overflow"
    # The model's reasoning alone reached the token limit, so there is no answer.
    CUT_IN_REASONING = "cut_in_reasoning"
    # This program has a defect. The log has the traceback.
    INTERNAL_ERROR = "internal_error"

    # From here on, a check of the finished row fails.
    COT_TOO_SHORT = "cot_too_short"
    COT_TOO_LONG = "cot_too_long"
    # The refined CoT is far shorter than the deliberated one.
    OVER_FILTERED = "over_filtered"
    # The refined CoT is far longer than the deliberated one.
    REFINED_LONGER = "refined_longer"
    POLICY_NOT_COVERED = "policy_not_covered"
    UNKNOWN_RULE = "unknown_rule"
    # The final text mentions how it was made: "Agent 2 said", "in round 3".
    AGENT_TALK = "agent_talk"
    NULL_TEXT = "null_text"

    # From here on, the row is unfit to be graded, paired or trained on.
    # Chosen and rejected do not differ: the belief had no effect.
    NO_CONTRAST = "no_contrast"
    # No judge gives a valid grade of the refined CoT.
    NOT_GRADED = "not_graded"
    # Chosen and rejected score nearly alike.
    MARGIN_TOO_SMALL = "margin_too_small"
    # In a pair on needless refusal, the chosen side refuses too.
    CHOSEN_REFUSES = "chosen_refuses"
    # The chosen side is not faithful enough to the policies to be held up.
    CHOSEN_BELOW_SCORE = "chosen_below_score"
    # The target shows no thoughts, so the rejected side has no CoT.
    NO_REJECTED_COT = "no_rejected_cot"
    # The rejected side speaks of the belief that was whispered.
    ECHOES_BELIEF = "echoes_belief"
    # In a pair on a violation, the rejected side refuses.
    REJECTED_REFUSES = "rejected_refuses"
    # In a pair on needless refusal, the rejected side does not refuse.
    REJECTED_ANSWERS = "rejected_answers"
    # In a pair on a violation, the rejected side is too faithful to the policies.
    REJECTED_ABOVE_SCORE = "rejected_above_score"
    # One side of a pair is many times as long as the other.
    LENGTHS_DIFFER = "lengths_differ"
    # A mean score of the judges is below the score gate.
    BELOW_SCORE = "below_score"
    # The prompt is in an evaluation set.
    CONTAMINATED = "contaminated"
    # The prompt is near to prompts of two different splits.
    BRIDGES_SPLITS = "bridges_splits"
    # A prompt for training alone, made from one that is in the validation or test split.
    PARENT_HELD_OUT = "parent_held_out"
    # A benign twin that was found harmful, or is refused: it would train what it is to prevent.
    NO_TWIN = "no_twin"
    # The row's own stage is behind a closed gate, and other rows of the batch go on without it.
    CLOSED_GATE = "closed_gate"

    # From here on, of policy counterfactuals.
    # Both sets of policies say the same on the prompt, so nobody is asked.
    SAME_POLICIES = "same_policies"
    # The prompt is not in the share that is asked; of grading as well.
    NOT_DRAWN = "not_drawn"
    # Under both sets the answer comes to the same.
    SAME_OUTCOME = "same_outcome"
    # The answers differ, and neither is wrong under the other set.
    RIGHT_UNDER_BOTH = "right_under_both"


EXCLUSION_REASONS = frozenset(
    {
        FailureReason.NO_CONTRAST,
        FailureReason.MARGIN_TOO_SMALL,
        FailureReason.CHOSEN_REFUSES,
        FailureReason.CHOSEN_BELOW_SCORE,
        FailureReason.NO_REJECTED_COT,
        FailureReason.ECHOES_BELIEF,
        FailureReason.REJECTED_REFUSES,
        FailureReason.REJECTED_ANSWERS,
        FailureReason.REJECTED_ABOVE_SCORE,
        FailureReason.LENGTHS_DIFFER,
        FailureReason.BELOW_SCORE,
        FailureReason.CONTAMINATED,
        FailureReason.BRIDGES_SPLITS,
        FailureReason.PARENT_HELD_OUT,
        FailureReason.NO_TWIN,
        FailureReason.CLOSED_GATE,
        FailureReason.SAME_POLICIES,
        FailureReason.NOT_DRAWN,
        FailureReason.SAME_OUTCOME,
        FailureReason.RIGHT_UNDER_BOTH,
    }
)
"""Reasons to exclude a sound row. They are counted like failures, but never close a gate."""
NOT_ASKED_REASONS = frozenset(
    {
        FailureReason.CLOSED_GATE,
        FailureReason.SAME_POLICIES,
        FailureReason.NOT_DRAWN,
    }
)
"""Reasons of rows that their stage was never meant to make. They count in no share of it."""
UNANSWERED_REASONS = frozenset(
    {
        FailureReason.ENGINE_ERROR,
        FailureReason.REJECTED_BY_ENGINE,
        FailureReason.MODERATED,
        FailureReason.CONTEXT_OVERFLOW,
        FailureReason.CUT_IN_REASONING,
    }
)
"""Reasons of a call that brought no answer. With any other, the answers themselves are at fault."""


class Message(Record):
    role: Literal["system", "user", "assistant"]
    content: str


def as_text(turns: Sequence[Message]) -> str:
    """Return turns as one text; a single one stays as it is."""
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in turns)


class Usage(Record):
    """Tokens of `calls` completions, as the model server counted them."""

    calls: int = Field(
        default=0, description="completions used, repeated questions included"
    )
    prompt_tokens: int = Field(default=0, description="tokens in")
    cached_tokens: int = Field(
        default=0, description="tokens in, served from the prefix cache"
    )
    completion_tokens: int = Field(
        default=0, description="tokens out, reasoning included"
    )
    reasoning_tokens: int = Field(
        default=0, description="of the tokens out, those of reasoning before the answer"
    )
    cost: float = Field(
        default=0.0, description="money at the prices in the settings; 0 without prices"
    )

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost=self.cost + other.cost,
        )


class Intent(Record):
    text: str
    kind: Literal["explicit", "implicit"]
    harm: Literal["benign", "malicious"]
    policies: tuple[str, ...] = Field(
        description="ids of the policies that bear on this intent"
    )


class Thought(Record):
    number: int = Field(description="1-based position among the thoughts of the row")
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
        description="numbers of the deliberated thoughts that it draws on"
    )


PromptKind = Literal["benign", "borderline", "harmful"]


FOUND = "found"
"""What a prompt is that no derivation says how it was made."""


class Derivation(Record):
    """How a prompt was made from another one, or for a rule, rather than found in a source."""

    method: Literal["grown", "benign_twin", "wrapper"] = Field(
        description="grown: for a rule, category or kind that was thinly covered; benign_twin: a "
        "harmless look-alike; wrapper: a jailbreak around it"
    )
    parent: str = Field(
        default="",
        description="prompt_id of the prompt it was made from; empty if there is none",
    )
    policy: str = Field(default="", description="policy it was grown for, or empty")
    rule: str = Field(
        default="",
        description="rule it was grown for, '<policy id>.<number>', or empty",
    )
    kind: Literal["", PromptKind] = Field(
        default="", description="kind that it was meant to have, or empty"
    )
    detail: str = Field(
        default="",
        description="persona, setting, register and directness; the benign intent; or the wrapper",
    )
    model: str = Field(default="", description="who wrote it; empty without a model")
    simulated: bool = Field(
        default=False, description="the rehearsal engine wrote it, and no model"
    )
    # Ingestion fills it in. Encoded or split, the parent's words are not to be found in the prompt.
    parent_texts: tuple[str, ...] = Field(
        default=(),
        description="texts of the parent, and of its own parents: what is looked for in "
        "evaluation sets beside the prompt",
    )

    @property
    def is_for_training_alone(self) -> bool:
        """Whether the prompt may be in the train split and nowhere else."""
        return self.method != "grown"

    def __str__(self) -> str:
        return f"{self.method}: {self.detail}" if self.detail else self.method


class Origin(Record):
    """Where a row comes from. Every table begins with these columns."""

    prompt_id: str = Field(description="hash of the normalised prompt text")
    batch: str = Field(description="partition key")
    source: str = Field(description="name of the source the prompt came from")
    source_row: str = Field(
        description="position in the source: file and row, or dataset, split and row"
    )
    category: str = Field(description="category given by the source, or empty")
    licence: str = Field(description="licence of this prompt, as an SPDX-like id")
    own_id: str = Field(
        default="",
        description="id that the source itself gives the row, or empty; unlike prompt_id it need "
        "not be unique",
    )
    # Empty until ingestion has compared the prompt with those before it.
    cluster: str = Field(
        default="",
        description="prompt_id of the first prompt in its cluster of near duplicates",
    )
    derivation: Derivation | None = Field(
        default=None,
        description="how the prompt was made from another one or for a rule; null if it was found",
    )

    @property
    def is_for_training_alone(self) -> bool:
        """Whether the prompt may be in the train split and nowhere else."""
        return self.derivation is not None and self.derivation.is_for_training_alone

    @property
    def how_made(self) -> str:
        """How the prompt came about: found, grown, benign_twin or wrapper."""
        return self.derivation.method if self.derivation else FOUND

    @property
    def is_twin(self) -> bool:
        """Whether the prompt is the benign twin of a harmful one."""
        return self.derivation is not None and self.derivation.method == "benign_twin"

    @property
    def is_made_up(self) -> bool:
        """Whether the rehearsal engine wrote the prompt itself."""
        return self.derivation is not None and self.derivation.simulated


class Prompt(Origin):
    """A user prompt as ingested. Table `prompts`."""

    prompt: str = Field(
        description="the user's text, unchanged; of a conversation, its last turn"
    )
    near_clusters: tuple[str, ...] = Field(
        default=(),
        description="further clusters that it is near to; they must be in the same split",
    )
    earlier: tuple[Message, ...] = Field(
        default=(),
        description="turns of a conversation before the prompt, which are its context",
    )
    original_response: str = Field(
        default="",
        description="the answer that the source itself gives to the prompt, or empty; no agent "
        "sees it",
    )

    @property
    def prompt_turns(self) -> tuple[Message, ...]:
        """What is to be answered, with what comes before it."""
        return (*self.earlier, Message(role="user", content=self.prompt))

    @property
    def whole(self) -> str:
        """The prompt with what comes before it, as one text."""
        return as_text(self.prompt_turns)


class Reasoning(Record):
    """What a model thought before one of its answers. No other agent saw it."""

    turn: int = Field(description="0-based index of the call at this stage")
    speaker: str = Field(description="role, or agent where several share a role")
    text: str


class Provenance(Record):
    """What produced a row, and at what cost."""

    engine: str = Field(description="engine that answered")
    model: str = Field(description="model(s) that answered, in order of first use")
    simulated: bool = Field(
        description="true for output of the rehearsal engine, which is not a model's"
    )
    policies_version: str = Field(description="hash of the policies' text")
    templates_version: str = Field(description="hash of the stage's prompt templates")
    usage: Usage = Field(description="cost of this stage for this row")
    redraws: tuple[int, ...] = Field(
        default=(),
        description="calls from which later runs drew anew, one entry per run that failed the row",
    )
    servers: tuple[str, ...] = Field(
        default=(),
        description="servers that answered, with their profiles, in order of first use",
    )
    repaired: tuple[str, ...] = Field(
        default=(),
        description="answers that were read leniently: '<speaker> <turn>: <what was mended>'",
    )
    reasoning: tuple[Reasoning, ...] = Field(
        default=(), description="kept where the settings ask for it"
    )
    recipe: str = Field(
        default="",
        description="fingerprint of what the row was made under: see the table recipes",
    )
    mixed_with: tuple[str, ...] = Field(
        default=(),
        description="stages behind this row that were made under another recipe; mostly none",
    )
    generation: int = Field(
        default=1,
        description="1, or in which turn of the loop it was made: see aidsafe generation",
    )
    adapters: tuple[str, ...] = Field(
        default=(),
        description="trained adapters that answered: '<speaker>: <name>@<hash of the weights>'",
    )


class Row(Prompt, Provenance):
    """The columns that every row written by a model has."""


class CotRow(Row):
    """A row with the prompt's intents, a chain of thought (CoT) and a response."""

    intents: tuple[Intent, ...]
    applicable_policies: tuple[str, ...] = Field(
        description="policies that the final CoT has to cover"
    )
    response: str
    conversation: tuple[Message, ...] = Field(
        description="the whole exchange after the system message: tasks and answers"
    )
    cot_tokens: int = Field(description="tokens of the chain of thought")


class SingleLlmCot(CotRow):
    """The baseline: thoughts and response from a single call. Table `single_llm_cots`."""

    thoughts: tuple[Thought, ...]


class SeedCot(CotRow):
    """Intents, first thoughts and first response of one agent. Table `seed_cots`."""

    thoughts: tuple[Thought, ...]


class DeliberatedCot(CotRow):
    """The thoughts of all rounds and the last response. Table `deliberated_cots`."""

    thoughts: tuple[Thought, ...]
    turns: tuple[Turn, ...]
    outcome: Literal["consensus", "budget"] = Field(
        description="why deliberation stopped"
    )
    stalled: bool = Field(
        description="the very first turn agreed, so nobody deliberated; counted and kept"
    )


class RefinedCot(CotRow):
    """The final CoT and response, and a verdict on each thought. Table `refined_cots`."""

    thoughts: tuple[RefinedThought, ...]
    deliberated_thoughts: tuple[Thought, ...] = Field(
        description="the thoughts that the refiner judged"
    )
    judgements: tuple[Judgement, ...]
    deliberated_cot_tokens: int = Field(
        description="tokens of the CoT before refinement"
    )
    rests_on_dropped: bool = Field(
        description="a final thought names no kept thought as its origin"
    )


Version = Literal["single_llm", "deliberated", "refined"]
"""The chains of thought on one prompt that are compared with each other."""
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
    rule: str = Field(
        default="", description="faithfulness: the rule concerned, if any"
    )
    thought: int = Field(
        default=0,
        description="faithfulness: number of the thought concerned, 0 for none",
    )


class Grade(Record):
    """One judge's grade of a chain of thought and its response (AIDSAFE, auto-grader)."""

    version: Literal[Version, "rejected"] = Field(
        description="what is graded; 'rejected' is an answer of the target"
    )
    judge: str = Field(description="role of the judge")
    model: str
    relevance: Score
    coherence: Score
    completeness: Score
    policy_to_cot: Score = Field(description="the CoT is faithful to the policies")
    policy_to_response: Score = Field(
        description="the response is faithful to the policies"
    )
    response_to_cot: Score = Field(description="the response is faithful to the CoT")
    refusal: Literal["none", "partial", "full"] = Field(
        description="how far the response declines the request; where the judge says none, a"
        " response that declines in so many words counts as full"
    )


class Comparison(Record):
    """Which of two versions a judge prefers.

    The judge is asked in both orders. A preference that changes with the order is a tie.
    """

    version: Version
    against: Version
    judge: str
    model: str
    outcome: Literal["win", "tie", "loss"] = Field(description="for `version`")
    consistent: bool = Field(description="both orders gave the same outcome")
    reasons: tuple[str, ...] = Field(
        description="of both orders: `version` shown first, then second"
    )


class Ungraded(Record):
    """A question that a judge gave no valid answer to. It is counted, never scored."""

    judge: str
    task: str = Field(
        description="'grade <version>' or 'compare <version> with <version>'"
    )
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
    """How faithful a CoT and its response are to the policies, according to one judge."""

    judge: str = Field(description="role of the judge, or of the guard")
    model: str
    score: float = Field(description="1 (not at all faithful) to 5 (faithful)")
    reason: str


class BeliefCandidate(Record):
    """A belief that was tried on the target model."""

    iteration: int
    number: int = Field(description="1-based, within the iteration")
    belief: str
    score: float | None = Field(
        description="policy score of the target's answer under it; null without a valid answer"
    )
    left_out: str = Field(
        description="reason why its answer can be no rejected side; empty if it can"
    )
    note: str = Field(description="what is wrong with it, with the evidence")


class BeliefExample(Record):
    """A belief shown to the whisperer as an example, because it misled the target most."""

    iteration: int = Field(description="the iteration in which it was shown")
    prompt_id: str
    prompt: str = Field(description="the user's text that it was written for")
    belief: str
    score: float


class PreferencePair(Row):
    """Chosen: the refined CoT. Rejected: the target's answer under a bad belief.

    Table `preference_pairs`.
    """

    kind: Literal["violation", "needless_refusal"] = Field(
        description="what the rejected side does wrong"
    )
    prompt_kind: PromptKind
    belief: str = Field(description="the prefix that misled the target most")
    chosen_cot: str
    chosen_response: str
    rejected_cot: str
    rejected_response: str
    similarity: float = Field(
        description="0 to 1, between chosen and rejected text; 1: the same text"
    )
    chosen_cot_tokens: int
    rejected_cot_tokens: int
    length_ratio: float = Field(
        description="tokens of the chosen CoT and response divided by those of the rejected ones"
    )
    chosen_score: float = Field(description="policy score, 1 to 5, mean of the judges")
    rejected_score: float = Field(
        description="policy score, 1 to 5, mean of the judges"
    )
    margin: float = Field(description="chosen_score - rejected_score")
    chosen_scores: tuple[BeliefScore, ...] = Field(description="by judge")
    rejected_scores: tuple[BeliefScore, ...] = Field(
        description="by judge, or by the guard"
    )
    candidates: tuple[BeliefCandidate, ...] = Field(
        description="every belief tried, in order"
    )
    examples: tuple[BeliefExample, ...] = Field(
        description="beliefs shown to the whisperer, from iteration 2 on"
    )
    plain_scores: tuple[float, ...] = Field(
        description="policy scores of two answers without a belief; empty if not sampled"
    )


BeliefPosition = Literal["tag", "system", "reasoning"]
"""Where the target finds the belief: in a tag before the prompt, in its system message, or as the
beginning of its own reasoning."""


BELIEF_CANDIDATES = "belief_candidates"
"""The table of tried beliefs: no stage, but written with `preference_pairs`."""


class TriedBelief(Origin):
    """A belief that was tried, with the whole answer and the whole grade.

    Table `belief_candidates`, beside `preference_pairs`: the candidates of all prompts of a batch,
    of those without a pair as well.
    """

    prompt: str = Field(description="the user's text")
    kind: Literal["violation", "needless_refusal"] = Field(
        description="what the rejected side is to do wrong"
    )
    prompt_kind: PromptKind
    iteration: int
    number: int = Field(description="1-based, within the iteration")
    belief: str = Field(description="empty if the whisperer gave no valid answer")
    belief_position: BeliefPosition
    cot: str = Field(description="the target's thoughts; empty if it shows none")
    response: str = Field(description="empty without a valid answer")
    cot_tokens: int
    response_tokens: int
    target_model: str
    target_adapter: str = Field(
        default="",
        description="the trained adapter that answered, '<name>@<hash of the weights>', or empty",
    )
    generation: int = Field(
        default=1, description="1, or in which turn of the loop it was made"
    )
    score: float | None = Field(
        description="policy score, 1 to 5, mean of the judges; null without a valid answer"
    )
    scores: tuple[BeliefScore, ...] = Field(description="by judge, or by the guard")
    grades: tuple[Grade, ...] = Field(
        description="by judge, all metrics with reasons; empty where the guard scores"
    )
    left_out: str = Field(
        description="reason why it can be no rejected side; empty if it can"
    )
    note: str = Field(description="what is wrong with it, with the evidence")
    is_rejected_side: bool = Field(
        description="the worst that can be: what the pair was made of, if there is one"
    )
    engine: str
    simulated: bool = Field(description="true for output of the rehearsal engine")
    policies_version: str
    templates_version: str


PolicySet = Literal["first", "second"]
"""The policies of the project, or those that `[counterfactuals]` names."""
Outcome = Literal["complies", "complies in part", "refuses"]


class PolicyCounterfactual(Row):
    """One prompt under two sets of policies whose right answers differ.

    Table `policy_counterfactuals`. The provenance is that of the answer under the second set and
    of the judges; the answer under the first set is the refined CoT.
    """

    prompt_kind: PromptKind
    second_policies_version: str = Field(
        description="hash of the second policies' text"
    )
    differing_policies: tuple[str, ...] = Field(
        description="ids of the policies that bear on the prompt and differ between the sets"
    )
    only_first: tuple[str, ...] = Field(
        description="what the first set says of these, and the second does not"
    )
    only_second: tuple[str, ...] = Field(
        description="what the second set says of these, and the first does not"
    )
    first_system: str = Field(
        description="system message with the whole first set, to train under"
    )
    second_system: str = Field(
        description="system message with the whole second set, to train under"
    )
    first_cot: str
    first_response: str
    first_cot_tokens: int
    first_outcome: Outcome
    second_cot: str
    second_response: str
    second_cot_tokens: int
    second_outcome: Outcome
    second_applicable_policies: tuple[str, ...] = Field(
        description="policies of the second set that the answer under it has to cover"
    )
    second_rules: tuple[str, ...] = Field(
        description="rules of the second set that the thoughts under it apply"
    )
    first_score: float = Field(
        description="policy score of the first answer under the first set, 1 to 5"
    )
    first_score_under_second: float
    second_score: float = Field(
        description="policy score of the second answer under the second set, 1 to 5"
    )
    second_score_under_first: float
    first_grades: tuple[Grade, ...] = Field(description="under the first set, by judge")
    first_grades_under_second: tuple[Grade, ...]
    second_grades: tuple[Grade, ...] = Field(
        description="under the second set, by judge"
    )
    second_grades_under_first: tuple[Grade, ...]
    wrong_under: tuple[PolicySet, ...] = Field(
        description="sets under which the answer of the other set is wrong: each makes a DPO row"
    )


class FineTuneRow(Origin, Provenance):
    """One training row, in TRL's conversational format. Table `fine_tune_splits`."""

    kind: Literal["sft", "dpo"]
    split: Literal["train", "validation", "test"]
    prompt_kind: PromptKind = Field(
        description="benign: the general part of the mix; the others: its safety part"
    )
    # The columns of the other kind are null, so SFT and DPO rows fit into one table.
    messages: tuple[Message, ...] | None = Field(
        description="sft: the turns of the prompt, and the assistant's with <think>"
    )
    prompt: tuple[Message, ...] | None = Field(
        description="dpo: the turns of the prompt"
    )
    chosen: tuple[Message, ...] | None = Field(
        description="dpo: the preferred assistant turn"
    )
    rejected: tuple[Message, ...] | None = Field(
        description="dpo: the assistant turn to avoid"
    )
    thinking: str = Field(description="the CoT alone")
    response: str = Field(description="the response alone")


class Failure(Record):
    """A row that went no further than `stage`. Stored beside the rows of its partition."""

    prompt_id: str
    batch: str
    stage: str
    reason: FailureReason
    detail: str = Field(description="what went wrong, with the evidence")
    role: str = Field(
        description="the role called last; empty when a check of the finished row failed"
    )
    turn: int = Field(description="calls made in this stage before the row failed")
    redraws: tuple[int, ...] = Field(
        description="calls from which the next run draws new answers, one entry per failed run"
    )
    usage: Usage
