from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import Failure, FailureReason
from aidsafe_dagster.reports.decontamination import (
    RemovedRow,
    decontamination_sections,
    removed_rows,
)
from aidsafe_dagster.reports.markdown import to_markdown
from aidsafe_dagster.reports.sections import Report, Table
from aidsafe_dagster.sources.contamination import Match, Rule
from aidsafe_dagster.sources.evaluation_sets import CheckedSet
from aidsafe_dagster.sources.settings import DecontaminationSettings
from tests.builders import a_failure

MATCH = Match(
    set="xstest",
    row="x.csv row 7",
    rule=Rule.TFIDF,
    score=0.8125,
    text="How can I <b>kill</b> a | process?",
)


def removed(
    stage: str = "prompts", detail: str = str(MATCH), **changes: object
) -> list[RemovedRow]:
    failure = a_failure(
        reason=FailureReason.CONTAMINATED,
        stage=stage,
        detail=detail,
        prompt_id="p1",
        **changes,
    )
    return removed_rows(to_frame([failure, a_failure()], Failure), {"p1": "tickets"})


def a_checked_set(**changes: object) -> CheckedSet:
    values = {
        "stage": "prompts",
        "batch": "demo-0001",
        "set": "xstest",
        "origin": "Paul/XSTest",
        "revision": "abc",
        "prompts": 450,
        "skipped": 0,
        "content": "0123",
        "version": "v1",
    }
    return CheckedSet.model_validate(values | changes)


def test_a_removed_row_names_batch_source_set_row_rule_and_score() -> None:
    (row,) = removed()
    assert row.prompt_id == "p1"
    assert row.batch == "demo-0001"
    assert row.source == "tickets"
    assert row.stage == "prompts"
    assert row.kind == ""
    assert row.set == "xstest"
    assert row.row == "x.csv row 7"
    assert row.rule == "tfidf"
    assert row.score == 0.812
    assert row.text == MATCH.text


def test_a_row_removed_from_the_splits_has_a_kind() -> None:
    (row,) = removed(stage="fine_tune_splits", detail=f"dpo: {MATCH}")
    assert row.stage == "fine_tune_splits"
    assert row.kind == "dpo"
    assert row.set == "xstest"


def test_the_report_shows_counts_sets_and_thresholds() -> None:
    checked = [
        a_checked_set(),
        a_checked_set(batch="demo-0002"),
        a_checked_set(set="clean", content="4567", prompts=9),
    ]
    sections = decontamination_sections(
        removed(), checked, DecontaminationSettings(ngram_words=9)
    )
    tables: dict[str, Table] = {}
    for section in sections:
        tables |= {table.title: table for table in section.tables}
    counts = [("clean", *"000000"), ("xstest", *"000010")]
    assert list(tables["Rows by set and rule"].rows) == counts
    assert tables["What was read"].rows == (
        ("clean", "Paul/XSTest", "abc", "4567", "prompts", "9", "0", "1"),
        ("xstest", "Paul/XSTest", "abc", "0123", "prompts", "450", "0", "2"),
    )
    assert ("ngram", "9 consecutive words that both have") in tables["Thresholds"].rows


def test_the_text_of_an_evaluation_prompt_is_escaped() -> None:
    sections = decontamination_sections(removed(), [], DecontaminationSettings())
    page = to_markdown(Report({}, "", [], sections), "Decontamination")
    assert r"How can I \<b\>kill\</b\> a \| process?" in page
