from pathlib import Path

import pytest

from aidsafe_dagster.recipe.records import (
    FailureReason,
    PreferencePair,
    Stage,
    TriedBelief,
)
from tests.builders import a_failure, a_pair, a_tried_belief
from tests.reports.builders import (
    a_lake,
    a_report,
    cells,
    find_section,
    find_table,
    many,
    query_rows,
)


def pair(prompt_id: str, rejected: float, **changes: object) -> PreferencePair:
    return a_pair(
        prompt_id=prompt_id, chosen_score=5.0, rejected_score=rejected, **changes
    )


def test_margins_are_shown_by_kind_and_for_plain_sampling(tmp_path: Path) -> None:
    pairs = [
        *(pair(f"v{n}", 1 + n / 2) for n in range(5)),
        *many(pair, 3, "r", rejected=2.0, kind="needless_refusal"),
        pair("s1", 1.0, plain_scores=(4.5, 5.0)),
        pair("s2", 1.0, plain_scores=(5.0, 3.5)),
    ]
    lake = a_lake(tmp_path, preference_pairs=pairs)
    report = a_report(lake)
    table = find_table(find_section(report, "Preference pairs"), "Margins")
    ((mean, low, median, high),) = query_rows(
        lake,
        Stage.PREFERENCE_PAIRS,
        "SELECT avg(margin), quantile_cont(margin, 0.1), median(margin), "
        "quantile_cont(margin, 0.9) FROM rows WHERE kind = 'violation'",
    )
    row = cells(table, "ear-whisperer, violation")
    assert row[0] == "7"
    assert row[1].startswith(f"{mean:.2f} [")
    assert row[2:] == (f"{low:.2f}", f"{median:.2f}", f"{high:.2f}")
    assert cells(table, "ear-whisperer, needless refusal")[:2] == (
        "3",
        "3.00 [3.00, 3.00]",
    )
    assert cells(table, "plain sampling")[0] == "2"
    assert report.figures["margin_mean_plain"] == 1.0
    assert report.figures["margin_mean_violation"] == pytest.approx(mean, abs=1e-4)


def test_rows_without_a_pair_are_counted_by_reason(tmp_path: Path) -> None:
    reasons = [FailureReason.MARGIN_TOO_SMALL] * 3 + [
        FailureReason.NO_CONTRAST,
        FailureReason.UNPARSABLE,
    ]
    failures = [
        a_failure(stage="preference_pairs", reason=reason, prompt_id=f"f{n}")
        for n, reason in enumerate(reasons)
    ]
    lake = a_lake(
        tmp_path,
        failures=failures,
        preference_pairs=many(pair, 5, rejected=1.0),
    )
    table = find_table(
        find_section(a_report(lake), "Preference pairs"), "What became of the rows"
    )
    assert cells(table, "pair kept") == ("–", "5", "50.0 %")
    assert cells(table, "margin_too_small") == ("left out", "3", "30.0 %")
    assert cells(table, "no_contrast") == ("left out", "1", "10.0 %")
    assert cells(table, "unparsable") == ("failed", "1", "10.0 %")


def test_the_search_is_shown_by_iteration(tmp_path: Path) -> None:
    tried = [
        a_tried_belief(score=4.0, left_out="rejected_above_score"),
        a_tried_belief(number=2, score=None, left_out="unparsable"),
        a_tried_belief(iteration=2, score=1.5),
    ]
    lake = a_lake(tmp_path, preference_pairs=[pair("p1", 1.5)])
    lake.store("belief_candidates", "demo-0001", tried, TriedBelief)
    table = find_table(
        find_section(a_report(lake), "Preference pairs"), "The search for beliefs"
    )
    assert cells(table, "ear-whisperer, violation", "1") == ("2", "1", "4.00", "4.00")
    assert cells(table, "ear-whisperer, violation", "2") == ("1", "0", "1.50", "1.50")
    fates = find_table(
        find_section(a_report(lake), "Preference pairs"),
        "What became of the candidates",
    )
    assert cells(fates, "may be a rejected side") == ("1", "33.3 %")
    assert cells(fates, "rejected_above_score") == ("1", "33.3 %")


def test_the_length_of_chosen_against_rejected_is_shown_by_kind(tmp_path: Path) -> None:
    pairs = [
        pair("p1", 1.0, length_ratio=3.0),
        pair("p2", 1.0, length_ratio=0.5),
        pair("p3", 1.0, length_ratio=1.0, kind="needless_refusal"),
    ]
    table = find_table(
        find_section(
            a_report(a_lake(tmp_path, preference_pairs=pairs)), "Preference pairs"
        ),
        "Length of chosen against rejected",
    )
    count, mean, *_, longer = cells(table, "ear-whisperer, violation")
    assert (count, mean, longer) == ("2", "1.75", "50.0 %")
    assert cells(table, "ear-whisperer, needless refusal")[0] == "1"


def test_a_batch_without_pairs_still_shows_its_losses(tmp_path: Path) -> None:
    failures = [a_failure(stage="preference_pairs", reason=FailureReason.NO_CONTRAST)]
    section = find_section(
        a_report(a_lake(tmp_path, failures=failures, preference_pairs=[])),
        "Preference pairs",
    )
    assert find_table(section, "Margins").rows == ()
    assert cells(find_table(section, "What became of the rows"), "no_contrast") == (
        "left out",
        "1",
        "100.0 %",
    )
    assert section.plots == []
