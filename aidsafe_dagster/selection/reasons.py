"""Why each row is chosen, or is not, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from aidsafe_dagster.selection.balance import CELL_COLUMNS
from aidsafe_dagster.selection.choice import Choice
from aidsafe_dagster.selection.records import Status

Row = Mapping[str, Any]
_NAMES = dict(zip(CELL_COLUMNS, ("policy", "kind", "source", "language"), strict=True))


@dataclass(frozen=True)
class Outcome:
    status: Status
    why: str
    rank: int | None = None
    like: str = ""
    similarity: float | None = None


class Outcomes:
    """What became of each row of a choice.

    Args:
        rows: all candidates.
        choice: which of them were taken.
        places: the neighbourhood of each.
        hard_first: whether difficulty came before quality.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        choice: Choice,
        places: NDArray[Any],
        *,
        hard_first: bool,
    ) -> None:
        self._rows, self._choice, self._places = rows, choice, places
        self._hard_first = hard_first
        self._ranks = {row: rank for rank, row in enumerate(choice.chosen, start=1)}
        # The first of each neighbourhood: the one that another row of it stood back for.
        self._first_of: dict[int, int] = {}
        for row in reversed(choice.chosen):
            self._first_of[int(places[row])] = row
        self._sizes: dict[int, int] = {}
        for row, values in enumerate(rows):
            if not values["missed"]:
                place = int(places[row])
                self._sizes[place] = self._sizes.get(place, 0) + 1

    def of(self, row: int) -> Outcome:
        values = self._rows[row]
        if values["missed"]:
            return Outcome("below_floor", f"below the floor: {values['missed']}")
        if row in self._ranks:
            return Outcome("chosen", self._why_chosen(row), self._ranks[row])
        if row in self._choice.without_share:
            return Outcome("no_share", self._why_no_share(values))
        if row in self._choice.twins:
            return self._twin(row)
        return self._surplus(row)

    def _why_chosen(self, row: int) -> str:
        values, place = self._rows[row], int(self._places[row])
        size = self._sizes[place]
        if size == 1:
            about = "alone in what it asks"
        elif self._first_of[place] == row:
            about = f"the first of {size} that ask alike"
        else:
            about = f"one more of {size} that ask alike"
        properties = ", ".join(
            f"{name} {values[column]}" for column, name in _NAMES.items()
        )
        return f"{about}; {_worth(values)}; for {properties}"

    def _why_no_share(self, values: Row) -> str:
        properties = [f"{name} {values[column]}" for column, name in _NAMES.items()]
        return f"the settings give no share to one of {', '.join(properties)}"

    def _twin(self, row: int) -> Outcome:
        twin = self._choice.twins[row]
        other = self._rows[twin.row]["prompt_id"]
        why = f"means the same as {other} ({twin.similarity:.2f}), {self._before(row, twin.row)}"
        return Outcome("same_meaning", why, None, other, round(twin.similarity, 4))

    def _surplus(self, row: int) -> Outcome:
        first = self._first_of.get(int(self._places[row]))
        if first is None:
            return Outcome("surplus", "the rows were full before its turn came")
        other = self._rows[first]["prompt_id"]
        why = f"asks much like {other}, {self._before(row, first)}"
        return Outcome("surplus", why, None, other)

    def _before(self, row: int, chosen: int) -> str:
        """Say why a chosen row came before another one."""
        own, other = self._rows[row], self._rows[chosen]
        hard, other_hard = (
            round(values["difficulty"] or 0.0, 1) for values in (own, other)
        )
        if self._hard_first and other_hard > hard:
            return f"which is chosen and harder ({other_hard:.1f}, this {hard:.1f})"
        own_score, other_score = own["quality"] or 0.0, other["quality"] or 0.0
        if other_score > own_score and other_hard >= hard:
            return f"which is chosen and scores {other_score:.2f}, this {own_score:.2f}"
        if (other_hard, other_score) == (hard, own_score):
            return "which is chosen and its equal"
        return (
            "which is chosen, as the shares wanted its policy, kind, source or language"
        )


def _worth(values: Row) -> str:
    if values["difficulty"] is None:
        worth = "difficulty not known"
    else:
        worth = f"difficulty {values['difficulty']:.2f} ({values['hardness']})"
    if values["quality"] is not None:
        worth += f", scores {values['quality']:.2f}"
    return worth
