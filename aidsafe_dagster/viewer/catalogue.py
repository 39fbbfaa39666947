"""Questions to the index: a page of rows, what can be filtered by, the row before and after."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import duckdb
import polars as pl

from aidsafe_dagster.viewer.filters import Filters
from aidsafe_dagster.viewer.folding import Passage, excerpt, folded
from aidsafe_dagster.viewer.row_index import RowIndex
from aidsafe_dagster.viewer.row_texts import place_in_words

PAGE_ROWS = 50
_EXCERPT_CHARS = 220
_SEARCHES_KEPT = 16
_FACETS: Mapping[str, str] = {
    "batch": "batch",
    "source": "source",
    "state": "state",
    "stage": "stage",
    "kind": "prompt_kind",
    "language": "language",
    "category": "category",
    "outcome": "outcome",
    "refusal": "refusal",
    "pair": "pair_kind",
    "policy": "unnest(policies)",
    "verdict": "unnest(list_distinct(verdicts))",
    "reason": "unnest(list_distinct(reasons))",
    "failed_at": "unnest(list_distinct(failed_stages))",
    "split": "unnest(splits)",
    "translated": "unnest(translated_into)",
    "model": "unnest(models)",
}
"""Filter → the values that there are, in SQL."""
_IS_TRANSLATION = (
    "contains(' ' || array_to_string(translation_ids, ' '), ' ' || CAST(? AS VARCHAR))"
)
"""Whether the id of a translation begins so, in SQL."""
_MOST_VALUES = 2_000


@dataclass(frozen=True)
class FoundRow:
    """A row as a list shows it."""

    facts: Mapping[str, Any]
    prompt: Sequence[Passage]
    place: str
    """Where the search found it; empty if in the prompt, or nothing was searched."""
    passage: Sequence[Passage]


@dataclass(frozen=True)
class Page:
    rows: Sequence[FoundRow]
    total: int
    number: int
    pages: int
    simulated: int
    """How many of the rows that match were made by rule."""


@dataclass(frozen=True)
class Neighbours:
    """The rows around one, in the order of a list."""

    before: str | None
    after: str | None
    position: int
    total: int


class Catalogue:
    """Answers from the index as it is at the moment of a question.

    Args:
        index: of all rows.
        mask: hides secrets in what a search found: failures quote servers.
    """

    def __init__(self, index: RowIndex, mask: Callable[[str], str] = str) -> None:
        self._index = index
        self._mask = mask
        self._searches = OrderedDict[tuple[Any, ...], list[str]]()
        self._facets: tuple[int, dict[str, list[tuple[str, int]]]] = (-1, {})
        self._lock = Lock()

    def page(self, filters: Filters) -> Page:
        """Return the rows of a page."""
        cursor = self._index.cursor()
        condition, values = self._condition(filters)
        ((total, simulated),) = cursor.execute(
            f"SELECT count(*), count(*) FILTER (simulated) FROM rows WHERE {condition}",
            values,
        ).fetchall()
        pages = max(1, -(-total // PAGE_ROWS))
        number = min(filters.number, pages)
        rows = cursor.sql(
            f"SELECT * FROM rows WHERE {condition} ORDER BY {filters.order} "
            f"LIMIT {PAGE_ROWS} OFFSET {(number - 1) * PAGE_ROWS}",
            params=values,
        ).to_arrow_table()
        found = self._found_rows(rows.to_pylist(), filters.words)
        return Page(found, total, number, pages, simulated)

    def facets(self) -> dict[str, list[tuple[str, int]]]:
        """Return the values of each filter with the number of their rows."""
        generation = self._index.generation
        if self._facets[0] == generation:
            return self._facets[1]
        cursor = self._index.cursor()
        facets = {}
        for name, value in _FACETS.items():
            facets[name] = cursor.execute(
                f"SELECT value, count(*) FROM (SELECT {value} AS value FROM rows) "
                f"WHERE value <> '' GROUP BY value ORDER BY value LIMIT {_MOST_VALUES}"
            ).fetchall()
        self._facets = (generation, facets)
        return facets

    def neighbours(self, filters: Filters, prompt_id: str) -> Neighbours | None:
        """Return what stands before and after a row in a list; None if it is not in the list."""
        condition, values = self._condition(filters)
        over = f"OVER (ORDER BY {filters.order})"
        rows = (
            self._index.cursor()
            .execute(
                f"SELECT before, after, position, total FROM (SELECT prompt_id, "
                f"lag(prompt_id) {over} AS before, lead(prompt_id) {over} AS after, "
                f"row_number() {over} AS position, count(*) OVER () AS total "
                f"FROM rows WHERE {condition}) WHERE prompt_id = ?",
                [*values, prompt_id],
            )
            .fetchall()
        )
        return Neighbours(*rows[0]) if rows else None

    def ids_with_prefix(self, prefix: str, most: int) -> list[tuple[str, str, str]]:
        """Return id, batch and prompt of the rows whose id begins so, or that are so by their own.

        Own ids come from the source, and count only whole. The id of a translation is one of its
        original.
        """
        return (
            self._index.cursor()
            .execute(
                "SELECT prompt_id, batch, prompt FROM rows WHERE starts_with(prompt_id, ?) "
                f"OR own_id = ? OR {_IS_TRANSLATION} ORDER BY prompt_id LIMIT ?",
                [prefix, prefix, prefix, most],
            )
            .fetchall()
        )

    def matching(self, filters: Filters, words: Sequence[str]) -> pl.DataFrame:
        """Return prompt id and batch of all rows that match, in order; `words` are the search."""
        condition, values = filters.condition()
        ids = self.search(words, [filters.batch] if filters.batch else None)
        rows = self._index.cursor().sql(
            f"SELECT prompt_id, batch FROM rows WHERE {condition} "
            f"AND prompt_id IN (SELECT unnest(?)) ORDER BY {filters.order}",
            params=[*values, ids],
        )
        return pl.DataFrame(rows.to_arrow_table())

    def texts(self, batches: Sequence[str], prompt_ids: Sequence[str]) -> pl.DataFrame:
        """Return every text of these prompts with its place, a line each."""
        texts = self._index.cursor().sql(
            "SELECT prompt_id, unnest(texts, recursive := true) FROM read_parquet(?) "
            "WHERE prompt_id IN (SELECT unnest(?))",
            params=[self._index.files(batches), list(prompt_ids)],
        )
        return pl.DataFrame(texts.to_arrow_table())

    def search(
        self, words: Sequence[str], batches: Sequence[str] | None = None
    ) -> list[str]:
        """Return the ids of the prompts of which some text contains every word."""
        # In a list, not a tuple: batches are few, and the index may change under us.
        key = (self._index.generation, tuple(words), tuple(batches or ()))
        with self._lock:
            if key in self._searches:
                self._searches.move_to_end(key)
                return self._searches[key]
        ids = self._search(words, batches)
        with self._lock:
            self._searches[key] = ids
            while len(self._searches) > _SEARCHES_KEPT:
                self._searches.popitem(last=False)
        return ids

    def _search(self, words: Sequence[str], batches: Sequence[str] | None) -> list[str]:
        files = self._index.files(batches)
        if not files:
            return []
        contains = " AND ".join(["contains(folded, ?)"] * len(words))
        condition = f"({contains})"
        values: list[Any] = list(words)
        if len(words) == 1:
            condition += f" OR starts_with(prompt_id, ?) OR {_IS_TRANSLATION}"
            values += [words[0], words[0]]
        try:
            rows = (
                self._index.cursor()
                .execute(
                    f"SELECT prompt_id FROM read_parquet(?) WHERE {condition}",
                    [files, *values],
                )
                .fetchall()
            )
        except duckdb.IOException:
            # A batch was taken back in this very moment; the next refresh knows.
            return []
        return [prompt_id for (prompt_id,) in rows]

    def _condition(self, filters: Filters) -> tuple[str, list[Any]]:
        condition, values = filters.condition()
        words = filters.words
        if words:
            known = {batch for batch, _ in self.facets()["batch"]}
            batches = [filters.batch] if filters.batch in known else None
            condition += " AND prompt_id IN (SELECT unnest(?))"
            values.append(self.search(words, batches))
        return condition, values

    def _found_rows(
        self, rows: Sequence[Mapping[str, Any]], words: Sequence[str]
    ) -> list[FoundRow]:
        places: dict[str, tuple[str, str]] = {}
        if words and rows:
            batches = sorted({row["batch"] for row in rows})
            texts = self.texts(batches, [row["prompt_id"] for row in rows])
            places = most_telling_texts(texts, words)
        found = []
        for row in rows:
            prompt = excerpt(row["prompt"] or "", words, _EXCERPT_CHARS)
            place, text = places.get(row["prompt_id"], ("", ""))
            # The prompt is shown anyway.
            is_prompt = place.startswith("prompts prompt")
            passage = []
            if not is_prompt:
                passage = excerpt(self._mask(text), words, _EXCERPT_CHARS)
            shown_place = "" if is_prompt else place_in_words(place)
            found.append(FoundRow(row, prompt, shown_place, passage))
        return found


def most_telling_texts(
    texts: pl.DataFrame, words: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Return, by prompt, the place and the text that contain most of the words."""
    hits = pl.sum_horizontal(
        [pl.col("folded").str.contains(word, literal=True) for word in words]
    )
    counted = texts.with_columns(folded(texts["text"]).alias("folded"))
    ranked = (
        counted.with_columns(hits=hits)
        .filter(pl.col("hits") > 0)
        .sort("hits", descending=True, maintain_order=True)
        .unique("prompt_id", keep="first", maintain_order=True)
    )
    telling = {}
    for prompt_id, place, text in ranked.select(
        "prompt_id", "place", "text"
    ).iter_rows():
        telling[prompt_id] = (place, text)
    return telling
