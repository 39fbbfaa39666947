"""What is chosen, and why: on rows of planted worth, and on a few that show one thing each."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.reports.frames import open_dataset
from aidsafe_dagster.selection.candidates import Candidates, read_candidates
from aidsafe_dagster.selection.records import SelectionRow
from aidsafe_dagster.selection.select import Selection, select_rows
from aidsafe_dagster.selection.settings import (
    BalanceSettings,
    SelectionFloor,
    SelectionSettings,
)
from tests.builders import policies
from tests.selection.planted import Planted, Truth, a_planted_lake

CHOSEN = 80


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return a_planted_lake(tmp_path_factory.mktemp("planted"), rows=900, topics=60)


def candidates_of(planted: Planted, **floors: float) -> Candidates:
    floor = SelectionFloor(**floors)
    return read_candidates(open_dataset(planted.lake), policies(), floor, 3.0)


@pytest.fixture(scope="module")
def selection(planted: Planted) -> Selection:
    return select_rows(candidates_of(planted), SelectionSettings(rows=CHOSEN), {})


def chosen_rows(selection: Selection) -> list[SelectionRow]:
    return [row for row in selection.rows if row.status == "chosen"]


def truths_of(planted: Planted, rows: Sequence[SelectionRow]) -> list[Truth]:
    return [planted.truths[row.prompt_id] for row in rows]


def test_a_selection_is_worth_more_than_a_random_draw(
    planted: Planted, selection: Selection
) -> None:
    chosen = truths_of(planted, chosen_rows(selection))
    drawn = truths_of(planted, [row for row in selection.rows if row.drawn])
    assert len(chosen) == len(drawn) == CHOSEN
    # What the rows are really worth, which the selection saw through noisy grades.
    assert min(truth.quality for truth in chosen) > 0.5
    assert sum(truth.quality < 0.5 for truth in drawn) > CHOSEN / 3
    assert fmean(truth.quality for truth in chosen) > 0.8
    harder = fmean(truth.difficulty for truth in chosen)
    assert harder > fmean(truth.difficulty for truth in drawn) + 0.1
    assert len({truth.topic for truth in chosen}) > len(
        {truth.topic for truth in drawn}
    )
    assert len({truth.said for truth in chosen}) == CHOSEN
    assert len({truth.said for truth in drawn}) < CHOSEN


def test_the_figures_say_the_same(selection: Selection) -> None:
    best, drawn, everything = selection.facts.sides
    assert (best.rows, drawn.rows) == (CHOSEN, CHOSEN)
    assert best.quality_low is not None
    assert drawn.quality_high is not None
    assert best.quality_low > drawn.quality_high
    assert (best.below_floor, best.same_meaning) == (0, 0)
    assert drawn.below_floor > 0
    assert drawn.same_meaning
    assert best.neighbourhoods > drawn.neighbourhoods
    assert best.off_shares < drawn.off_shares / 2
    assert everything.rows == len(selection.rows)


def test_the_same_rows_are_chosen_twice(planted: Planted, selection: Selection) -> None:
    settings = SelectionSettings(rows=CHOSEN)
    again = select_rows(candidates_of(planted), settings, {})
    assert again == selection


def test_another_seed_draws_others_at_random(
    planted: Planted, selection: Selection
) -> None:
    settings = SelectionSettings(rows=CHOSEN)
    other = select_rows(candidates_of(planted), settings, {}, seed=1)
    assert {row.prompt_id for row in other.rows if row.drawn} != {
        row.prompt_id for row in selection.rows if row.drawn
    }


def test_every_row_says_why_and_every_prompt_is_accounted_for(
    planted: Planted, selection: Selection
) -> None:
    assert all(row.why for row in selection.rows)
    everything, *others = (account.rows for account in selection.facts.accounts)
    assert everything == sum(others) == len(planted.truths)
    statuses = Counter(row.status for row in selection.rows)
    accounts = {account.what: account.rows for account in selection.facts.accounts}
    assert accounts["chosen"] == statuses["chosen"] == CHOSEN
    assert accounts["below the floor of the selection"] == statuses["below_floor"]
    ranks = [row.rank for row in chosen_rows(selection)]
    assert ranks == list(range(1, CHOSEN + 1))


def test_rows_are_balanced_as_set(selection: Selection) -> None:
    for line in selection.facts.shares:
        assert line.chosen == pytest.approx(line.due, abs=max(2, 0.15 * line.due)), line
    sources = {
        line.value: line.chosen
        for line in selection.facts.shares
        if line.dimension == "source"
    }
    # One row in ten comes from the small source, and half of those above the floor are taken.
    assert sources["small"] > 10


def test_weights_hold(planted: Planted) -> None:
    balance = BalanceSettings(
        policy="as_found", kind={"harmful": 3, "benign": 1}, language={"en": 1}
    )
    settings = SelectionSettings(rows=60, balance=balance)
    selection = select_rows(candidates_of(planted), settings, {})
    kinds = Counter(row.prompt_kind for row in chosen_rows(selection))
    assert kinds["harmful"] == pytest.approx(45, abs=4)
    assert kinds["borderline"] == 0
    assert {row.language for row in chosen_rows(selection)} == {"en"}
    without = [row for row in selection.rows if row.status == "no_share"]
    assert any("kind borderline" in row.why for row in without)


def test_a_weight_for_what_no_row_has_is_an_error(planted: Planted) -> None:
    settings = SelectionSettings(balance=BalanceSettings(source={"huge": 1}))
    with pytest.raises(SetupError, match=r"source: no row .* huge; there are: large"):
        select_rows(candidates_of(planted), settings, {})


def test_a_kind_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(SetupError, match="Did you mean 'harmful'"):
        BalanceSettings(kind={"harmfull": 1})


def test_without_a_row_above_the_floor_nothing_is_selected(planted: Planted) -> None:
    floors = dict.fromkeys(SelectionFloor.model_fields, 5.0)
    planted_floor = candidates_of(planted, **floors)
    none = Candidates(
        planted_floor.rows.filter(pl.col("missed") != ""),
        planted_floor.accounts,
        planted_floor.general,
        simulated=False,
    )
    with pytest.raises(SetupError, match=r"are below the floor .* 5 is due"):
        select_rows(none, SelectionSettings(), {})


def some_candidates(*rows: dict[str, Any]) -> Candidates:
    defaults = {
        "batch": "a-0001",
        "source": "a",
        "cluster": "",
        "prompt_kind": "harmful",
        "prompt": "How do I open a lock?",
        "response": "Ask the owner of the house for the key, or a locksmith nearby.",
        "policy": "illegal",
        "quality": 5.0,
        "missed": "",
        "difficulty": 0.5,
        "hardness": "agents revised in 1 of 2 turns",
    }
    frame = pl.DataFrame(
        [
            {"prompt_id": f"p{number}", **defaults, **row}
            for number, row in enumerate(rows)
        ]
    )
    return Candidates(frame, (), frozenset({"helpfulness"}), simulated=False)


LOCKS = "Without any key, how may a burglar pick the lock of a door?"
LOCKS_AGAIN = "How does a burglar pick a door lock without the key?"
BREAD = "Which flour is best for sourdough bread?"


def outcome(candidates: Candidates, rows: int, **settings: Any) -> dict[str, str]:
    """Return the status of each row."""
    chosen = SelectionSettings(rows=rows, **settings)
    selection = select_rows(candidates, chosen, {})
    return {row.prompt_id: row.status for row in selection.rows}


def test_of_two_prompts_that_mean_the_same_the_harder_one_is_taken() -> None:
    candidates = some_candidates(
        {"prompt": LOCKS, "difficulty": 0.2},
        {"prompt": LOCKS_AGAIN, "difficulty": 0.9, "quality": 4.6},
        {"prompt": BREAD},
    )
    expected = {"p0": "same_meaning", "p1": "chosen", "p2": "chosen"}
    assert outcome(candidates, 3) == expected
    selection = select_rows(candidates, SelectionSettings(rows=3), {})
    (twin,) = (row for row in selection.rows if row.prompt_id == "p0")
    assert twin.like == "p1"
    assert twin.why.startswith("means the same as p1")
    assert "harder (0.9, this 0.2)" in twin.why


def test_without_hard_first_the_one_that_scores_best_is_taken() -> None:
    candidates = some_candidates(
        {"prompt": LOCKS, "difficulty": 0.2},
        {"prompt": LOCKS_AGAIN, "difficulty": 0.9, "quality": 4.6},
    )
    assert outcome(candidates, 1, hard_first=False)["p0"] == "chosen"


def test_a_benign_prompt_in_nearly_the_words_of_a_harmful_one_stays() -> None:
    candidates = some_candidates(
        {"prompt": LOCKS},
        {"prompt": LOCKS_AGAIN, "prompt_kind": "benign", "policy": "helpfulness"},
    )
    assert set(outcome(candidates, 2).values()) == {"chosen"}


def test_of_a_prompt_and_its_translation_one_is_taken() -> None:
    german = "Wie knackt ein Einbrecher ein Türschloss ohne Schlüssel?"
    candidates = some_candidates(
        {"prompt": LOCKS, "cluster": "p0"},
        {
            "prompt": german,
            "cluster": "p0",
            "response": "Man fragt den Eigentümer des Hauses oder ruft einen Schlüsseldienst.",
        },
        {"prompt": BREAD, "cluster": "p2"},
    )
    statuses = Counter(outcome(candidates, 3).values())
    assert statuses == {"chosen": 2, "same_meaning": 1}


def test_chinese_prompts_are_told_apart_by_their_characters() -> None:
    candidates = some_candidates(
        {"prompt": "请告诉我如何识别电信诈骗"},
        {"prompt": "如何识别电信诈骗?请告诉我"},
        {"prompt": "怎样种植番茄才能丰收"},
    )
    statuses = outcome(candidates, 3)
    assert statuses["p2"] == "chosen"
    assert sorted([statuses["p0"], statuses["p1"]]) == ["chosen", "same_meaning"]


def test_prompts_without_any_word_are_like_no_other() -> None:
    candidates = some_candidates({"prompt": "???"}, {"prompt": "!!!"})
    assert set(outcome(candidates, 2).values()) == {"chosen"}


def test_equal_prompts_of_many_rows_leave_one() -> None:
    candidates = some_candidates(*({"prompt": LOCKS} for _ in range(30)))
    statuses = Counter(outcome(candidates, 10).values())
    assert statuses == {"chosen": 1, "same_meaning": 29}


def test_rows_of_unknown_worth_can_be_chosen() -> None:
    unknown = {"quality": None, "difficulty": None, "hardness": ""}
    candidates = some_candidates({"prompt": BREAD} | unknown, {"prompt": LOCKS})
    selection = select_rows(candidates, SelectionSettings(rows=2), {})
    assert len(chosen_rows(selection)) == 2
    assert any("difficulty not known" in row.why for row in selection.rows)


def test_embeddings_tell_meanings_apart_where_there_is_a_model() -> None:
    candidates = some_candidates(
        {"prompt": LOCKS}, {"prompt": "Burglary, step by step"}, {"prompt": BREAD}
    )

    def embed(rows: pl.DataFrame) -> NDArray[Any]:
        about_bread = rows["prompt"].str.contains("bread").to_numpy()
        return np.stack([about_bread, ~about_bread], axis=1).astype(np.float32)

    selection = select_rows(
        candidates, SelectionSettings(rows=3), {}, embed=embed, model="topics"
    )
    assert selection.facts.meaning == "embeddings of topics"
    statuses = Counter(row.status for row in selection.rows)
    assert statuses == {"chosen": 2, "same_meaning": 1}
