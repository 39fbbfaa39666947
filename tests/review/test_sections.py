from pathlib import Path

from aidsafe_dagster.reports.sections import Section
from aidsafe_dagster.review.archive import Archive
from aidsafe_dagster.review.ratings import read_ratings
from aidsafe_dagster.review.sample import KeyRow
from aidsafe_dagster.review.sections import review_sections
from tests.review.builders import a_file, a_lake, a_sample, rated_by

SCORES = {"refined": 5, "deliberated": 4, "single_llm": 2}


def refined_side(row: KeyRow) -> str:
    return "left" if row.left == "refined" else "right"


def rated(site: Path, *raters: str, simulated: bool = False) -> list[Section]:
    """The sections of a site with one review, rated alike by all."""
    lake = a_lake(site, simulated=simulated)
    sample, archive = a_sample(lake, size=12), Archive(site)
    archive.store_key(sample)
    rows = rated_by(
        sample,
        lambda version, _: SCORES[version],
        refined_side,
    )
    keys = {sample.review_id: [row.item_id for row in sample.key]}
    for rater in raters:
        archive.add_ratings(
            sample.review_id,
            read_ratings(a_file(site / f"{rater}.csv", rows), rater, keys),
        )
    return review_sections(site, lake)


def test_a_section_shows_the_versions_side_by_side(tmp_path: Path) -> None:
    (section,) = rated(tmp_path, "Ann", "Bob")
    assert section.title.startswith("Human check (review-")
    assert "12 items, rated by 2 people" in section.intro
    raters, scores, preferences, agreement = section.tables
    assert raters.rows[0] == ("Ann", "12", "144", "12")
    assert scores.columns == ("metric", "single LLM", "deliberated", "refined")
    assert scores.rows[3] == (
        "CoT faithful to policy", "2.00 [2.00, 2.00]", "4.00 [4.00, 4.00]", "5.00 [5.00, 5.00]"
    )  # fmt: skip
    assert preferences.rows[1][:4] == ("refined against single LLM", "6", "0", "0")
    assert agreement.rows[0] == ("relevance", "1.00", "24")


def test_a_review_without_ratings_has_no_section(tmp_path: Path) -> None:
    assert rated(tmp_path) == []


def test_ratings_of_simulated_texts_are_labelled(tmp_path: Path) -> None:
    (section,) = rated(tmp_path, "Ann", simulated=True)
    assert "simulated by rule and say nothing about any model" in section.intro
