"""Which row is wanted next, by the shares of policies, kinds, sources and languages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CELL_COLUMNS = ("policy", "prompt_kind", "source", "language")
"""The columns of the properties, in the order of `settings.DIMENSIONS`."""
Cell = tuple[str, ...]
"""The value of each property, in one order."""


@dataclass
class Balance:
    """What each value of each property is due, and what it has."""

    due: Sequence[Mapping[str, float]]
    """By property."""
    taken: list[Counter[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.taken = [Counter() for _ in self.due]

    def is_due(self, cell: Cell) -> bool:
        """Tell whether every value of a cell has a share at all."""
        return all(
            due.get(value, 0) > 0 for value, due in zip(cell, self.due, strict=True)
        )

    def price(self, cell: Cell) -> float:
        """Return by how much a row more of this cell raises the distance from the shares as set.

        The distance is the sum of (rows - due)² / due over all values of all properties, as in the
        chi-square statistic. The price is the less, the more a row of the cell is wanting.
        """
        price = 0.0
        for value, due, taken in zip(cell, self.due, self.taken, strict=True):
            price += (2 * (taken[value] - due[value]) + 1) / due[value]
        return price

    def take(self, cell: Cell) -> None:
        for value, taken in zip(cell, self.taken, strict=True):
            taken[value] += 1
