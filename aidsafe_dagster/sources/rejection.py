"""Why a row of a source does not become a prompt.

A bad row is data: it is dropped with a reason and its place, and its neighbours never notice. Only a mistake about the
source as a whole (no such file, no such column) stops ingestion.
"""

from dataclasses import dataclass
from enum import StrEnum


class DropReason(StrEnum):
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    NO_PROMPT = "no_prompt"  # missing, null or blank
    TOO_LONG = "too_long"
    NOT_TEXT = "not_text"  # not a string, or not storable as UTF-8
    NOT_AN_OBJECT = "not_an_object"  # a JSON value that is no object, or a CSV row with other fields than the header
    NO_LICENCE = "no_licence"


@dataclass(frozen=True)
class Rejection:
    reason: DropReason
    detail: str
