"""How many rows each value of a property is due."""

import pytest

from aidsafe_dagster.selection.due import rows_due


def test_even_shares_are_equal_where_there_are_rows() -> None:
    assert rows_due({"a": 100, "b": 40, "c": 60}, "even", 30) == {
        "a": 10,
        "b": 10,
        "c": 10,
    }


def test_a_scarce_value_gives_half_of_its_rows_and_the_others_take_the_rest() -> None:
    assert rows_due({"a": 100, "b": 8, "c": 100}, "even", 60) == {
        "a": 28,
        "b": 4,
        "c": 28,
    }


def test_where_halves_do_not_do_all_rows_are_taken() -> None:
    assert rows_due({"a": 10, "b": 4}, "even", 12) == {"a": 8, "b": 4}


def test_shares_as_found_are_those_of_the_rows() -> None:
    assert rows_due({"a": 90, "b": 10}, "as_found", 50) == {"a": 45, "b": 5}


def test_weights_count_in_proportion_and_a_value_without_one_gets_nothing() -> None:
    due = rows_due({"a": 90, "b": 90, "c": 90}, {"a": 2, "b": 1}, 30)
    assert due == {"a": 20, "b": 10, "c": 0}


def test_a_value_with_a_weight_gives_all_it_has() -> None:
    assert rows_due({"a": 90, "b": 3}, {"a": 1, "b": 1}, 30) == {"a": 27, "b": 3}


@pytest.mark.parametrize("shares", ["even", "as_found", {"a": 5, "b": 1}])
def test_no_more_is_due_than_there_is(shares: str | dict[str, float]) -> None:
    assert rows_due({"a": 3, "b": 2}, shares, 100) == {"a": 3, "b": 2}  # type: ignore[arg-type]
