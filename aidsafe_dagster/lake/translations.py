"""Translations in the lake: a table per language, with a partition per batch."""

from collections.abc import Iterable, Sequence

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.recipe.language_names import LANGUAGE_NAMES
from aidsafe_dagster.recipe.records import Failure, FineTuneRow, Stage
from aidsafe_dagster.recipe.templates import TRANSLATIONS
from aidsafe_dagster.recipe.translation import (
    Original,
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


def is_translation_table(table: str) -> bool:
    return table.startswith(_PREFIX)


def language_name_of(table: str) -> str:
    """Return the name of the language of a table of translations."""
    code = table.removeprefix(_PREFIX)
    return LANGUAGE_NAMES.get(code, code)


def translation_tables(lake: Lake) -> list[str]:
    """Return the tables of all languages."""
    return [table for table in lake.tables() if is_translation_table(table)]


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
        if not lake.has(table, batch) or not is_checked_alike(lake, batch, table):
            continue
        for row in lake.records(table, batch, TranslatedRow):
            if is_translation_of(row, by_id.get(row.translated_from)):
                translations.append(row)
    return translations


def is_checked_alike(lake: Lake, batch: str, table: str) -> bool:
    """Tell whether translations were checked against the sets that the splits were."""
    of_splits = _checked(lake, batch, Stage.FINE_TUNE_SPLITS)
    return _checked(lake, batch, table) == of_splits


def is_translation_of(row: TranslatedRow, original: Original | None) -> bool:
    """Tell whether a translation is one of what its original says now."""
    if original is None or original.content != row.original:
        return False
    # A rehearsed translation of a real row would pass for one.
    return row.simulated == original.sft.simulated


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


def translation_failures(lake: Lake) -> pl.DataFrame:
    """Return what could not be translated, and what was left out, of all languages."""
    frames = [pl.DataFrame(schema=schema_of(Failure))]
    for table in translation_tables(lake):
        for batch in lake.batches(table):
            frames.append(lake.failures(table, batch))
    return pl.concat(frames, how="diagonal_relaxed")


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
