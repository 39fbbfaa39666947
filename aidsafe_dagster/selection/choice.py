"""Choose rows: each the one that the shares want most, of the neighbourhood that has the fewest.

A row is taken at a time. First the balance says of which policy, kind, source and language it is to
be. Of those rows, one is taken from the neighbourhood that has given the fewest so far; of rows
there, the hardest; of equally hard ones, the one that scores best. Rows that mean the same as a
chosen one are then out.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.selection.balance import CELL_COLUMNS, Balance, Cell
from aidsafe_dagster.selection.meaning import Meaning


@dataclass(frozen=True)
class Twin:
    """The chosen row that a row means the same as."""

    row: int
    similarity: float


@dataclass(frozen=True)
class Choice:
    chosen: Sequence[int]
    """Rows by index, in the order in which they were taken."""
    twins: dict[int, Twin]
    """Rows that mean the same as a chosen one."""
    without_share: frozenset[int]


class Chooser:
    """Takes rows one by one.

    Args:
        rows: all candidates (`Candidates.rows`).
        eligible: indices of those above the floor.
        meaning: of all candidates.
        places: the neighbourhood of each.
        balance: the shares.
        hard_first: whether difficulty comes before quality.
    """

    def __init__(
        self,
        rows: pl.DataFrame,
        eligible: Sequence[int],
        meaning: Meaning,
        places: NDArray[Any],
        balance: Balance,
        *,
        hard_first: bool,
    ) -> None:
        self._meaning, self._balance = meaning, balance
        self._places = places
        # Numbers, which are compared faster than texts.
        self._kinds = _codes(rows["prompt_kind"])
        self._clusters = _codes(rows["cluster"])
        self._languages = _codes(rows["language"])
        self._has_cluster = (rows["cluster"] != "").to_numpy()
        self._taken_from = np.zeros(int(places.max(initial=0)) + 1, dtype=np.int64)
        self._is_open = np.zeros(rows.height, dtype=bool)
        self._cells: dict[Cell, NDArray[Any]] = {}
        self._cell_of: dict[int, Cell] = {}
        self._twins: dict[int, Twin] = {}
        self._without_share = frozenset(
            self._sort_into_cells(rows, eligible, hard_first=hard_first)
        )

    def choose(self, count: int) -> Choice:
        """Take rows until there are enough, or none is left."""
        chosen: list[int] = []
        while len(chosen) < count:
            row = self._next_row()
            if row is None:
                break
            chosen.append(row)
            self._take(row)
        return Choice(chosen, self._twins, self._without_share)

    def _sort_into_cells(
        self, rows: pl.DataFrame, eligible: Sequence[int], *, hard_first: bool
    ) -> list[int]:
        """Order the rows of each cell, the best first; return those of cells without a share."""
        ranks = _ranks(rows, hard_first=hard_first)
        columns = [rows[name].to_list() for name in CELL_COLUMNS]
        by_cell: defaultdict[Cell, list[int]] = defaultdict(list)
        without_share = []
        for row in sorted(eligible, key=ranks.__getitem__):
            cell = tuple(column[row] for column in columns)
            if self._balance.is_due(cell):
                by_cell[cell].append(row)
                self._cell_of[row] = cell
                self._is_open[row] = True
            else:
                without_share.append(row)
        # In one order, so that of cells that are wanted alike the same one always comes first.
        for cell in sorted(by_cell):
            self._cells[cell] = np.array(by_cell[cell])
        return without_share

    def _next_row(self) -> int | None:
        for cell in sorted(self._cells, key=self._balance.price):
            members = self._cells[cell]
            members = members[self._is_open[members]]
            if len(members):
                self._cells[cell] = members
                # `argmin` returns the first of several, which is the best.
                crowding = self._taken_from[self._places[members]]
                return int(members[crowding.argmin()])
            del self._cells[cell]
        return None

    def _take(self, row: int) -> None:
        self._balance.take(self._cell_of[row])
        self._is_open[row] = False
        self._taken_from[self._places[row]] += 1
        similarity = self._meaning.similarities(row)
        # A harmful prompt and a benign one in nearly the same words are a contrast to learn from.
        is_same = (similarity >= self._meaning.threshold) | self._translations(row)
        is_same &= (self._kinds == self._kinds[row]) & self._is_open
        for other in np.flatnonzero(is_same).tolist():
            # A translation is the same whatever its words say.
            self._twins[other] = Twin(row, float(min(1.0, similarity[other])))
        self._is_open[is_same] = False

    def _translations(self, row: int) -> NDArray[Any]:
        """Return which rows stand in the row's cluster in another language."""
        is_near = (self._clusters == self._clusters[row]) & self._has_cluster
        translated: NDArray[Any] = is_near & (self._languages != self._languages[row])
        return translated


def _codes(values: pl.Series) -> NDArray[Any]:
    codes: NDArray[Any] = values.rank("dense").to_numpy()
    return codes


def _ranks(rows: pl.DataFrame, *, hard_first: bool) -> list[tuple[float, float, int]]:
    """Return what the rows are ordered by: difficulty, quality, and the hash of their ids."""
    ranks = []
    columns = rows.select("difficulty", "quality", "prompt_id")
    for difficulty, quality, prompt_id in columns.iter_rows():
        # Tenths: less is noise, and a better row should not stand back for it.
        hard = round(difficulty or 0.0, 1) if hard_first else 0.0
        ranks.append((-hard, -(quality or 0.0), hash_rank("selection", prompt_id)))
    return ranks
