"""Prompts by their id, by as much of it as is unique, or by the id that their source gives them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import language_name_of, translation_tables
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Message
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.own_ids import prompt_of_own_id

_MOST_CHOICES = 8
_MOST_CHARS = 60


class PromptPlace(NamedTuple):
    prompt_id: str
    batch: str
    prompt: str
    earlier: tuple[Message, ...] = ()
    """The turns of a conversation before the prompt."""
    translation_into: str = ""
    """The name of the language, if the id is that of a translation of the prompt."""


def find_prompt(lake: Lake, prefix: str) -> PromptPlace:
    """Return the prompt that has this id, or that its source calls so, or whose id begins so.

    In this order, so that an id that a source gives hides none of ours. The id of a translation
    leads to its original.

    Raises:
        SetupError: there is none, or there are several; names them.
    """
    wanted = prefix.strip().rstrip("…")
    if not wanted:
        raise SetupError("an empty id names no prompt; give at least its beginning")
    matches = prompts_beginning(lake, wanted)
    exact = [match for match in matches if match.prompt_id == wanted]
    if not exact and (own := prompt_of_own_id(lake, prefix.strip())):
        exact = prompts_beginning(lake, own.prompt_id)
    if exact or len(matches) == 1:
        return (exact or matches)[0]
    if not matches:
        matches = _originals_of(lake, wanted)
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise SetupError(
            f"no prompt '{prefix}' in {lake.root}; "
            "ids are in the column prompt_id of every table"
        )
    raise SetupError(
        f"'{prefix}' begins the ids of {len(matches)} prompts; give more of it:\n"
        + "\n".join(_choices(matches))
    )


def prompts_beginning(lake: Lake, prefix: str) -> list[PromptPlace]:
    """Return the prompts whose id begins so, in the order of their ids."""
    ingested = lake.all_rows(INGESTED, ["prompt_id", "batch", "prompt", "earlier"])
    if ingested is None:
        return []
    begins = pl.col("prompt_id").str.to_lowercase().str.starts_with(prefix.lower())
    rows = ingested.filter(begins).unique("prompt_id", keep="first").sort("prompt_id")
    return [_place(row) for row in rows.iter_rows(named=True)]


def _originals_of(lake: Lake, prefix: str) -> list[PromptPlace]:
    """Return the prompts with a translation whose id begins so."""
    places = []
    for table in translation_tables(lake):
        rows = lake.all_rows(table, ["prompt_id", "translated_from"])
        if rows is None:
            continue
        begins = pl.col("prompt_id").str.starts_with(prefix.lower())
        for original in rows.filter(begins)["translated_from"].unique().sort():
            into = language_name_of(table)
            for place in prompts_beginning(lake, original):
                places.append(place._replace(translation_into=into))
    return places


def _place(row: Mapping[str, Any]) -> PromptPlace:
    # An older release kept no turns.
    turns = row["earlier"] or ()
    earlier = tuple(Message.model_validate(turn) for turn in turns)
    return PromptPlace(row["prompt_id"], row["batch"], row["prompt"], earlier)


def _choices(matches: list[PromptPlace]) -> list[str]:
    lines = []
    for match in matches[:_MOST_CHOICES]:
        prompt = " ".join(match.prompt.split())
        if len(prompt) > _MOST_CHARS:
            prompt = prompt[: _MOST_CHARS - 1].rstrip() + "…"
        lines.append(f"  {match.prompt_id}  {prompt}")
    if len(matches) > _MOST_CHOICES:
        lines.append(f"  and {len(matches) - _MOST_CHOICES:,} more")
    return lines
