"""The languages of prompts, told only of the rows in question, since it takes longest of all."""

from collections.abc import Collection

import polars as pl

from aidsafe_dagster.quality.languages import identify_language
from aidsafe_dagster.recipe.languages import told_language

UNKNOWN_LANGUAGE = "unknown"
NOT_LOOKED_AT = ""
_MOST_CHARS = 300
"""Of a text. A language is sure long before."""


def languages_of(rows: pl.DataFrame, indices: Collection[int]) -> pl.Series:
    """Return the language of each row in question by its code; of the others, `NOT_LOOKED_AT`.

    Args:
        rows: with `prompt` and `response`.
        indices: the rows in question.
    """
    languages = [NOT_LOOKED_AT] * rows.height
    wanted = sorted(indices)
    texts = rows[wanted].select("prompt", "response")
    for row, (prompt, response) in zip(wanted, texts.iter_rows(), strict=True):
        languages[row] = _language(prompt[:_MOST_CHARS], response[:_MOST_CHARS])
    return pl.Series("language", languages, dtype=pl.String)


def _language(prompt: str, response: str) -> str:
    language = told_language(prompt, identify_language)
    if language:
        return language
    # Many prompts are too short to be sure of. Their responses are not.
    language = told_language(response, identify_language)
    return language or next(iter(identify_language(prompt)), UNKNOWN_LANGUAGE)
