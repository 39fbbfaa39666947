"""How long the requests for a prompt get, told before a model is asked.

The plan drives the real dialogues of one prompt with an answerer that fills every schema at a given
size, and counts the tokens of each request. Its agents never agree, so deliberation takes all its
rounds.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import (
    Completion,
    Conversation,
    Dialogue,
    DialogueContext,
    Request,
)
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.policy_counterfactuals import CounterfactualSettings
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import Prompt, Role, Stage, Usage
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.stages import (
    STAGES,
    RecipeSettings,
    RecordsByStage,
    StageDefinition,
)

_CHARS_PER_TOKEN = 4
_UNLIMITED_TOKENS = 4096
"""What a target may write where the settings set no limit."""
TOKENS_PER_MESSAGE = 8
"""What chat templates put around a message."""
_FILLER = (
    "The user asks for something that may be meant well or badly, so the answer depends on "
    "what stands behind it, on the rules that bear on it, and on what can safely be said. "
)


@dataclass(frozen=True)
class AnswerSizes:
    """How long prompt and answers are. English has about 4.5 characters to a token."""

    prompt_chars: int
    thought_chars: int
    """One thought or belief."""
    response_chars: int
    comment_chars: int
    """Comments, reasons, intents."""
    intents: int
    thoughts: int
    """Of who thinks alone: initializer, baseline, target."""
    added_thoughts: int
    """Of a deliberator's turn."""
    merged_thoughts: int
    """Of a moderator's answer."""
    final_thoughts: int
    """Of the refiner's answer."""
    listed: int = 2
    """Rules and policies of a thought or an intent, origins of a final thought."""


LIKELY = AnswerSizes(
    prompt_chars=600,
    thought_chars=540,
    response_chars=1350,
    comment_chars=140,
    intents=3,
    thoughts=5,
    added_thoughts=2,
    merged_thoughts=3,
    final_thoughts=8,
)
"""Long answers of current instruction-tuned models: 120 tokens a thought, 300 a response."""
EXTREME = AnswerSizes(
    prompt_chars=2000,
    thought_chars=700,
    response_chars=2000,
    comment_chars=220,
    intents=4,
    thoughts=6,
    added_thoughts=3,
    merged_thoughts=4,
    final_thoughts=10,
)
"""A talkative model on a long prompt, and agents that never agree: 155 tokens a thought, 440 a
response."""


_MOST = 1_000_000
FULL = AnswerSizes(
    prompt_chars=2000,
    thought_chars=_MOST,
    response_chars=_MOST,
    comment_chars=_MOST,
    intents=_MOST,
    thoughts=_MOST,
    added_thoughts=_MOST,
    merged_thoughts=_MOST,
    final_thoughts=_MOST,
    listed=_MOST,
)
"""Answers that are as large as their schemas admit. None that means anything is."""


@dataclass(frozen=True)
class PlannedRequest:
    """One request of the plan, in tokens."""

    stage: str
    speaker: str
    """Role or agent, as in `[roles]`."""
    when: str
    """'round 2', 'after round 3', or empty."""
    prompt_tokens: int
    answer_tokens: int

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens

    @property
    def title(self) -> str:
        return f"{self.speaker}, {self.when}" if self.when else self.speaker


def plan_requests(
    context: DialogueContext,
    settings: RecipeSettings,
    sizes: AnswerSizes = LIKELY,
    stages: Collection[str] | None = None,
) -> list[PlannedRequest]:
    """Return the requests for one prompt, in order.

    Args:
        context: as for the dialogues of a run; its counter counts.
        settings: of the recipe.
        sizes: how long prompt and answers are, within `answers` of the settings.
        stages: whose requests are returned; None: of all stages.
    """
    # The system message, and in a chat every earlier message, comes with each request.
    # The answers are filler, which no check of their text would let pass.
    context = replace(
        context, count_tokens=cache(context.count_tokens), bad_text=ACCEPT_ALL
    )
    planner = _Planner(context, settings, sizes)
    requests: list[PlannedRequest] = []
    for definition in STAGES.values():
        planned = planner.plan(definition)
        if stages is None or definition.name in stages:
            requests.extend(planned)
    return requests


@dataclass(frozen=True)
class _LenientSettings:
    """`RecipeSettings` under which filler is not compared with filler."""

    deliberation: DeliberationSettings
    grading: GradingSettings
    pairs: PairSettings
    counterfactuals: CounterfactualSettings
    score_gate: ScoreGate
    checks: CheckSettings


class _Planner:
    """Takes one prompt through the stages."""

    def __init__(
        self, context: DialogueContext, settings: RecipeSettings, sizes: AnswerSizes
    ) -> None:
        self.context = context
        self.settings = _LenientSettings(
            settings.deliberation,
            # The made-up prompt may lie outside the share.
            settings.grading.model_copy(update={"share": 1.0}),
            # Filler is alike on both sides, and how much so takes long to tell.
            settings.pairs.model_copy(update={"max_similarity": 1.0}),
            settings.counterfactuals,
            settings.score_gate,
            settings.checks,
        )
        self.sizes = sizes
        self.prompt = Prompt(
            prompt_id="context-plan",
            batch="",
            source="",
            source_row="",
            category="",
            licence="",
            prompt=_text(sizes.prompt_chars),
        )
        self.records: dict[str, Any] = {Stage.PROMPTS: self.prompt}

    def plan(self, definition: StageDefinition) -> list[PlannedRequest]:
        """Return the requests of a stage, and keep its record for the stages after it."""
        records = self._inputs(definition)
        if definition.dialogue is None or records is None:
            return []
        if not definition.is_on(self.settings):
            return []
        conversation = Conversation(self.context, definition.name, self.prompt)
        dialogue = definition.dialogue(conversation, records, self.settings)
        return self._drive(definition, dialogue)

    def _inputs(self, definition: StageDefinition) -> RecordsByStage | None:
        if not self.records.keys() >= set(definition.upstream):
            return None
        return {
            name: self.records[name]
            for name in definition.inputs
            if name in self.records
        }

    def _drive(
        self, definition: StageDefinition, dialogue: Dialogue[Any]
    ) -> list[PlannedRequest]:
        requests = []
        try:
            request = next(dialogue)
            while True:
                answer = fill(request, self.sizes)
                requests.append(self._planned(request, answer))
                completion = Completion(text=answer, model="", usage=Usage())
                request = dialogue.send(completion)
        except StopIteration as stop:
            self.records[definition.name] = stop.value
        except RowFailed:
            # Made-up answers make no good pair, but all of its requests have been seen by then.
            pass
        return requests

    def _planned(self, request: Request, answer: str) -> PlannedRequest:
        prompt_tokens = 0
        for message in request.messages:
            prompt_tokens += self.context.count_tokens(message.content)
            prompt_tokens += TOKENS_PER_MESSAGE
        return PlannedRequest(
            stage=str(request.stage),
            speaker=request.speaker,
            when=self._when(request),
            prompt_tokens=prompt_tokens,
            answer_tokens=self.context.count_tokens(answer),
        )

    def _when(self, request: Request) -> str:
        if request.stage == Stage.DELIBERATED_COTS:
            return f"round {request.inputs.round}"
        if request.role is Role.REFINER:
            return f"after round {self.settings.deliberation.max_rounds}"
        return ""


def fill(request: Request, sizes: AnswerSizes) -> str:
    """Return a valid answer to a request, of the given sizes."""
    if request.labels:
        share = 1 / len(request.labels)
        return json.dumps(dict.fromkeys(request.labels, share))
    if request.role is Role.TARGET:
        return _spoken(request, sizes)
    definitions = request.schema.get("$defs", {})
    return json.dumps(_Filler(request.role, sizes, definitions).value(request.schema))


def _spoken(request: Request, sizes: AnswerSizes) -> str:
    """Return an answer of the target, which no schema bounds: only its limit of tokens does."""
    limit = request.sampling.max_tokens or _UNLIMITED_TOKENS
    room = _CHARS_PER_TOKEN * limit
    response = f"\n\nAnswer:\n{_text(min(sizes.response_chars, room // 3))}"
    room -= len(response)
    thought = _text(min(sizes.thought_chars, room))
    count = min(sizes.thoughts, room // len(thought) + 1)
    thoughts = "\n\n".join([thought] * count)
    return f"{thoughts[:room]}{response}"


@dataclass(frozen=True)
class _Filler:
    """Fills a JSON schema of `recipe.answers`."""

    role: Role
    sizes: AnswerSizes
    definitions: Mapping[str, Any]

    def value(self, schema: Mapping[str, Any], field: str = "") -> Any:
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[-1]
            schema = self.definitions[name]
        if "enum" in schema:
            # Agents that never agree take all rounds.
            return "revise" if "revise" in schema["enum"] else schema["enum"][0]
        if schema.get("type") == "object":
            properties = schema["properties"]
            return {name: self.value(below, name) for name, below in properties.items()}
        if schema.get("type") == "array":
            return self._items(schema, field)
        if schema.get("type") == "string":
            limit = schema.get("maxLength", self._chars(field))
            return _text(min(limit, self._chars(field)))
        if field == "score":
            # A chosen side that is worth a search, so that the search is planned too.
            return 5
        return max(schema.get("minimum", 1), 1)

    def _items(self, schema: Mapping[str, Any], field: str) -> list[Any]:
        count = self._count(field)
        least, most = schema.get("minItems", 0), schema.get("maxItems", count)
        count = min(max(count, least), most)
        return [self.value(schema["items"], field) for _ in range(count)]

    def _chars(self, field: str) -> int:
        if field in ("thought", "thoughts", "belief", "reasoning"):
            return self.sizes.thought_chars
        if field == "response":
            return self.sizes.response_chars
        return self.sizes.comment_chars

    def _count(self, field: str) -> int:
        if field == "intents":
            return self.sizes.intents
        if field == "thoughts":
            return self._thoughts()
        return self.sizes.listed

    def _thoughts(self) -> int:
        by_role = {
            Role.DELIBERATOR: self.sizes.added_thoughts,
            Role.MODERATOR: self.sizes.merged_thoughts,
            Role.REFINER: self.sizes.final_thoughts,
        }
        return by_role.get(self.role, self.sizes.thoughts)


def _text(chars: int) -> str:
    """Return English prose of so many characters."""
    repeats = chars // len(_FILLER) + 1
    return (_FILLER * repeats)[:chars].strip()
