"""Grading a share of the rows: who is graded, and what becomes of the others, through real runs."""

from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.cot_grades import is_graded
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.savings import part_costs
from aidsafe_dagster.stages.gates import read_gate
from tests.site import Site, a_site, aidsafe, prompts_file, some_prompts

BATCH = "mine-0001"
NO_FLOORS = {"policy_to_response": 1.0, "response_to_cot": 1.0}
# So that faults of the rehearsal close no gate of so few rows.
LENIENT = {"max_failure_share": 1.0, "max_left_out_share": 1.0}


def settings_of(share: float) -> dict[str, Any]:
    return {
        "grading": {"share": share},
        "score_gate": NO_FLOORS,
        "checks": {**LENIENT, "min_rows": 1},
    }


def a_made_batch(site: Site, folder: Path, prompts: int) -> None:
    assert site.ingest(prompts_file(folder, some_prompts(prompts))).success
    run = site.make(BATCH)
    assert run.success, run.error


def ids(site: Site, stage: str) -> set[str]:
    return set(site.lake.rows(stage, BATCH, ["prompt_id"])["prompt_id"])


def not_drawn(site: Site, stage: str) -> set[str]:
    failures = site.lake.failures(stage, BATCH).filter(reason="not_drawn")
    return set(failures["prompt_id"])


def calls(site: Site) -> int:
    rows = site.lake.rows(Stage.COT_GRADES, BATCH)
    return sum(row["usage"]["calls"] for row in rows.iter_rows(named=True))


def test_rows_outside_the_share_cost_no_grade_make_no_pair_and_are_trained_on(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, **settings_of(0.5)) as site:
        a_made_batch(site, tmp_path, 10)
        refined = ids(site, Stage.REFINED_COTS)
        drawn = {one for one in refined if is_graded(one, 0.5, is_twin=False)}
        assert drawn
        assert drawn < refined
        assert not_drawn(site, Stage.COT_GRADES) == refined - drawn
        assert ids(site, Stage.COT_GRADES) <= drawn
        assert ids(site, Stage.PREFERENCE_PAIRS) <= drawn
        # Nothing was asked about them, and they are told of, not lost.
        left_out = site.lake.failures(Stage.COT_GRADES, BATCH)
        for row in left_out.filter(reason="not_drawn").iter_rows(named=True):
            assert row["usage"]["calls"] == 0
        splits = site.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH).filter(kind="sft")
        assert refined - drawn <= set(splits["prompt_id"])
        for stage in (Stage.COT_GRADES, Stage.FINE_TUNE_SPLITS):
            gate = read_gate(site.instance, site.lake, stage, BATCH)
            assert gate.open, str(gate)
        status = aidsafe(tmp_path, "status").stdout
        assert "not_drawn" in status


def test_a_batch_of_which_nobody_is_drawn_closes_no_gate(tmp_path: Path) -> None:
    with a_site(tmp_path, **settings_of(0.0001)) as site:
        a_made_batch(site, tmp_path, 3)
        assert ids(site, Stage.COT_GRADES) == set()
        assert ids(site, Stage.FINE_TUNE_SPLITS) == ids(site, Stage.REFINED_COTS)
        for stage in (Stage.COT_GRADES, Stage.PREFERENCE_PAIRS):
            gate = read_gate(site.instance, site.lake, stage, BATCH)
            assert gate.open, str(gate)


@pytest.mark.slow
def test_what_the_plan_says_is_saved_is_what_is_saved(tmp_path: Path) -> None:
    with a_site(tmp_path, **settings_of(1.0)) as site:
        a_made_batch(site, tmp_path, 10)
        before = calls(site)
        costs = part_costs(site.lake, [BATCH])
        (saved,) = [one for one in costs if one.setting == "grading.share = 0.2"]
    with a_site(tmp_path, **settings_of(0.2)) as site:
        run = site.make(BATCH)
        assert run.success, run.error
        assert before - saved.calls == calls(site)
