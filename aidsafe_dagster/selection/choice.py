"""Choose rows: each the one that the shares and the spread over meanings want most.

A row is taken at a time. Its price says how far it takes the selection away from the shares of
policies, kinds, sources and languages, and from as many rows of each neighbourhood as of any other.
The row of the lowest price is taken; of equals, the hardest; of equally hard ones, the one that
scores best. Rows that mean the same as a chosen one are then out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.selection.balance import Balance, Property
from aidsafe_dagster.selection.meaning import Meaning

_SPREAD_WEIGHT = 0.1
"""Of the neighbourhoods, beside 1 for each property. Measured on 20,000 rows of planted worth: with
0 fewer topics than by chance, with 1 half of the rows of a policy away from its share."""


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
        eligible: NDArray[Any],
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
        self._twins: dict[int, Twin] = {}
        has_share = balance.has_share[eligible]
        self._without_share = frozenset(eligible[~has_share].tolist())
        ranks = _ranks(rows, hard_first=hard_first)
        ordered = sorted(eligible[has_share].tolist(), key=ranks.__getitem__)
        self._ordered = np.array(ordered, dtype=np.int64)
        """Those with a share, the best first."""
        self._is_open = np.zeros(rows.height, dtype=bool)
        self._is_open[self._ordered] = True

    def choose(self, count: int) -> Choice:
        """Take rows until there are enough, or none is left."""
        neighbourhoods = int(self._places.max(initial=0)) + 1
        due = np.full(neighbourhoods, count / neighbourhoods)
        spread = Property(self._places, due)
        chosen: list[int] = []
        while len(chosen) < count:
            self._ordered = self._ordered[self._is_open[self._ordered]]
            if not len(self._ordered):
                break
            prices = self._balance.prices(self._ordered)
            prices += _SPREAD_WEIGHT * spread.prices(self._ordered)
            # `argmin` returns the first of several, which is the best of them. Rounded, since
            # sums of the same numbers may differ in their last bit.
            row = int(self._ordered[prices.round(9).argmin()])
            chosen.append(row)
            self._balance.take(row)
            spread.take(row)
            self._close(row)
        return Choice(chosen, self._twins, self._without_share)

    def _close(self, row: int) -> None:
        """Close a chosen row, and those that mean the same."""
        self._is_open[row] = False
        similarity = self._meaning.similarities(row)
        # A harmful prompt and a benign one in nearly the same words are a contrast to learn from.
        is_same = (similarity >= self._meaning.threshold) | self._translations(row)
        is_same &= (self._kinds == self._kinds[row]) & self._is_open
        for other in np.flatnonzero(is_same).tolist():
            self._twins[other] = Twin(row, float(min(1.0, similarity[other])))
        self._is_open[is_same] = False

    def _translations(self, row: int) -> NDArray[Any]:
        """Return which rows stand in the row's cluster in another language.

        They mean the same, whatever their words say.
        """
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
