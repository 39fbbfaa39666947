"""Why a row of a source does not become a prompt.

A bad row is data: it is dropped with a reason and its position, and other rows are unaffected. Only
a mistake about the source as a whole (no such file, no such column) stops ingestion.
"""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from aidsafe_dagster.recipe.records import Record


class DropReason(StrEnum):
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    NO_PROMPT = "no_prompt"
    """Missing, null, or without a visible character; of a transcript, without a user turn."""
    TOO_LONG = "too_long"
    NOT_TEXT = "not_text"
    """Not a string, or not encodable as UTF-8."""
    NOT_AN_OBJECT = "not_an_object"
    """Not a JSON object, or a CSV row whose fields do not match the header."""
    NOT_PARSEABLE = "not_parseable"
    """A line that is no JSON or no CSV, or too deep."""
    NO_LICENCE = "no_licence"
    OTHER_SPEAKER = "other_speaker"
    """A conversation in which somebody else speaks than user, assistant and system: a tool."""
    CHAT_TOKENS = "chat_tokens"
    """It holds tokens by which chat templates mark turns, and the settings want none."""
    BAD_DERIVATION = "bad_derivation"
    """Its column `derivation` does not say how a prompt was made from another one."""
    NO_PARENT = "no_parent"
    """The prompt that it was made from is not in the lake."""


@dataclass(frozen=True)
class Rejection:
    reason: DropReason
    detail: str


class DroppedPrompt(Record):
    """A row that did not become a prompt. Table `dropped_prompts`."""

    source: str
    source_row: str
    reason: DropReason
    detail: str
    own_id: str = Field(
        default="", description="id that the source itself gives the row, or empty"
    )
