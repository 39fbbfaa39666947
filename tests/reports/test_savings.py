"""What a setting leaves out is counted in the rows, and costs what these cost."""

from pathlib import Path

from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.cot_grades import is_graded
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    Derivation,
    TriedBelief,
    Usage,
)
from aidsafe_dagster.reports.savings import PartCost, part_costs
from tests.builders import (
    a_comparison,
    a_cot_grades,
    a_deliberated_cot,
    a_failure,
    a_grade,
    a_pair,
    a_tried_belief,
)
from tests.reports.builders import a_lake

BATCH = "b-0001"
USED = Usage(calls=8, prompt_tokens=800, completion_tokens=80, cost=1.6)


def by_setting(costs: list[PartCost]) -> dict[str, PartCost]:
    return {cost.setting.partition(" ")[0]: cost for cost in costs}


def test_grades_of_other_versions_and_both_orders_of_comparisons_count(
    tmp_path: Path,
) -> None:
    row = a_cot_grades(
        batch=BATCH,
        grades=(
            a_grade(4),
            a_grade(4, version="deliberated"),
            a_grade(4, judge="second_judge"),
        ),
        comparisons=(a_comparison(),),
        usage=USED,
    )
    costs = by_setting(part_costs(a_lake(tmp_path, BATCH, cot_grades=[row]), [BATCH]))
    compared = costs["grading.compared"]
    # Of eight calls, one grade and two orders.
    assert (compared.calls, compared.tokens_in, compared.tokens_out) == (3, 300, 30)
    assert round(compared.cost, 6) == 0.6
    assert costs["grading.judges"].calls == 1
    assert compared.scaled(10).calls == 30


def test_a_graded_share_leaves_out_rows_whole_and_no_benign_twin(
    tmp_path: Path,
) -> None:
    ids = [f"p{n}" for n in range(30)]
    drawn = [one for one in ids if is_graded(one, 0.2, is_twin=False)]
    twin = Derivation(method="benign_twin", parent="p0", detail="")
    rows = [a_cot_grades(batch=BATCH, prompt_id=one, usage=USED) for one in ids]
    twins = [
        a_cot_grades(batch=BATCH, prompt_id=f"t{one}", usage=USED, derivation=twin)
        for one in ids
    ]
    lake = a_lake(tmp_path, BATCH, cot_grades=[*rows, *twins])
    cost = by_setting(part_costs(lake, [BATCH]))["grading.share"]
    assert 0 < len(drawn) < len(ids)
    assert cost.calls == USED.calls * (len(ids) - len(drawn))


def test_rounds_after_the_first_count(tmp_path: Path) -> None:
    first, second = a_deliberated_cot().turns
    later = second.model_copy(update={"round": 2})
    usage = USED.model_copy(update={"calls": 2})
    row = a_deliberated_cot(batch=BATCH, turns=(first, later), usage=usage)
    lake = a_lake(tmp_path, BATCH, deliberated_cots=[row])
    cost = by_setting(part_costs(lake, [BATCH]))["deliberation.max_rounds"]
    assert (cost.calls, cost.tokens_in) == (1, 400)


def test_candidates_count_those_of_searches_without_a_pair_too(tmp_path: Path) -> None:
    failed = a_failure(
        stage="preference_pairs", batch=BATCH, prompt_id="lost", usage=USED
    )
    pair = a_pair(batch=BATCH, prompt_id="found", plain_scores=(4.0, 4.5), usage=USED)
    lake = a_lake(tmp_path, BATCH, failures=[failed], preference_pairs=[pair])
    tried = [
        a_tried_belief(batch=BATCH, prompt_id="lost", iteration=1, number=1),
        a_tried_belief(batch=BATCH, prompt_id="lost", iteration=2, number=1),
        a_tried_belief(batch=BATCH, prompt_id="found", iteration=1, number=1),
        a_tried_belief(batch=BATCH, prompt_id="found", iteration=1, number=2),
    ]
    lake.write(BELIEF_CANDIDATES, BATCH, to_frame(tried, TriedBelief))
    costs = by_setting(part_costs(lake, [BATCH]))
    judges = len(tried[0].grades)
    assert costs["pairs.iterations"].calls == 2 + judges
    assert costs["pairs.candidates"].calls == 2 + judges
    assert costs["pairs.plain_share"].calls == 2 * (1 + judges)


def test_a_batch_without_these_stages_costs_nothing(tmp_path: Path) -> None:
    costs = part_costs(a_lake(tmp_path, BATCH), [BATCH])
    assert {cost.calls for cost in costs} == {0}
