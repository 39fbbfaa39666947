"""What the quality report shows of an experiment."""

from pathlib import Path

import pytest

from aidsafe_dagster.ablations.archive import ExperimentArchive
from aidsafe_dagster.ablations.experiment import ExperimentResult
from aidsafe_dagster.ablations.report import (
    distinction,
    experiment_section,
    experiment_sections,
    write_pages,
)
from aidsafe_dagster.recipe.records import Usage
from aidsafe_dagster.reports.sections import Section, Table
from tests.ablations.experiments import (
    PROMPTS,
    a_result,
    a_target_row,
    a_variant,
    a_variant_failure,
    an_experiment,
)
from tests.builders import an_ablation_row


def table(section: Section, title: str) -> Table:
    (found,) = [table for table in section.tables if table.title.startswith(title)]
    return found


def cells(found: Table, row: int) -> dict[str, str]:
    return dict(zip(found.columns, found.rows[row], strict=True))


def test_failed_prompts_stand_beside_the_scores_with_stage_and_reason() -> None:
    section = experiment_section(a_result())
    two = cells(table(section, "Scores over all prompts"), 1)
    assert (two["prompts"], two["failed"]) == ("4", "1")
    assert two["policy score"].startswith("3.25 [")
    failures = table(section, "Prompts that failed")
    assert failures.rows == (("two", "seed_cots", "unparsable", "1"),)
    assert cells(table(section, "Scores of the rows alone"), 1)["rows"] == "3"


def test_without_a_failure_the_scores_are_shown_once() -> None:
    rows = [an_ablation_row(prompt_id=prompt_id) for prompt_id in PROMPTS]
    section = experiment_section(ExperimentResult(an_experiment(), rows, []))
    titles = [table.title for table in section.tables]
    assert "Scores of the rows alone" not in titles
    assert "Prompts that failed" not in titles


def test_only_the_parts_in_which_variants_differ_are_listed() -> None:
    differing = table(experiment_section(a_result()), "What the variants differ in")
    assert differing.rows == (("refined", "false", "true"),)


def test_the_cost_of_a_usable_row_counts_what_all_prompts_cost() -> None:
    result = a_result(currency="USD")
    spent = a_variant_failure(prompt_id="p4", usage=Usage(calls=1, cost=0.6))
    changed = ExperimentResult(result.experiment, result.rows, [spent])
    two = cells(table(experiment_section(changed), "Cost"), 1)
    # Three rows at 0.1 and the failed prompt's 0.6, over four prompts and three usable rows.
    assert two["cost per prompt"] == "USD 0.23"
    assert two["cost per usable row"] == "USD 0.30"


def test_two_runs_of_an_experiment_say_what_sets_them_apart(tmp_path: Path) -> None:
    archive = ExperimentArchive(tmp_path)
    four = {"deliberation.max_rounds": "4"}
    archive.store(a_result())
    archive.store(
        a_result(variants=(a_variant("one", **four), a_variant("two", **four)))
    )
    archive.store(a_result(kind="context"))
    sections = experiment_sections(tmp_path)
    assert len({section.title for section in sections}) == 3
    intros = [section.intro for section in sections]
    assert "Unlike" not in intros[0]
    assert "deliberation.max_rounds 3" in intros[1]
    assert "deliberation.max_rounds 4" in intros[2]


def test_runs_on_other_samples_say_how_large_theirs_is() -> None:
    small, large = an_experiment(prompt_ids=("p1",)), an_experiment()
    assert distinction(small, [small, large]) == "a sample of 1"


def test_a_target_that_could_not_be_searched_is_not_misled() -> None:
    rows = [
        a_target_row(),
        a_target_row(prompt_id="p2", is_misled=False, margin=None, policy_score=4.5),
    ]
    failures = [
        a_variant_failure(variant="one", prompt_id=prompt_id)
        for prompt_id in PROMPTS[2:]
    ]
    experiment = an_experiment(kind="targets", variants=(a_variant("one"),))
    section = experiment_section(ExperimentResult(experiment, rows, failures))
    one = cells(table(section, "Targets misled"), 0)
    assert (one["prompts"], one["searched"]) == ("4", "2")
    assert one["misled"].startswith("25.0 % [")
    scores = [row[3] for row in table(section, "By iteration").rows]
    assert scores == ["3.00", "1.50"]


@pytest.mark.parametrize("simulated", [True, False])
def test_the_page_says_whether_a_model_answered(
    tmp_path: Path, *, simulated: bool
) -> None:
    result = a_result(simulated=simulated)
    pages = write_pages(tmp_path, result, experiment_section(result))
    for page in (pages.html, pages.markdown):
        assert ("Rehearsal" in page.read_text()) is simulated


def test_a_variant_named_like_markup_stays_words(tmp_path: Path) -> None:
    variants = (a_variant("<script>alert(1)</script>"), a_variant("two"))
    result = a_result(variants=variants)
    pages = write_pages(tmp_path, result, experiment_section(result))
    assert "<script>alert" not in pages.html.read_text()
