from pathlib import Path

import pytest

from aidsafe_dagster.recipe.records import FailureReason, PreferencePair, Stage
from tests.builders import a_candidate, a_failure, a_pair
from tests.reports.builders import a_lake, a_report, asked, cells, section, table


def pair(prompt_id: str, rejected: float, **changes: object) -> PreferencePair:
    return a_pair(prompt_id=prompt_id, chosen_score=5.0, rejected_score=rejected, **changes)


def test_margins_are_told_by_kind_and_against_plain_sampling(tmp_path: Path) -> None:
    pairs = [
        *(pair(f"v{n}", 1 + n / 2) for n in range(5)),
        *(pair(f"r{n}", 2.0, kind="needless_refusal") for n in range(3)),
        pair("s1", 1.0, plain_scores=(4.5, 5.0)),
        pair("s2", 1.0, plain_scores=(5.0, 3.5)),
    ]
    lake = a_lake(tmp_path, preference_pairs=pairs)
    report = a_report(lake)
    found = table(section(report, "Preference pairs"), "Margins")
    ((mean, low, middle, high),) = asked(
        lake,
        Stage.PREFERENCE_PAIRS,
        "SELECT avg(margin), quantile_cont(margin, 0.1), median(margin), quantile_cont(margin, 0.9) FROM rows "
        "WHERE kind = 'violation'",
    )
    row = cells(found, "ear-whisperer, violation")
    assert row[0] == "7"
    assert row[1].startswith(f"{mean:.2f} [")
    assert row[2:] == (f"{low:.2f}", f"{middle:.2f}", f"{high:.2f}")
    assert cells(found, "ear-whisperer, needless refusal")[:2] == ("3", "3.00 [3.00, 3.00]")
    assert cells(found, "plain sampling")[0] == "2"
    assert report.figures["margin_mean_plain"] == 1.0
    assert report.figures["margin_mean_violation"] == pytest.approx(mean, abs=1e-4)


def test_rows_that_made_no_pair_are_counted_by_reason(tmp_path: Path) -> None:
    reasons = [FailureReason.MARGIN_TOO_SMALL] * 3 + [
        FailureReason.NO_CONTRAST,
        FailureReason.UNPARSABLE,
    ]
    lost = [
        a_failure(stage="preference_pairs", reason=reason, prompt_id=f"f{n}")
        for n, reason in enumerate(reasons)
    ]
    lake = a_lake(tmp_path, failures=lost, preference_pairs=[pair(f"p{n}", 1.0) for n in range(5)])
    found = table(section(a_report(lake), "Preference pairs"), "What became of the rows")
    assert cells(found, "pair kept") == ("–", "5", "50.0 %")
    assert cells(found, "margin_too_small") == ("left out", "3", "30.0 %")
    assert cells(found, "no_contrast") == ("left out", "1", "10.0 %")
    assert cells(found, "unparsable") == ("failed", "1", "10.0 %")


def test_the_search_is_told_by_iteration(tmp_path: Path) -> None:
    tried = (
        a_candidate(score=4.0),
        a_candidate(number=2, score=None),
        a_candidate(iteration=2, score=1.5),
    )
    lake = a_lake(tmp_path, preference_pairs=[pair("p1", 1.5, candidates=tried), pair("p2", 1.0)])
    found = table(section(a_report(lake), "Preference pairs"), "The search for beliefs")
    assert cells(found, "ear-whisperer, violation", "1") == ("3", "1", "2.75", "1.50")
    assert cells(found, "ear-whisperer, violation", "2") == ("1", "0", "1.50", "1.50")


def test_a_batch_without_pairs_still_tells_what_was_lost(tmp_path: Path) -> None:
    lost = [a_failure(stage="preference_pairs", reason=FailureReason.NO_CONTRAST)]
    found = section(
        a_report(a_lake(tmp_path, failures=lost, preference_pairs=[])), "Preference pairs"
    )
    assert table(found, "Margins").rows == ()
    assert cells(table(found, "What became of the rows"), "no_contrast") == (
        "left out",
        "1",
        "100.0 %",
    )
    assert found.plots == []
