"""The column `derivation`: how a prompt was made from another one, or for a rule.

A file of such prompts says so in this column, and ingestion keeps each with its parent. A row that
says it wrongly is rejected: without its parent, a jailbreak around a held-out prompt would pass for
a prompt like any other.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from aidsafe_dagster.recipe.records import Derivation, Prompt
from aidsafe_dagster.sources.compared_turns import compared_texts
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.rows import is_text

DERIVATION_COLUMN = "derivation"
_FORM = (
    'an object such as {"method": "wrapper", "parent": "<prompt_id>"} is due; rename the column '
    "if it means something else"
)


def read_derivation(value: object) -> Derivation | Rejection | None:
    """Return what a row says of how its prompt was made; None if it says nothing."""
    fields = _fields_of(value)
    if fields is None:
        return _rejection(_FORM)
    if not fields:
        return None
    try:
        derivation = Derivation.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return _rejection(f"{where}: {first['msg']}; {_FORM}")
    if derivation.is_for_training_alone and not derivation.parent:
        return _rejection(f"a {derivation.method} names no 'parent'; {_FORM}")
    texts = [text for text in fields.values() if isinstance(text, str)]
    if not all(map(is_text, texts)):
        return _rejection("not valid Unicode text: it holds a lone surrogate")
    return derivation


def with_parent_texts(derivation: Derivation, parent: Prompt) -> Derivation:
    """Return the derivation with all that is looked for in evaluation sets beside the prompt."""
    texts = compared_texts(parent.prompt_turns)
    if parent.derivation is not None:
        texts += parent.derivation.parent_texts
    return derivation.model_copy(update={"parent_texts": tuple(dict.fromkeys(texts))})


def _fields_of(value: object) -> Mapping[str, Any] | None:
    """Return the fields that have a value; None if it is no object. A CSV cell holds JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError):
            return None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return None
    # Ingestion knows the parent's texts itself. In a Parquet file, what is missing is null.
    return {
        str(name): field
        for name, field in value.items()
        if field is not None and name != "parent_texts"
    }


def _rejection(detail: str) -> Rejection:
    return Rejection(DropReason.BAD_DERIVATION, f"'{DERIVATION_COLUMN}': {detail}")
