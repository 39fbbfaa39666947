"""How much each row is wanted, by the shares of policies, kinds, sources and languages."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

CELL_COLUMNS = ("policy", "prompt_kind", "source", "language")
"""The columns of the properties, in the order of `settings.DIMENSIONS`."""


class Property:
    """The values of one property over all rows, what each is due, and what it has.

    Args:
        values: of each row, as a number.
        due: rows that each value is due, all above 0.
    """

    def __init__(self, values: NDArray[Any], due: NDArray[Any]) -> None:
        self._values, self._due = values, due
        self._taken = np.zeros(len(due))

    def prices(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return by how much each row, if it is taken, raises the distance from what is due.

        The distance is the sum of (rows - due)² / due over the values, as in the chi-square
        statistic. The less the price, the more the row is wanted; below 0 it is wanting.
        """
        of_values = (2 * (self._taken - self._due) + 1) / self._due
        prices: NDArray[Any] = of_values[self._values[rows]]
        return prices

    def take(self, row: int) -> None:
        self._taken[self._values[row]] += 1


class Balance:
    """All properties together.

    Args:
        rows: all candidates.
        due: by property, in the order of `CELL_COLUMNS`: rows that each value is due.
    """

    def __init__(self, rows: pl.DataFrame, due: Sequence[Mapping[str, float]]) -> None:
        has_share = np.ones(rows.height, dtype=bool)
        self._properties = []
        for column, of_values in zip(CELL_COLUMNS, due, strict=True):
            wanted = {value: due for value, due in of_values.items() if due > 0}
            numbers = {value: number for number, value in enumerate(wanted)}
            values = np.array([numbers.get(value, -1) for value in rows[column]])
            has_share &= values >= 0
            self._properties.append(Property(values, np.array([*wanted.values()])))
        self.has_share = has_share
        """Whether each row is of values that are due rows at all."""

    def prices(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the price of each of these rows, which must have a share."""
        total = np.zeros(len(rows))
        for one in self._properties:
            total += one.prices(rows)
        return total

    def take(self, row: int) -> None:
        for one in self._properties:
            one.take(row)
