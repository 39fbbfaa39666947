"""A selection beside a random draw of its size, and beside all rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import polars as pl
from numpy.typing import NDArray

from aidsafe_dagster.quality.statistics import Estimate, mean_interval
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.selection.balance import CELL_COLUMNS
from aidsafe_dagster.selection.language import NOT_LOOKED_AT
from aidsafe_dagster.selection.meaning import Meaning
from aidsafe_dagster.selection.records import ShareLine, SideFigures
from aidsafe_dagster.selection.settings import DIMENSIONS


def random_draw(prompt_ids: Sequence[str], count: int, seed: int) -> list[int]:
    """Return the indices of a random draw. A larger one contains the smaller one."""

    def rank(row: int) -> int:
        return hash_rank("random selection", seed, prompt_ids[row])

    return sorted(range(len(prompt_ids)), key=rank)[:count]


@dataclass(frozen=True)
class Measured:
    """What the sides are measured by."""

    rows: pl.DataFrame
    meaning: Meaning
    places: NDArray[Any]
    due: Sequence[Mapping[str, float]]
    """Rows that each value of each property is due."""

    def side(
        self, name: str, chosen: Sequence[int], *, count_same: bool
    ) -> SideFigures:
        """Return what a set of rows is worth.

        Args:
            name: of the side.
            chosen: indices of its rows.
            count_same: whether to look for rows that mean the same, which takes a comparison of
                each with each.
        """
        rows = self.rows[list(chosen)]
        quality = _mean(rows["quality"])
        difficulty = _mean(rows["difficulty"])
        return SideFigures(
            name=name,
            rows=rows.height,
            quality=quality and quality.value,
            quality_low=quality and quality.low,
            quality_high=quality and quality.high,
            below_floor=rows.filter(pl.col("missed") != "").height,
            difficulty=difficulty and difficulty.value,
            difficulty_low=difficulty and difficulty.low,
            difficulty_high=difficulty and difficulty.high,
            neighbourhoods=len({int(self.places[row]) for row in chosen}),
            same_meaning=self._count_same(chosen) if count_same else None,
            off_shares=self._off_shares(rows),
        )

    def _count_same(self, chosen: Sequence[int]) -> int:
        """Count the rows that mean the same as an earlier one of the same kind."""
        kinds = self.rows["prompt_kind"].to_list()
        repeated = set[int]()
        for place, row in enumerate(chosen):
            similarity = self.meaning.similarities(row)
            for other in chosen[place + 1 :]:
                is_same = similarity[other] >= self.meaning.threshold
                if is_same and kinds[other] == kinds[row]:
                    repeated.add(other)
        return len(repeated)

    def _off_shares(self, rows: pl.DataFrame) -> float:
        """Return the total variation distance from the shares as set, mean of the properties.

        A property that is not known of every row does not count.
        """
        distances = []
        for column, due in zip(CELL_COLUMNS, self.due, strict=True):
            counts = dict(rows[column].value_counts().iter_rows())
            if NOT_LOOKED_AT in counts:
                continue
            total, total_due = max(1, rows.height), sum(due.values()) or 1.0
            apart = 0.0
            for value in {*counts, *due}:
                share = counts.get(value, 0) / total
                apart += abs(share - due.get(value, 0.0) / total_due)
            distances.append(apart / 2)
        return round(fmean(distances), 4)


def share_lines(
    rows: pl.DataFrame,
    due: Sequence[Mapping[str, float]],
    chosen: Sequence[int],
    drawn: Sequence[int],
) -> tuple[ShareLine, ...]:
    """Return the rows of each value of each property, in the selection and in the random draw."""
    lines = []
    for dimension, column, due_rows in zip(DIMENSIONS, CELL_COLUMNS, due, strict=True):
        eligible = rows.filter(missed="")[column]
        counts = [
            dict(values.value_counts().iter_rows())
            for values in (
                eligible,
                rows[list(chosen)][column],
                rows[list(drawn)][column],
            )
        ]
        for value in sorted({value for of_side in counts for value in of_side}):
            lines.append(
                ShareLine(
                    dimension=dimension,
                    value=value,
                    eligible=counts[0].get(value, 0),
                    due=round(due_rows.get(value, 0.0), 2),
                    chosen=counts[1].get(value, 0),
                    drawn=counts[2].get(value, 0),
                )
            )
    return tuple(lines)


def _mean(values: pl.Series) -> Estimate | None:
    return mean_interval(values.drop_nulls().to_list())
