"""Make a selection: the rows, why each was taken or left, and what they add up to."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.selection.balance import Balance
from aidsafe_dagster.selection.candidates import Candidates
from aidsafe_dagster.selection.choice import Choice, Chooser
from aidsafe_dagster.selection.due import rows_due_by_property
from aidsafe_dagster.selection.language import languages_of
from aidsafe_dagster.selection.meaning import (
    Meaning,
    meaning_by_embeddings,
    meaning_by_words,
    neighbourhoods,
)
from aidsafe_dagster.selection.reasons import Outcomes
from aidsafe_dagster.selection.records import (
    BatchMark,
    Count,
    SelectionFacts,
    SelectionRow,
)
from aidsafe_dagster.selection.settings import SelectionSettings
from aidsafe_dagster.selection.sides import Measured, random_draw, share_lines

SELECTED, RANDOM, ALL = "selected", "random", "all"
_STATUS_ACCOUNTS = {
    "below_floor": "below the floor of the selection",
    "same_meaning": "mean the same as a chosen row",
    "no_share": "have no share in the settings",
    "surplus": "stood back for others",
    "chosen": "chosen",
}
Embed = Callable[[pl.DataFrame], NDArray[Any]]
"""Returns a vector for each row with `batch`, `prompt_id` and `prompt`."""


@dataclass(frozen=True)
class Selection:
    rows: Sequence[SelectionRow]
    facts: SelectionFacts


def select_rows(
    candidates: Candidates,
    settings: SelectionSettings,
    batches: Mapping[str, str],
    *,
    seed: int = 0,
    embed: Embed | None = None,
    model: str = "",
) -> Selection:
    """Choose the best rows. The same candidates, settings and seed give the same rows.

    Args:
        candidates: what there is to choose from.
        settings: how many, above which floor, in which shares.
        batches: batch → fingerprint of its fine-tune rows.
        seed: of the neighbourhoods and of the random draw.
        embed: gives the meanings of prompts; None: words do.
        model: the name of the embedding model.

    Raises:
        SetupError: there is no row to choose from.
    """
    rows = candidates.rows
    drawn = random_draw(rows["prompt_id"].to_list(), settings.rows, seed)
    eligible = np.flatnonzero((rows["missed"] == "").to_numpy())
    if not len(eligible):
        raise SetupError(_why_none(rows))
    rows = rows.with_columns(languages_of(rows, {*eligible.tolist(), *drawn}))
    meaning = _meaning(rows, settings, seed, embed, model)
    places = neighbourhoods(meaning, eligible, settings.rows, seed)
    due = rows_due_by_property(rows.filter(missed=""), settings, candidates.general)
    chooser = Chooser(
        rows,
        eligible,
        meaning,
        places,
        Balance(rows, due),
        hard_first=settings.hard_first,
    )
    choice = chooser.choose(settings.rows)
    drawn = drawn[: len(choice.chosen)]
    selected = _selection_rows(rows, choice, places, set(drawn), settings)
    measured = Measured(rows, meaning, places, due)
    facts = SelectionFacts(
        version=_version(rows, choice),
        rows_key=_rows_key(selected),
        wanted=settings.rows,
        chosen=len(choice.chosen),
        meaning=meaning.name,
        threshold=meaning.threshold,
        neighbourhoods=int(places.max()) + 1,
        seed=seed,
        settings=settings.model_dump_json(),
        simulated=candidates.simulated,
        batches=tuple(
            BatchMark(batch=batch, fingerprint=fingerprint)
            for batch, fingerprint in sorted(batches.items())
        ),
        accounts=_accounts(candidates, selected),
        shares=share_lines(rows, due, choice.chosen, drawn),
        sides=(
            measured.side(SELECTED, choice.chosen, count_same=True),
            measured.side(RANDOM, drawn, count_same=True),
            measured.side(ALL, range(rows.height), count_same=False),
        ),
    )
    return Selection(selected, facts)


def _why_none(rows: pl.DataFrame) -> str:
    if not rows.height:
        return (
            "there is nothing to select: no SFT row is in the train split of these batches "
            "(`aidsafe status`)"
        )
    reasons = Counter(rows["missed"].to_list()).most_common(3)
    examples = "; ".join(f"{count:,} × {missed}" for missed, count in reasons)
    return (
        f"there is nothing to select: all {rows.height:,} SFT rows of the train split are below "
        f"the floor of the selection ({examples}). [selection.floor] sets it"
    )


def _meaning(
    rows: pl.DataFrame,
    settings: SelectionSettings,
    seed: int,
    embed: Embed | None,
    model: str,
) -> Meaning:
    if embed is None:
        prompts = rows["prompt"].to_list()
        return meaning_by_words(prompts, settings.tfidf_threshold, seed)
    return meaning_by_embeddings(embed(rows), settings.embedding_threshold, model)


def _selection_rows(
    rows: pl.DataFrame,
    choice: Choice,
    places: NDArray[Any],
    drawn: set[int],
    settings: SelectionSettings,
) -> list[SelectionRow]:
    """Return a record for each candidate: the chosen ones in their order, then the others."""
    values = rows.to_dicts()
    outcomes = Outcomes(values, choice, places, hard_first=settings.hard_first)
    records = []
    for row, columns in enumerate(values):
        outcome = outcomes.of(row)
        records.append(
            SelectionRow(
                prompt_id=columns["prompt_id"],
                batch=columns["batch"],
                source=columns["source"],
                prompt_kind=columns["prompt_kind"],
                language=columns["language"],
                policy=columns["policy"],
                quality=_rounded(columns["quality"]),
                difficulty=_rounded(columns["difficulty"]),
                hardness=columns["hardness"],
                neighbourhood=int(places[row]),
                status=outcome.status,
                rank=outcome.rank,
                like=outcome.like,
                similarity=outcome.similarity,
                drawn=row in drawn,
                why=outcome.why,
            )
        )
    last = len(records) + 1
    return sorted(records, key=lambda record: (record.rank or last, record.prompt_id))


def _accounts(
    candidates: Candidates, selected: Sequence[SelectionRow]
) -> tuple[Count, ...]:
    """Return where all prompts went: up to the candidates, and what became of those."""
    counts = Counter(row.status for row in selected)
    accounts = list(candidates.accounts)
    for status, what in _STATUS_ACCOUNTS.items():
        accounts.append(Count(what=what, rows=counts[status]))  # type: ignore[index]
    return tuple(accounts)


def _version(rows: pl.DataFrame, choice: Choice) -> str:
    """Hash the chosen rows in their order."""
    ids = rows["prompt_id"].to_list()
    lines = "\n".join(ids[row] for row in choice.chosen)
    return blake2b(lines.encode(), digest_size=6).hexdigest()


def _rows_key(rows: Sequence[SelectionRow]) -> str:
    digest = blake2b(digest_size=8)
    for row in rows:
        digest.update(row.model_dump_json().encode())
    return digest.hexdigest()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
