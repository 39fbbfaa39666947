"""Bodies of trial requests, and what of the settings mends a field that a server refuses."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.engines.body_fields import merged, put, take
from aidsafe_dagster.engines.loop_ending import REPETITION, fields_of
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Sampling

Body = dict[str, Any]
Messages = Sequence[tuple[str, str]]
"""Role and text of each message."""

KEYWORDS = (
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "maximum",
    "minimum",
    "additionalProperties",
)
"""Keywords of our schemas that a schema can do without, since answers are checked anyway."""
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "$defs": {"Verdict": {"type": "string", "enum": ["keep", "drop"]}},
    "properties": {
        "verdict": {"$ref": "#/$defs/Verdict"},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "comment": {"type": "string", "minLength": 1, "maxLength": 40},
        "rules": {
            "type": "array",
            "items": {"type": "string", "enum": ["a.1", "a.2"]},
            "minItems": 1,
            "maxItems": 2,
        },
    },
    "required": ["verdict", "score", "comment", "rules"],
    "additionalProperties": False,
}
"""A small schema with every keyword that the schemas of our answers use."""


@dataclass(frozen=True)
class Mend:
    """Something that a server may refuse, how its message tells, and the settings without it."""

    what: str
    hint: re.Pattern[str]
    applies: Callable[[ServerSettings, Sampling], bool]
    """Whether requests have it under these settings."""
    apply: Callable[[ServerSettings], ServerSettings]


def trial_body(
    settings: ServerSettings,
    sampling: Sampling,
    messages: Messages,
    limit: int,
    **fields: Any,
) -> Body:
    """Return the body of a chat request under the settings, with some more fields.

    Args:
        settings: of the server.
        sampling: temperature and top_p are sent as these say.
        messages: of the dialogue.
        limit: tokens of the answer.
        **fields: further ones, which `omit` and `rename` apply to.

    The order of the steps is that of the engine: what the settings add comes last.
    """
    budget = settings.reasoning_budget or 0
    if settings.reasoning == "off":
        budget = 0
    body: Body = {
        "model": settings.model,
        "messages": _messages(settings, messages),
        "seed": 7,
        "max_tokens": limit + budget,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if settings.priority:
        body["priority"] = 0
    if settings.end_loops == "server":
        body |= fields_of("server")
    body |= fields
    for name in settings.omit:
        take(body, name.split("."))
    for name, new_name in settings.rename.items():
        value = take(body, name.split("."))
        if value is not None:
            put(body, new_name.split("."), value)
    body = merged(body, settings.reasoning_fields)
    if budget and settings.reasoning_budget_field:
        put(body, settings.reasoning_budget_field.split("."), budget)
    body = merged(body, settings.extra_body)
    return {name: value for name, value in body.items() if value is not None}


def schema_format(left_out: Sequence[str]) -> Body:
    """Return the `response_format` of the trial's schema without some keywords."""
    schema = without_keywords(SCHEMA, left_out)
    named = {"name": "trial", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def without_keywords(schema: Any, left_out: Sequence[str]) -> Any:
    if isinstance(schema, list):
        return [without_keywords(item, left_out) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: without_keywords(value, left_out)
        for name, value in schema.items()
        if name not in left_out
    }


def omitting(settings: ServerSettings, *names: str) -> ServerSettings:
    """Return the settings with some more fields that are not sent."""
    omit = dict.fromkeys((*settings.omit, *names))
    return settings.model_copy(update={"omit": tuple(omit)})


def limit_name(settings: ServerSettings) -> str:
    """Return the name under which the limit of tokens is sent."""
    return settings.rename.get("max_tokens", "max_tokens")


def with_next_limit_name(settings: ServerSettings) -> ServerSettings:
    """Return the settings with the other of the two names of the limit of tokens."""
    names = {"max_tokens", "max_completion_tokens"} - {limit_name(settings)}
    # A profile's `rename` is merged with ours, so a name can be restored and not removed.
    rename = {**settings.rename, "max_tokens": names.pop()}
    return settings.model_copy(update={"rename": rename})


def _messages(settings: ServerSettings, messages: Messages) -> list[dict[str, str]]:
    system = [text for role, text in messages if role == "system"]
    others = [(role, text) for role, text in messages if role != "system"]
    if system and settings.system == "user":
        role, text = others[0]
        others[0] = (role, "\n\n".join([*system, text]))
        system = []
    sent = [("system", text) for text in system] + others
    return [{"role": role, "content": text} for role, text in sent]


def _hint(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _omit_mend(name: str, pattern: str) -> Mend:
    def applies(settings: ServerSettings, sampling: Sampling) -> bool:
        is_sent = name == "seed" or getattr(sampling, name) is not None
        return is_sent and name not in settings.omit

    return Mend(
        name, _hint(pattern), applies, lambda settings: omitting(settings, name)
    )


LIMIT = Mend(
    "token limit",
    _hint(r"max_tokens|max_completion_tokens|max_new_tokens"),
    lambda settings, _: "max_tokens" not in settings.omit,
    with_next_limit_name,
)
TOP_P = _omit_mend("top_p", r"\btop[_ -]?p\b")
TEMPERATURE = _omit_mend("temperature", r"\btemperature\b")
SEED = _omit_mend("seed", r"\bseed\b")
SYSTEM = Mend(
    "system role",
    _hint(r"\bsystem\b|\broles?\b"),
    lambda settings, _: settings.system == "own",
    lambda settings: settings.model_copy(update={"system": "user"}),
)
PRIORITY = Mend(
    "priority",
    _hint(r"\bpriority\b"),
    lambda settings, _: settings.priority,
    lambda settings: settings.model_copy(update={"priority": False}),
)
REPETITION_DETECTION = Mend(
    "end of loops",
    _hint(REPETITION),
    lambda settings, _: settings.end_loops == "server",
    lambda settings: settings.model_copy(update={"end_loops": "auto"}),
)
# Where temperature and top_p exclude each other, a message names both, and top_p is left out.
MENDS = (LIMIT, TOP_P, TEMPERATURE, SEED, SYSTEM, PRIORITY, REPETITION_DETECTION)
