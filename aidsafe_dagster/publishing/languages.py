"""The languages of a release, told from its prompts and responses."""

from collections import Counter

import polars as pl

from aidsafe_dagster.lake.translations import translation_tables
from aidsafe_dagster.quality.languages import identify_language
from aidsafe_dagster.recipe.card import LanguageFacts, LanguagesFacts
from aidsafe_dagster.recipe.languages import told_language
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import Dataset

_MOST_ROWS = 5000
"""Looked at, in the order of their ids, which are hashes: seconds, whatever the size."""
_MOST_CHARS = 600
"""Of a text. A language is sure long before."""
_LEAST_SHARE = 0.01
"""Of the texts with a sure language, for a language to be one of the dataset."""


def language_facts(dataset: Dataset, published: pl.DataFrame) -> LanguagesFacts:
    """Count the languages of prompts and responses."""
    ids = published.select("prompt_id").unique().sort("prompt_id").head(_MOST_ROWS)
    columns = ["prompt_id", "prompt", "response"]
    frames = [dataset.rows(Stage.REFINED_COTS, *columns)]
    for table in translation_tables(dataset.lake):
        for batch in dataset.batches_of(table):
            frames.append(dataset.lake.rows(table, batch, columns))
    rows = pl.concat(frames).join(ids, on="prompt_id", how="semi")
    prompts = _count(rows["prompt"])
    responses = _count(rows["response"])
    both = prompts + responses
    ordered = sorted(both, key=lambda language: (-both[language], language))
    return LanguagesFacts(
        of_rows=rows.height,
        rows=tuple(
            LanguageFacts(
                language=language,
                prompts=prompts[language],
                responses=responses[language],
            )
            for language in ordered
            if language
        ),
        untold_prompts=prompts[""],
        untold_responses=responses[""],
    )


def main_languages(facts: LanguagesFacts) -> tuple[str, ...]:
    """Return the languages for the head of the card, the most frequent first."""
    prompts = sum(row.prompts for row in facts.rows)
    responses = sum(row.responses for row in facts.rows)
    languages = []
    for row in facts.rows:
        is_asked = row.prompts >= max(1, _LEAST_SHARE * prompts)
        is_answered = row.responses >= max(1, _LEAST_SHARE * responses)
        if is_asked or is_answered:
            languages.append(row.language)
    return tuple(languages)


def _count(texts: pl.Series) -> Counter[str]:
    """Count texts by language; an empty one: not told."""
    return Counter(
        told_language(text[:_MOST_CHARS], identify_language) for text in texts
    )
