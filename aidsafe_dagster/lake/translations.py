"""Translations in the lake: a table per language, with a partition per batch."""

from collections.abc import Iterable, Sequence

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.recipe.templates import TRANSLATIONS
from aidsafe_dagster.recipe.translation import (
    TranslatedRow,
    fine_tune_rows,
    originals,
)

EVALUATION_SETS = "evaluation_sets"
"""Table of what each stage of a batch was checked against (`sources.evaluation_sets`)."""
_PREFIX = f"{TRANSLATIONS}_"


def table_of(language: str) -> str:
    """Return the table of the translations into a language."""
    return f"{_PREFIX}{language}"


def translation_tables(lake: Lake) -> list[str]:
    """Return the tables of all languages."""
    return [table for table in lake.tables() if table.startswith(_PREFIX)]


def read_translations(
    lake: Lake, batch: str, rows: Sequence[FineTuneRow]
) -> list[TranslatedRow]:
    """Return the translations that hold for a batch.

    A translation holds as long as its original is in the train split with the same texts, and
    was checked against the evaluation sets that the splits were checked against.

    Args:
        lake: holds them.
        batch: of the originals.
        rows: the batch's rows for training.
    """
    by_id = {original.sft.prompt_id: original for original in originals(rows)}
    translations = []
    for table in translation_tables(lake):
        if not lake.has(table, batch):
            continue
        if _checked(lake, batch, table) != _checked(
            lake, batch, Stage.FINE_TUNE_SPLITS
        ):
            continue
        for row in lake.records(table, batch, TranslatedRow):
            original = by_id.get(row.translated_from)
            if original is None or original.content != row.original:
                continue
            # A rehearsed translation of a real row would pass for one.
            if row.simulated == original.sft.simulated:
                translations.append(row)
    return translations


def translated_rows(
    lake: Lake, batch: str, rows: Sequence[FineTuneRow]
) -> list[tuple[FineTuneRow, TranslatedRow]]:
    """Return the training rows of the translations that hold, each with its translation.

    Of a batch whose `rows` hold no pairs, there are none of pairs.
    """
    pairs = []
    kinds = {row.kind for row in rows}
    for translation in read_translations(lake, batch, rows):
        for row in fine_tune_rows(translation):
            if row.kind in kinds:
                pairs.append((row, translation))
    return pairs


def without_known_in_evaluation(
    lake: Lake, batch: str, rows: pl.DataFrame
) -> pl.DataFrame:
    """Return the rows of a batch whose prompts no translation shows to be in an evaluation set.

    What was made from such a prompt, a jailbreak around it or its benign twin, goes with it.
    """
    known = list(known_in_evaluation(lake, [batch]))
    kept = rows.filter(~pl.col("prompt_id").is_in(known))
    # Older releases wrote no such column.
    if "derivation" not in kept.columns:
        return kept
    parent = pl.col("derivation").struct.field("parent").fill_null("")
    if kept.filter(parent != "").is_empty():
        return kept
    # A parent may be in any batch.
    known_anywhere = list(known_in_evaluation(lake))
    return kept.filter(~parent.is_in(known_anywhere))


def known_in_evaluation(lake: Lake, batches: Sequence[str] | None = None) -> set[str]:
    ids: set[str] = set()
    for table in translation_tables(lake):
        for batch in lake.batches(table) if batches is None else batches:
            failures = lake.failures(table, batch)
            ids.update(failures.filter(reason="contaminated")["prompt_id"])
    return ids


def translated_prompts(lake: Lake) -> Iterable[TranslatedRow]:
    """Yield the rows of all translations, whether or not they hold."""
    for table in translation_tables(lake):
        for batch in lake.batches(table):
            yield from lake.records(table, batch, TranslatedRow)


def _checked(lake: Lake, batch: str, stage: str) -> str:
    """Return the version of the evaluation sets that a table of a batch was checked against."""
    if not lake.has(EVALUATION_SETS, batch):
        return ""
    rows = lake.rows(EVALUATION_SETS, batch, ["stage", "version"])
    versions: list[str] = rows.filter(stage=str(stage))["version"].to_list()
    return versions[0] if versions else ""
