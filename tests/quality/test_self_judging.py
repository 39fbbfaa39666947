"""A judge's model that wrote what it grades is found, row by row."""

import polars as pl

from aidsafe_dagster.quality.self_judging import (
    SelfJudging,
    find_self_judging,
    self_judging_warning,
)


def lines(*pairs: tuple[str, str]) -> pl.DataFrame:
    schema = {"prompt_id": pl.String, "model": pl.String}
    return pl.DataFrame(list(pairs), schema=schema, orient="row")


def test_a_judge_of_its_own_rows_is_counted_per_row() -> None:
    grades = lines(("p1", "big"), ("p1", "big"), ("p2", "big"), ("p3", "big"))
    seeds = lines(("p1", "small"), ("p2", "big"), ("p3", "small"))
    refined = lines(("p1", "big"), ("p2", "big"), ("p3", "small"))
    assert find_self_judging(grades, [seeds, refined]) == (SelfJudging("big", 2, 3),)


def test_one_of_several_models_of_a_row_is_enough() -> None:
    judged = find_self_judging(lines(("p1", "big")), [lines(("p1", "small, big"))])
    assert judged == (SelfJudging("big", 1, 1),)


def test_a_model_that_wrote_other_rows_is_no_judge_of_its_own() -> None:
    assert not find_self_judging(lines(("p1", "big")), [lines(("p2", "big"))])


def test_a_model_whose_name_begins_alike_is_another() -> None:
    assert not find_self_judging(lines(("p1", "big")), [lines(("p1", "big-2"))])


def test_without_grades_or_writers_there_is_no_warning() -> None:
    assert not find_self_judging(lines(), [lines(("p1", "big"))])
    assert not find_self_judging(lines(("p1", "big")), [])
    assert self_judging_warning(()) == ""


def test_the_warning_names_each_model_with_its_counts() -> None:
    warning = self_judging_warning(
        (SelfJudging("big", 2, 3), SelfJudging("wise", 1200, 1300))
    )
    assert "big (2 of 3 graded rows), wise (1,200 of 1,300 graded rows)" in warning
