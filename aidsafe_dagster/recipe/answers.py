"""The answer of each role: a pydantic model, and the JSON schema that a model server enforces.

Schemas are narrowed to the row at hand. Rule and policy ids become enums, and the refiner has to
give exactly one verdict per thought, so the recipe can use every answer that the schema admits.
All strings and arrays are bounded, because guided decoding may otherwise run on for ever.

The names of answer classes and of their fields are part of the schema, and with it of the journal
key of every request. Renaming one makes all recorded completions useless.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from aidsafe_dagster.recipe.answer_mending import (
    LETTER_CASE,
    NUMBER_SPELLING,
    AnswerMender,
)
from aidsafe_dagster.recipe.lenient_json import (
    CONTROL_CHARACTERS,
    JsonValue,
    NoJson,
    read_values,
)
from aidsafe_dagster.recipe.records import Record, ThoughtVerdict


class AnswerBounds(Record):
    """Length limits of answers. Choose them by the context length of the model.

    A server with guided decoding enforces them while it generates. By default, the largest answer
    that they admit in English is below `Sampling.max_tokens` for every role.
    """

    comment_chars: int = Field(default=300, ge=1)
    """Comments, reasons, intents."""
    thought_chars: int = Field(default=1000, ge=1)
    """One thought, one belief."""
    response_chars: int = Field(default=6000, ge=1)
    thoughts: int = Field(default=8, ge=1)
    """Thoughts in one answer. The refiner may give half as many again."""


# The "x-" keys are placeholders. `AnswerFormat.schema` replaces each by a limit or an enum.
_Text = StringConstraints(strip_whitespace=True, min_length=1)
ShortText = Annotated[str, _Text, Field(json_schema_extra={"x-chars": "comment_chars"})]
ThoughtText = Annotated[
    str, _Text, Field(json_schema_extra={"x-chars": "thought_chars"})
]
ResponseText = Annotated[
    str, _Text, Field(json_schema_extra={"x-chars": "response_chars"})
]
RuleId = Annotated[str, Field(json_schema_extra={"x-choices": "rules"})]
PolicyId = Annotated[str, Field(json_schema_extra={"x-choices": "policies"})]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IntentAnswer(Answer):
    intent: ShortText
    kind: Literal["explicit", "implicit"]
    harm: Literal["benign", "malicious"]
    policies: list[PolicyId] = Field(max_length=8)


class IntentDecomposerAnswer(Answer):
    intents: list[IntentAnswer] = Field(min_length=1, max_length=8)


class ThoughtAnswer(Answer):
    thought: ThoughtText
    rules: list[RuleId] = Field(max_length=8)


class InitializerAnswer(Answer):
    thoughts: list[ThoughtAnswer] = Field(
        min_length=1, json_schema_extra={"x-items": 1}
    )
    response: ResponseText


# Whoever judges gives the reason before the verdict or the score, so that it reasons before it
# decides. Guided decoding would otherwise settle the verdict with the first token.
class DeliberatorAnswer(Answer):
    comment: ShortText
    verdict: Literal["agree", "revise"]
    # A turn mends what is there, so it gets half the thoughts of a whole chain. An agent that
    # agrees has neither thoughts nor a response of its own, and many models leave both out.
    thoughts: list[ThoughtAnswer] = Field(
        default=[], json_schema_extra={"x-items": 0.5}
    )
    response: Annotated[
        str,
        StringConstraints(strip_whitespace=True),
        Field(json_schema_extra={"x-chars": "response_chars"}),
    ] = ""

    @model_validator(mode="after")
    def _revises_the_response(self) -> "DeliberatorAnswer":
        if self.verdict == "revise" and not self.response:
            raise ValueError("'response' is empty, and an agent that revises writes it")
        return self


class JudgementAnswer(Answer):
    reason: ShortText
    verdict: ThoughtVerdict


class RefinedThoughtAnswer(Answer):
    thought: ThoughtText
    rules: list[RuleId] = Field(max_length=8)
    origins: list[
        Annotated[int, Field(json_schema_extra={"x-limit": "thoughts"}, ge=1)]
    ] = Field(min_length=1, max_length=12)


class RefinerAnswer(Answer):
    judgements: list[JudgementAnswer] = Field(
        json_schema_extra={"x-length": "thoughts"}
    )
    thoughts: list[RefinedThoughtAnswer] = Field(
        min_length=1, json_schema_extra={"x-items": 1.5}
    )
    response: ResponseText


class EarWhispererAnswer(Answer):
    belief: ThoughtText


class MergedThoughtAnswer(ThoughtAnswer):
    author: int = Field(ge=1, json_schema_extra={"x-limit": "agents"})


class ModeratorAnswer(Answer):
    thoughts: list[MergedThoughtAnswer] = Field(json_schema_extra={"x-items": 1})
    response: ResponseText


class ScoreAnswer(Answer):
    reason: ShortText
    score: int = Field(ge=1, le=5)


class FaithfulnessAnswer(ScoreAnswer):
    rule: Annotated[str, Field(json_schema_extra={"x-choices": "rules or none"})]
    # 0 stands for no thought in particular.
    thought: Annotated[int, Field(json_schema_extra={"x-limit": "thoughts"}, ge=0)]


class GradeAnswer(Answer):
    relevance: ScoreAnswer
    coherence: ScoreAnswer
    completeness: ScoreAnswer
    policy_to_cot: FaithfulnessAnswer
    policy_to_response: FaithfulnessAnswer
    response_to_cot: FaithfulnessAnswer
    refusal: Literal["none", "partial", "full"]


class ComparisonAnswer(Answer):
    reason: ShortText
    preferred: Literal["first", "second", "tie"]


class VerdictAnswer(Answer):
    reason: ShortText
    verdict: Literal["safe", "unsafe", "refusal"]


class ChoiceAnswer(Answer):
    reasoning: ThoughtText
    answer: Annotated[str, Field(json_schema_extra={"x-choices": "letters"})]


A = TypeVar("A", bound=Answer)

# With these faults, a text is still the answer's JSON and nothing else. It stays as it is, as in
# journals of earlier releases, whose later requests hold it.
_LEFT_AS_WRITTEN = (CONTROL_CHARACTERS, LETTER_CASE, NUMBER_SPELLING)
_MOST_QUOTED_CHARS = 100


class Schema(dict[str, Any]):
    """A JSON schema that is serialized once, however many requests carry it."""

    @cached_property
    def canonical(self) -> bytes:
        """The schema as JSON with sorted keys."""
        return json.dumps(self, sort_keys=True).encode()


@dataclass(frozen=True)
class Parsed(Generic[A]):
    """An answer as it was read."""

    answer: A
    text: str
    """What later turns see: the text itself, or, if that is more or less than the answer's JSON,
    the JSON of the answer."""
    repairs: tuple[str, ...] = ()
    """What was mended, in a few words each."""


class NotAnAnswer(ValueError):
    """The text is not a valid answer. The model reads the message when it is asked again."""


@dataclass(frozen=True)
class AnswerFormat(Generic[A]):
    """An answer model, narrowed to the ids and counts of one row.

    `choices` holds the valid ids by kind ("rules", "policies"), `counts` the number of items by
    kind ("thoughts").
    """

    model: type[A]
    choices: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]
    bounds: AnswerBounds = AnswerBounds()

    @cached_property
    def schema(self) -> Schema:
        """The JSON schema: self-contained, closed, all properties required.

        Requests with equal choices, counts and bounds share one schema object.
        """
        # The cache needs arguments that can be hashed, so the mappings become tuples.
        choices = tuple(self.choices.items())
        counts = tuple(self.counts.items())
        return _cached_schema(self.model, choices, counts, self.bounds)

    def parse(self, text: str) -> "Parsed[A]":
        """Return the validated answer, and what was mended to read it.

        Raises:
            NotAnAnswer: the text holds no whole JSON object, or one of another shape, or one that
                names a rule, policy or thought that does not exist.
        """
        # The model reads these messages, so they are part of the journal key of the next request.
        try:
            answer = self.model.model_validate_json(text, strict=True)
            self._check(answer.model_dump(), self.schema, "answer")
        except ValueError:
            # pydantic's messages about JSON differ from those in the keys of older journals.
            return self._parse_leniently(text)
        return Parsed(answer, text)

    def _parse_leniently(self, text: str) -> "Parsed[A]":
        errors = []
        try:
            for value in read_values(text):
                try:
                    return self._mended(value, text)
                except NotAnAnswer as error:
                    errors.append(error)
        except NoJson as error:
            raise NotAnAnswer(str(error)) from error
        # The last object of the text is the likeliest answer.
        raise errors[0]

    def _mended(self, value: JsonValue, text: str) -> "Parsed[A]":
        ids = chain.from_iterable(self.choices.values())
        mender = AnswerMender(self.schema, frozenset(ids))
        data = mender.mend(value.value)
        try:
            answer = self.model.model_validate(data)
        except ValidationError as error:
            # A few mistakes are enough to mend an answer. All of them could fill the context.
            details = [_describe(detail) for detail in error.errors()[:3]]
            raise NotAnAnswer("; ".join(details)) from error
        self._check(answer.model_dump(), self.schema, "answer")
        repairs = tuple(dict.fromkeys((*value.mends, *mender.mends)))
        if not all(repair.startswith(_LEFT_AS_WRITTEN) for repair in repairs):
            text = _canonical(answer)
        return Parsed(answer, text, repairs)

    def _check(self, value: Any, schema: Mapping[str, Any], field: str) -> None:
        """Check what the pydantic model cannot know: the ids, numbers and lengths of this row."""
        # pydantic puts nested models under "$defs" and refers to them by name.
        if "$ref" in schema:
            definition = schema["$ref"].rsplit("/", 1)[-1]
            schema = self.schema["$defs"][definition]
        if isinstance(value, dict):
            for key, item in value.items():
                self._check(item, schema["properties"][key], key)
        elif isinstance(value, list):
            _check_length(value, schema, field)
            for item in value:
                self._check(item, schema["items"], field)
        else:
            _check_scalar(value, schema, field)


def _check_length(items: list[Any], schema: Mapping[str, Any], field: str) -> None:
    count = len(items)
    least = schema.get("minItems", 0)
    most = schema.get("maxItems")
    is_short = count < least
    is_long = most is not None and count > most
    if is_short or is_long:
        raise NotAnAnswer(f"'{field}' has {count} items where {most} are due")


def _check_scalar(value: Any, schema: Mapping[str, Any], field: str) -> None:
    if "maxLength" in schema:
        limit = schema["maxLength"]
        if len(value) > limit:
            raise NotAnAnswer(
                f"'{field}' has {len(value)} characters where {limit} may be"
            )
    if "enum" in schema:
        valid = schema["enum"]
        if value not in valid:
            listing = ", ".join(map(str, valid))
            quoted = str(value)[:_MOST_QUOTED_CHARS]
            raise NotAnAnswer(f"'{field}': '{quoted}' is not one of {listing}")
    if "maximum" in schema:
        limit = schema["maximum"]
        if value > limit:
            raise NotAnAnswer(f"'{field}': {value} is more than {limit}")


# One entry per combination of role, policies and number of thoughts that is in use at a time.
@lru_cache(maxsize=512)
def _cached_schema(
    model: type[Answer],
    choices: tuple[tuple[str, tuple[str, ...]], ...],
    counts: tuple[tuple[str, int], ...],
    bounds: AnswerBounds,
) -> Schema:
    return Schema(
        _narrow(model.model_json_schema(), dict(choices), dict(counts), bounds)
    )


def _narrow(
    node: Any,
    choices: Mapping[str, tuple[str, ...]],
    counts: Mapping[str, int],
    bounds: AnswerBounds,
) -> Any:
    """Replace the placeholders of a schema, and drop titles, descriptions and defaults.

    A field that may be missing in an answer is asked for all the same, as strict schemas have it.
    """
    if isinstance(node, list):
        return [_narrow(item, choices, counts, bounds) for item in node]
    if not isinstance(node, dict):
        return node
    narrowed = {}
    for key, value in node.items():
        if key not in ("title", "description", "default"):
            narrowed[key] = _narrow(value, choices, counts, bounds)
    if "properties" in narrowed:
        narrowed["required"] = list(narrowed["properties"])
    if kind := narrowed.pop("x-choices", None):
        narrowed["enum"] = list(choices[kind])
    if kind := narrowed.pop("x-limit", None):
        narrowed["maximum"] = counts[kind]
    if kind := narrowed.pop("x-chars", None):
        narrowed["maxLength"] = getattr(bounds, kind)
    if factor := narrowed.pop("x-items", None):
        # Half of a single thought must still leave room for one.
        limit = int(factor * bounds.thoughts)
        narrowed["maxItems"] = max(1, limit)
    if kind := narrowed.pop("x-length", None):
        narrowed["minItems"] = narrowed["maxItems"] = counts[kind]
    return narrowed


def _canonical(answer: Answer) -> str:
    return json.dumps(answer.model_dump(mode="json"), ensure_ascii=False)


def _describe(error: Any) -> str:
    # A mistake of the whole answer has no location.
    path = ".".join(map(str, error["loc"])) or "answer"
    message = error["msg"]
    return f"'{path}': {message}"
