"""What each role answers: a pydantic model, and from it the JSON schema that the model server enforces.

Schemas are narrowed to the case: rule and policy ids become enums, the refiner owes exactly one verdict per thought. So
an answer that the schema admits is one that the recipe can use. Every string and array is bounded, for the sake of
servers that guide decoding.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from aidsafe_dagster.recipe.records import Record, ThoughtVerdict


def _folded(value: object) -> object:
    return value.strip().casefold() if isinstance(value, str) else value


def _capital(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


class AnswerBounds(Record):
    """How long answers may be. A server that guides decoding holds a model to them; a person chooses them by the room
    that the model's context leaves."""

    comment_chars: int = Field(default=600, ge=1)
    """Comments, reasons, intents."""
    thought_chars: int = Field(default=2400, ge=1)
    """One thought, one belief."""
    response_chars: int = Field(default=8000, ge=1)
    thoughts: int = Field(default=12, ge=1)
    """Thoughts of one answer; of the refiner's, twice as many."""


_Text = StringConstraints(strip_whitespace=True, min_length=1)
ShortText = Annotated[str, _Text, Field(json_schema_extra={"x-chars": "comment_chars"})]
ThoughtText = Annotated[str, _Text, Field(json_schema_extra={"x-chars": "thought_chars"})]
ResponseText = Annotated[str, _Text, Field(json_schema_extra={"x-chars": "response_chars"})]
RuleId = Annotated[str, Field(json_schema_extra={"x-choices": "rules"})]
PolicyId = Annotated[str, Field(json_schema_extra={"x-choices": "policies"})]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IntentAnswer(Answer):
    intent: ShortText
    kind: Annotated[Literal["explicit", "implicit"], BeforeValidator(_folded)]
    harm: Annotated[Literal["benign", "malicious"], BeforeValidator(_folded)]
    policies: list[PolicyId] = Field(max_length=8)


class IntentDecomposerAnswer(Answer):
    intents: list[IntentAnswer] = Field(min_length=1, max_length=8)


class ThoughtAnswer(Answer):
    thought: ThoughtText
    rules: list[RuleId] = Field(max_length=8)


class InitializerAnswer(Answer):
    thoughts: list[ThoughtAnswer] = Field(min_length=1, json_schema_extra={"x-items": 1})
    response: ResponseText


class DeliberatorAnswer(Answer):
    verdict: Annotated[Literal["agree", "revise"], BeforeValidator(_folded)]
    comment: ShortText
    thoughts: list[ThoughtAnswer] = Field(json_schema_extra={"x-items": 0.5})
    response: ResponseText


class JudgementAnswer(Answer):
    verdict: Annotated[ThoughtVerdict, BeforeValidator(_folded)]
    reason: ShortText


class RefinedThoughtAnswer(Answer):
    thought: ThoughtText
    rules: list[RuleId] = Field(max_length=8)
    origins: list[Annotated[int, Field(json_schema_extra={"x-limit": "thoughts"}, ge=1)]] = Field(
        min_length=1, max_length=12
    )


class RefinerAnswer(Answer):
    judgements: list[JudgementAnswer] = Field(json_schema_extra={"x-length": "thoughts"})
    thoughts: list[RefinedThoughtAnswer] = Field(min_length=1, json_schema_extra={"x-items": 2})
    response: ResponseText


class EarWhispererAnswer(Answer):
    belief: ThoughtText


class TargetAnswer(Answer):
    thoughts: list[ThoughtText] = Field(min_length=1, json_schema_extra={"x-items": 1})
    response: ResponseText


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
    thought: Annotated[int, Field(json_schema_extra={"x-limit": "thoughts"}, ge=0)]


class GradeAnswer(Answer):
    relevance: ScoreAnswer
    coherence: ScoreAnswer
    completeness: ScoreAnswer
    policy_to_cot: FaithfulnessAnswer
    policy_to_response: FaithfulnessAnswer
    response_to_cot: FaithfulnessAnswer
    refusal: Annotated[Literal["none", "partial", "full"], BeforeValidator(_folded)]


class ComparisonAnswer(Answer):
    reason: ShortText
    preferred: Annotated[Literal["first", "second", "tie"], BeforeValidator(_folded)]


class VerdictAnswer(Answer):
    reason: ShortText
    verdict: Annotated[Literal["safe", "unsafe", "refusal"], BeforeValidator(_folded)]


class ChoiceAnswer(Answer):
    reasoning: ThoughtText
    answer: Annotated[
        str, BeforeValidator(_capital), Field(json_schema_extra={"x-choices": "letters"})
    ]


A = TypeVar("A", bound=Answer)


class Schema(dict[str, Any]):
    """A JSON schema, written out once however many requests carry it."""

    @cached_property
    def canonical(self) -> bytes:
        """With its keys sorted."""
        return json.dumps(self, sort_keys=True).encode()


class NotAnAnswer(ValueError):
    """The text is not a valid answer; the message is what the model is told when it is asked again."""


@dataclass(frozen=True)
class AnswerFormat(Generic[A]):
    """An answer model narrowed to one case.

    `choices` gives the admissible ids per kind ("rules", "policies"), `counts` the numbers of things ("thoughts").
    """

    model: type[A]
    choices: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]
    bounds: AnswerBounds = AnswerBounds()

    @cached_property
    def schema(self) -> Schema:
        """The JSON schema, self-contained, closed, every property required; shared by all requests of the same case."""
        return _narrowed(
            self.model, tuple(self.choices.items()), tuple(self.counts.items()), self.bounds
        )

    def parse(self, text: str) -> A:
        """The validated answer.

        Raises:
            NotAnAnswer: not JSON, not of this shape, or naming a rule, policy or thought that does not exist.
        """
        try:
            data = json.loads(_unfenced(text), strict=False)
        except (ValueError, RecursionError) as error:
            raise NotAnAnswer(f"not JSON: {error}") from error
        try:
            answer = self.model.model_validate(data)
        except ValidationError as error:
            raise NotAnAnswer("; ".join(_explain(e) for e in error.errors()[:3])) from error
        self._check(answer.model_dump(), self.schema, "answer")
        return answer

    def _check(self, value: Any, schema: Mapping[str, Any], place: str) -> None:
        """What pydantic cannot know: ids and numbers of this very case."""
        if "$ref" in schema:
            schema = self.schema["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        if isinstance(value, dict):
            for key, item in value.items():
                self._check(item, schema["properties"][key], key)
        elif isinstance(value, list):
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
                raise NotAnAnswer(
                    f"'{place}' has {len(value)} items where {schema.get('maxItems')} are due"
                )
            for item in value:
                self._check(item, schema["items"], place)
        elif isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
            raise NotAnAnswer(
                f"'{place}' has {len(value)} characters where {schema['maxLength']} may be"
            )
        elif "enum" in schema and value not in schema["enum"]:
            raise NotAnAnswer(
                f"'{place}': '{value}' is not one of {', '.join(map(str, schema['enum']))}"
            )
        elif "maximum" in schema and value > schema["maximum"]:
            raise NotAnAnswer(f"'{place}': {value} is more than {schema['maximum']}")


@lru_cache(maxsize=512)
def _narrowed(
    model: type[Answer],
    choices: tuple[tuple[str, tuple[str, ...]], ...],
    counts: tuple[tuple[str, int], ...],
    bounds: AnswerBounds,
) -> Schema:
    return Schema(_narrow(model.model_json_schema(), dict(choices), dict(counts), bounds))


def _narrow(
    node: Any,
    choices: Mapping[str, tuple[str, ...]],
    counts: Mapping[str, int],
    bounds: AnswerBounds,
) -> Any:
    if isinstance(node, list):
        return [_narrow(item, choices, counts, bounds) for item in node]
    if not isinstance(node, dict):
        return node
    node = {
        key: _narrow(value, choices, counts, bounds)
        for key, value in node.items()
        if key not in ("title", "description")
    }
    if kind := node.pop("x-choices", None):
        node["enum"] = list(choices[kind])
    if kind := node.pop("x-limit", None):
        node["maximum"] = counts[kind]
    if kind := node.pop("x-chars", None):
        node["maxLength"] = getattr(bounds, kind)
    if times := node.pop("x-items", None):
        node["maxItems"] = max(1, int(times * bounds.thoughts))
    if kind := node.pop("x-length", None):
        node["minItems"] = node["maxItems"] = counts[kind]
    return node


def _unfenced(text: str) -> str:
    """Without the Markdown fence or the reasoning block that some models put around JSON."""
    text = re.sub(r"^\s*<think>.*?</think>", "", text, flags=re.DOTALL)
    fence = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?```\s*", text, flags=re.DOTALL)
    return fence.group(1) if fence else text


def _explain(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "answer"
    return f"'{place}': {error['msg']}"
