from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import METRICS, Stage, Version
from aidsafe_dagster.review.ratings import Rating, read_ratings
from aidsafe_dagster.review.results import Results, summarise_review
from aidsafe_dagster.review.sample import KeyRow, ReviewSample
from tests.builders import a_comparison, a_cot_grades, a_grade
from tests.review.builders import a_file, a_lake, a_sample, put, rated_by

Score = Callable[[Version, KeyRow], int]
BASE: dict[Version, int] = {"refined": 5, "deliberated": 4, "single_llm": 2}


def by_version(version: Version, row: KeyRow) -> int:
    return BASE[version]


def refined(row: KeyRow) -> str:
    return "left" if row.left == "refined" else "right"


def other(row: KeyRow) -> str:
    return "right" if row.left == "refined" else "left"


def ratings(
    folder: Path,
    sample: ReviewSample,
    rater: str,
    score: Score = by_version,
    prefers: Callable[[KeyRow], str] = refined,
) -> list[Rating]:
    file = a_file(folder / f"{rater}.csv", rated_by(sample, score, prefers))
    return read_ratings(
        file,
        rater,
        {sample.review_id: [row.item_id for row in sample.key]},
    )


def results(sample: ReviewSample, lake: Lake, *rating_lists: list[Rating]) -> Results:
    return summarise_review(
        sample.review_id,
        sample.key,
        list(chain(*rating_lists)),
        lake,
    )


def find_row(rows: list[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    (match,) = [row for row in rows if wanted.items() <= row.items()]
    return match


def test_scores_are_means_per_version_with_intervals(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    sample = a_sample(lake, size=12)
    last = sample.key[-1].item_id

    def score(version: Version, row: KeyRow) -> int:
        return 1 if version == "refined" and row.item_id == last else BASE[version]

    outcome = results(
        sample,
        lake,
        ratings(tmp_path, sample, "Ann", score),
    )
    assert len(outcome.scores) == 3 * len(METRICS)
    mean = find_row(outcome.scores, version="refined", metric="relevance")
    assert mean["mean"] == round((11 * 5 + 1) / 12, 3)
    assert mean["items"] == 12
    assert mean["low"] < mean["mean"] < mean["high"]
    assert (
        find_row(outcome.scores, version="deliberated", metric="coherence")["mean"]
        == 4.0
    )
    assert (
        find_row(outcome.scores, version="single_llm", metric="coherence")["items"] == 6
    )
    assert outcome.raters == [
        {"rater": "Ann", "items": 12, "scores": 12 * 12, "preferences": 12}
    ]


def test_the_majority_decides_a_preference_and_a_split_is_a_tie(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    sample = a_sample(lake, size=12)
    ann = ratings(tmp_path, sample, "Ann")
    alone = results(sample, lake, ann).preferences
    assert [
        (one["versions"], one["wins"], one["ties"], one["losses"]) for one in alone
    ] == [
        ("refined against deliberated", 6, 0, 0),
        ("refined against single_llm", 6, 0, 0),
    ]
    assert alone[0]["high"] == 1.0
    assert alone[0]["low"] == pytest.approx(
        6 / (6 + 1.96**2), abs=0.002
    )  # Wilson's bound where all are wins
    split = results(
        sample, lake, ann, ratings(tmp_path, sample, "Bob", prefers=other)
    ).preferences
    assert [
        (one["wins"], one["ties"], one["losses"], one["win_rate"]) for one in split
    ] == [(0, 6, 0, 0.5)] * 2


def test_agreement_is_full_for_equal_ratings_and_lower_for_contrary_ones(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path)
    sample = a_sample(lake, size=12)
    ann, bob = ratings(tmp_path, sample, "Ann"), ratings(tmp_path, sample, "Bob")
    contrary = ratings(
        tmp_path,
        sample,
        "Eve",
        lambda version, row: 6 - BASE[version],
        other,
    )
    assert results(sample, lake, ann).agreement == []
    same = find_row(results(sample, lake, ann, bob).agreement, what="relevance")
    assert same["kappa"] == 1.0
    assert same["rater_pairs"] == 1
    assert same["marks_in_common"] == 24
    three = results(sample, lake, ann, bob, contrary).agreement
    assert find_row(three, what="relevance")["rater_pairs"] == 3
    assert find_row(three, what="relevance")["kappa"] < 0.5


def test_raters_are_compared_with_each_judge_of_the_lake(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    sample = a_sample(lake, size=12)
    for batch in ("mine-0001", "mine-0002"):
        rows = [_graded(row, batch) for row in sample.key if row.batch == batch]
        put(lake, Stage.COT_GRADES, batch, rows)
    judges = results(sample, lake, ratings(tmp_path, sample, "Ann")).judges
    good = find_row(judges, judge="judge (small-chat)", what="coherence")
    bad = find_row(judges, judge="second_judge (small-chat)", what="coherence")
    assert good["kappa"] == 1.0
    assert good["spearman"] == 1.0
    assert good["marks_in_common"] == 24
    assert bad["kappa"] < 0
    assert bad["spearman"] == -1.0


def _graded(row: KeyRow, batch: str) -> Any:
    alike = [a_grade(score, version=version) for version, score in BASE.items()]
    contrary = [
        a_grade(6 - score, version=version, judge="second_judge")
        for version, score in BASE.items()
    ]
    wins = [a_comparison(against=against) for against in ("single_llm", "deliberated")]
    grades = (*alike, *contrary)
    return a_cot_grades(
        prompt_id=row.prompt_id, batch=batch, grades=grades, comparisons=tuple(wins)
    )


def test_preferences_of_raters_are_compared_with_those_of_the_judge(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path)
    sample = a_sample(lake, size=12)
    preferred = {row.prompt_id: n % 2 for n, row in enumerate(sample.key)}
    rows = []
    for row in sample.key:
        win_or_loss = ("win", "loss")[preferred[row.prompt_id]]
        comparisons = (
            a_comparison(against="single_llm", outcome=win_or_loss),
            a_comparison(against="deliberated", outcome=win_or_loss),
        )
        rows.append(a_cot_grades(prompt_id=row.prompt_id, comparisons=comparisons))
    put(lake, Stage.COT_GRADES, "mine-0001", rows)
    ann = ratings(
        tmp_path,
        sample,
        "Ann",
        prefers=lambda row: (refined, other)[preferred[row.prompt_id]](row),
    )
    outcome = find_row(results(sample, lake, ann).judges, what="preference")
    assert outcome["kappa"] == 1.0
    assert outcome["spearman"] == 1.0
    assert outcome["marks_in_common"] == 12


def test_a_review_without_ratings_has_no_tables(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    sample = a_sample(lake)
    outcome = results(sample, lake)
    assert outcome.items == 8
    assert outcome.scores == []
    assert outcome.preferences == []
    assert outcome.agreement == []
    assert outcome.judges == []
