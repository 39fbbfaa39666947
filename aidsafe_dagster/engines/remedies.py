"""Which setting mends a parameter that a model server refuses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.engines.error_reply import ErrorReply
from aidsafe_dagster.engines.loop_ending import REPETITION
from aidsafe_dagster.engines.settings import ServerSettings

_SYSTEM_ROLE = re.compile(
    r"system (role|message|prompt|instruction)s?\b[^.]{0,40}(not (supported|allowed|enabled|accept)"
    r"|unsupported|n't support)|(not|n't) (support|accept|allow)\w* (a |the )?['\"`]?system\b"
    r"|developer instruction is not enabled|roles must alternate"
    r"|only ['\"`]?user['\"`]? and ['\"`]?(assistant|model)"
    r"|(unsupported|unknown|invalid|unexpected) role[^.]{0,20}system"
)
_BOTH = re.compile(
    r"temperature.{0,60}top_p.{0,80}(both|together|same time|simultaneous|only one|one of)"
    r"|(both|only one of|either).{0,40}temperature.{0,20}top_p"
    r"|not (specify|set|use) both.{0,40}(temperature|top_p)",
    re.DOTALL,
)
_OUTPUT = re.compile(
    r"response_format|json_schema|json_object|json mode|structured.?output"
    r"|guided|grammar|output_config|output_format"
)
_KEYWORDS = (
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "uniqueItems",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minimum",
    "maximum",
    "multipleOf",
    "pattern",
    "format",
    "default",
    "title",
    "description",
    "const",
)
"""Keywords of JSON Schema that an answer can do without, since its check is ours."""
_SCHEMA = re.compile(r"schema|propert|'(string|integer|number|array|object)' type")
_TOO_LARGE = re.compile(
    r"too (large|high|big|many)|valid range|at most|less than|maximum|exceed|\d > \d"
)
_SWITCHES = {"priority": "priority = false", REPETITION: 'end_loops = "stream"'}
"""Fields that a setting of their own sends, and what to set in place of it."""
_NEVER_REFUSED = ("model", "messages")
"""Fields that no server does without, and whose names are words of prose."""


@dataclass(frozen=True)
class Sent:
    """What was sent, as far as a refusal may be about it."""

    settings: ServerSettings
    fields: tuple[str, ...]
    """Top-level fields of the body."""
    table: str
    """The table of the settings that describes the server, such as '[endpoint]'."""


def is_system_role_refused(error: ErrorReply) -> bool:
    return _SYSTEM_ROLE.search(error.text) is not None


def refused_field(error: ErrorReply, sent: Sent) -> str:
    """Return the field of the body that a refusal is about. Empty if it names none."""
    top = error.param.partition(".")[0].partition("[")[0]
    if top in sent.fields and top not in _NEVER_REFUSED:
        return top
    places = {}
    for field in sent.fields:
        place = re.search(rf"\b{re.escape(field.lower())}\b", error.text)
        if place and field not in _NEVER_REFUSED:
            places[field] = place.start()
    # The first one named is what it is about: "use max_completion_tokens instead" comes later.
    return min(places, key=places.__getitem__, default="")


def remedy(error: ErrorReply, sent: Sent) -> str:
    """Return what to set. Empty: no setting is known to mend it."""
    settings = sent.settings
    if is_system_role_refused(error) and settings.system == "own":
        return f'set system = "user" in {sent.table}'
    if _BOTH.search(error.text):
        return f'set omit = ["top_p"] in {sent.table}'
    keywords = _refused_keywords(error)
    if keywords and settings.output == "schema":
        names = (*settings.schema_omit, *keywords)
        return f"set schema_omit = {_listing(names)} in {sent.table}"
    if _OUTPUT.search(f"{error.param.lower()} {error.text}"):
        weaker = {"schema": "json", "json": "text"}.get(settings.output)
        if weaker:
            return f'set output = "{weaker}" in {sent.table}'
    field = refused_field(error, sent)
    return _field_remedy(field, error, sent) if field else ""


def _field_remedy(field: str, error: ErrorReply, sent: Sent) -> str:
    settings = sent.settings
    place = _place_in_settings(field, settings)
    if place:
        return f"take '{field}' out of {place} in {sent.table}"
    if field in settings.continuation:
        return (
            'set belief_position = "tag" in [pairs]: the server does not go on with an '
            f"assistant's message; or correct continuation in {sent.table}"
        )
    if field == "top_logprobs" and _TOO_LARGE.search(error.text):
        return "set extra_body = { top_logprobs = 5 } in [roles.guard]"
    if field.startswith("max_"):
        return _limit_remedy(field, error, sent)
    if field in _SWITCHES:
        return f"set {_SWITCHES[field]} in {sent.table}"
    original = _original_name(field, settings.rename)
    return f"set omit = {_listing((*settings.omit, original))} in {sent.table}"


def _place_in_settings(field: str, settings: ServerSettings) -> str:
    """Return the setting that adds a field to every body; empty if none does."""
    if field in settings.extra_body:
        return "extra_body"
    if field in settings.reasoning_fields:
        return "reasoning_off" if settings.reasoning == "off" else "reasoning_on"
    return ""


def _limit_remedy(field: str, error: ErrorReply, sent: Sent) -> str:
    other = {"max_tokens": "max_completion_tokens"}.get(field)
    if other and other in error.text:
        return f'set rename = {{ max_tokens = "{other}" }} in {sent.table}'
    if field == "max_completion_tokens" and not _TOO_LARGE.search(error.text):
        return f"take max_completion_tokens out of rename in {sent.table}"
    if _TOO_LARGE.search(error.text):
        return f"set a smaller sampling.max_tokens in {sent.table}, or in [sampling]"
    return f'set omit = ["max_tokens"] in {sent.table}'


def _refused_keywords(error: ErrorReply) -> tuple[str, ...]:
    """Return the schema keywords that a refusal names; none if it is about something else."""
    if not _SCHEMA.search(error.text):
        return ()
    return tuple(keyword for keyword in _KEYWORDS if _names(error.text, keyword))


def _names(text: str, keyword: str) -> bool:
    """Return whether a text means a keyword of JSON Schema and not a word of prose."""
    word = re.escape(keyword.lower())
    # "maxLength" is no word of English.
    if keyword != keyword.lower():
        return re.search(rf"\b{word}\b", text) is not None
    listed = rf"['\"`]{word}['\"`]|(propert|keyword)[^.]{{0,80}}\b{word}\b"
    return re.search(listed, text) is not None


def _original_name(field: str, rename: Mapping[str, str]) -> str:
    for original, name in rename.items():
        if name == field:
            return original
    return field


def _listing(names: tuple[Any, ...]) -> str:
    """Return names as a TOML list, each once."""
    quoted = ", ".join(f'"{name}"' for name in dict.fromkeys(names))
    return f"[{quoted}]"
