"""The section on planted truth: its lines and its table."""

from aidsafe_dagster.reports.planted import (
    INTRO,
    NOT_RECORDED,
    confusion_line,
    planted_section,
    unrecorded_line,
)


def test_a_line_counts_and_divides_and_is_empty_where_there_is_nothing_to_divide_by() -> (
    None
):
    pairs = (
        [(True, True)] * 3
        + [(True, False)]
        + [(False, True)] * 2
        + [(False, False)] * 6
    )
    assert confusion_line("w", "f", pairs) == {
        "what": "w",
        "fault": "f",
        "planted": 4,
        "found": 5,
        "true_positives": 3,
        "precision": 0.6,
        "recall": 0.75,
        "false_alarm_rate": 0.25,
    }
    empty = confusion_line("w", "f", [(True, False)])
    assert (empty["precision"], empty["recall"], empty["false_alarm_rate"]) == (
        None,
        0.0,
        None,
    )


def test_the_section_has_a_row_per_line() -> None:
    section = planted_section([confusion_line("refiner", "deceptive", [(True, True)])])
    (table,) = section.tables
    assert section.intro == INTRO
    assert table.columns[:4] == ("what", "fault", "planted", "found")
    assert table.text_columns == 2
    assert table.rows[0][:4] == ("refiner", "deceptive", "1", "1")


def test_the_section_says_how_many_rows_have_no_record() -> None:
    lines = [unrecorded_line("seed_cots", 1200), unrecorded_line("refined_cots", 34)]
    section = planted_section(lines)
    assert "What was planted in 1,234 rows was not recorded" in section.intro
    (table,) = section.tables
    assert table.text_columns == 2
    assert table.rows[0][1] == NOT_RECORDED
