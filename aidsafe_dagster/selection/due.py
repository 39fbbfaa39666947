"""How many rows each policy, kind, source and language is due, by the shares as set."""

from collections.abc import Collection, Mapping

import polars as pl

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.selection.balance import CELL_COLUMNS
from aidsafe_dagster.selection.settings import (
    DIMENSIONS,
    Dimension,
    SelectionSettings,
    Shares,
)


def rows_due_by_property(
    eligible: pl.DataFrame, settings: SelectionSettings, general: Collection[str]
) -> list[Mapping[str, float]]:
    """Return the rows that each value is due, by property in the order of `DIMENSIONS`.

    Args:
        eligible: the rows above the floor.
        settings: the shares, and how many rows there are to be.
        general: policies that no row is about in particular. How many rows count under them
            follows from the shares of the kinds, since most benign rows do. "Even" spreads the
            rest over the other policies.

    Raises:
        SetupError: a property has weights for values that no row has.
    """
    count = min(settings.rows, eligible.height)
    due: dict[Dimension, Mapping[str, float]] = {}
    for dimension, column in zip(DIMENSIONS, CELL_COLUMNS, strict=True):
        shares = getattr(settings.balance, dimension)
        due[dimension] = _due(dimension, eligible[column], shares, count)
    if settings.balance.policy == "even":
        due["policy"] = _evenly_by_policy(eligible, due["kind"], general, count)
    return [due[dimension] for dimension in DIMENSIONS]


def _due(
    dimension: Dimension, values: pl.Series, shares: Shares, count: int
) -> Mapping[str, float]:
    available = _counts(values)
    due = rows_due(available, shares, count)
    if not any(due.values()):
        raise SetupError(
            f"selection.balance.{dimension}: no row above the floor is of {', '.join(shares)}; "
            f"there are: {', '.join(available)}"
        )
    return due


def _evenly_by_policy(
    eligible: pl.DataFrame,
    due_of_kinds: Mapping[str, float],
    general: Collection[str],
    count: int,
) -> Mapping[str, float]:
    due: dict[str, float] = {}
    for kind, due_of_kind in due_of_kinds.items():
        of_kind = eligible.filter(prompt_kind=kind)
        for policy, rows in _counts(of_kind["policy"]).items():
            if policy in general:
                expected = due_of_kind * rows / of_kind.height
                due[policy] = due.get(policy, 0.0) + expected
    particular = eligible.filter(~pl.col("policy").is_in(list(general)))
    left = count - sum(due.values())
    return due | rows_due(_counts(particular["policy"]), "even", left)


def _counts(values: pl.Series) -> dict[str, int]:
    return dict(sorted(values.value_counts().iter_rows()))


def rows_due(
    available: Mapping[str, int], shares: Shares, rows: float
) -> dict[str, float]:
    """Return how many rows each value of a property is due.

    Where a value has fewer rows than its share, the others take the rest, by their weights. "Even"
    takes no more than half of a value's rows while there are others: with all of them taken, none
    would be chosen.
    """
    if shares == "even":
        halves = {value: (count + 1) // 2 for value, count in available.items()}
        if sum(halves.values()) >= rows:
            available = halves
    weights = _weights(available, shares)
    due = dict.fromkeys(available, 0.0)
    open_values = [value for value in available if weights[value] > 0]
    left = rows
    while open_values and left > 0:
        total = sum(weights[value] for value in open_values)
        unit = left / total
        short = [
            value for value in open_values if available[value] < unit * weights[value]
        ]
        # Those that are short take all they have, and the others share what is then left.
        for value in short or open_values:
            due[value] = float(available[value]) if short else unit * weights[value]
        if not short:
            break
        left -= sum(due[value] for value in short)
        open_values = [value for value in open_values if value not in short]
    return due


def _weights(available: Mapping[str, int], shares: Shares) -> dict[str, float]:
    if shares == "even":
        return dict.fromkeys(available, 1.0)
    if shares == "as_found":
        return {value: float(count) for value, count in available.items()}
    return {value: float(shares.get(value, 0)) for value in available}
