from aidsafe_dagster.recipe.repairs import count_repairs


def test_an_answer_counts_once_for_each_thing_that_was_mended() -> None:
    notes = (
        "refiner 0: code fence, extra keys, code fence",
        "deliberator_2 1: code fence",
    )
    assert count_repairs(notes) == {"code fence": 2, "extra keys": 1}
