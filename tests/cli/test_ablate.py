"""`aidsafe ablate` in a small rehearsal project: preview, table, page, and what failed counts."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.ablations.archive import ExperimentArchive
from aidsafe_dagster.ablations.experiment import ExperimentResult
from tests.site import NO_FAULTS, Site, a_site, aidsafe, prompts_file, some_prompts

PROMPTS = 10
# One answer in eight cannot be read, so that some prompts fail at each stage.
SETTINGS = {"rehearsal": NO_FAULTS | {"unparsable": 0.12}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose only batch is ingested and not made."""
    folder = tmp_path_factory.mktemp("ablate") / "site"
    with a_site(folder, **SETTINGS) as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(PROMPTS))).success
        yield site


def ablate(site: Site, *arguments: str) -> str:
    """Run an experiment; return what it printed on a terminal of 80 columns."""
    done = aidsafe(site.folder, "ablate", *arguments, COLUMNS="80")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def results(site: Site) -> list[ExperimentResult]:
    return list(ExperimentArchive(site.settings.home).results())


def latest(site: Site, kind: str) -> ExperimentResult:
    return [result for result in results(site) if result.experiment.kind == kind][-1]


def words_of(printed: str) -> str:
    return " ".join(printed.split())


def test_an_experiment_says_what_it_will_do_and_what_came_of_it(site: Site) -> None:
    printed = ablate(site, "rounds")
    assert max(map(len, printed.splitlines())) <= 80
    words = words_of(printed)
    assert "On 10 prompts of 1 batch, those that failed included, 4 variants:" in words
    assert "Together: at most" in words
    assert words.index("Together: at most") < words.index("policy score")
    result = latest(site, "rounds")
    page = site.settings.reports / "experiments" / f"{result.experiment.name}.html"
    assert f"Page: data/reports/experiments/{page.name}" in words
    assert page.exists()
    report = (site.settings.reports / "quality_report.html").read_text()
    assert f"Experiment: rounds ({result.experiment.key})" in report


def test_every_prompt_of_the_sample_has_a_row_or_a_failure_in_every_variant(
    site: Site,
) -> None:
    ablate(site, "refiner")
    result = latest(site, "refiner")
    assert len(result.experiment.prompt_ids) == PROMPTS
    assert result.failures
    for variant in result.experiment.variants:
        rows = {row.prompt_id for row in result.rows if row.variant == variant.name}
        failed = {
            failure.prompt_id
            for failure in result.failures
            if failure.variant == variant.name
        }
        assert rows | failed == set(result.experiment.prompt_ids)
        assert not rows & failed
    assert {failure.stage for failure in result.failures} - {"cot_grades"}
    assert all(failure.usage.calls for failure in result.failures)


def test_what_is_recorded_is_told_before_and_not_asked_again(site: Site) -> None:
    ablate(site, "context")
    words = words_of(ablate(site, "context"))
    assert "nothing is asked" in words
    assert "This took no new calls" in words


def test_what_was_said_to_be_the_most_is_not_exceeded(site: Site) -> None:
    words = words_of(ablate(site, "round-table", "--agents", "3", "--agents", "4"))
    most = int(words.partition("Together: at most ")[2].split(" ")[0].replace(",", ""))
    made = int(words.partition("This took ")[2].split(" ")[0].replace(",", ""))
    # Invalid answers are asked for again, which the preview says it does not count.
    assert 0 < made <= most * 1.5
    assert "diversity" in words


def test_two_settings_stand_side_by_side(site: Site) -> None:
    ablate(site, "baseline")
    before = {
        file: file.read_bytes()
        for file in (site.folder / "data/ablations").rglob("*.*")
    }
    settings = site.folder / "aidsafe.toml"
    original = settings.read_text()
    settings.write_text(original + "[deliberation]\nmax_rounds = 1\n")
    try:
        ablate(site, "baseline")
    finally:
        settings.write_text(original)
    for file, content in before.items():
        assert file.read_bytes() == content
    report = (site.settings.reports / "quality_report.md").read_text()
    assert report.count("## Experiment: baseline") == 2
    assert "deliberation.max\\_rounds 1" in report
    assert "deliberation.max\\_rounds 3" in report


def test_models_are_compared_alone_and_in_a_mixed_pair(site: Site) -> None:
    words = words_of(ablate(site, "models", "small", "large", "--sample", "3"))
    assert "answers in the name of every one alike" in words
    names = [variant.name for variant in latest(site, "models").experiment.variants]
    assert names == ["as configured", "small", "large", "small + large"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("models",), "name the models to compare"),
        (("models", "small@nowhere"), "unknown server 'nowhere'"),
        (("models", "m", "--role", "judge"), "judge cannot differ"),
        (("targets",), "make a batch first"),
        (("rounds", "--batch", "mine-0009"), "unknown batch 'mine-0009'"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(
    site: Site, arguments: tuple[str, ...], words: str
) -> None:
    runs = site.instance.get_runs_count()
    done = aidsafe(site.folder, "ablate", *arguments)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr
    assert site.instance.get_runs_count() == runs


def test_without_prompts_the_next_step_is_named(tmp_path: Path) -> None:
    with a_site(tmp_path / "empty") as empty:
        done = aidsafe(empty.folder, "ablate", "rounds")
    assert done.returncode == 2
    assert "`aidsafe ingest` takes some in" in done.stdout


def test_prompts_that_failed_in_the_pipeline_are_in_the_sample(tmp_path: Path) -> None:
    checks = {"max_failure_share": 1.0}
    with a_site(tmp_path / "made", **SETTINGS, checks=checks) as made:
        assert made.ingest(prompts_file(made.folder, some_prompts(PROMPTS))).success
        run = made.make("mine-0001")
        assert run.success, run.error
        failed = set(made.lake.all_failures()["prompt_id"])
        graded = set(made.lake.rows("cot_grades", "mine-0001")["prompt_id"])
        assert failed - graded
        ablate(made, "rounds")
        result = latest(made, "rounds")
        assert failed <= set(result.experiment.prompt_ids)
        rows = pl.read_parquet(
            ExperimentArchive(made.settings.home).rows_path(result.experiment)
        )
        # The last variant is the pipeline itself, and its failures are the pipeline's.
        last = set(rows.filter(variant="3 rounds")["prompt_id"])
        assert last == graded
        words = words_of(ablate(made, "targets"))
        assert f"{len(graded)}/{PROMPTS}" in words
        again = words_of(ablate(made, "targets"))
        assert "answers; nothing is asked." in again
        assert "This took no new calls" in again
        assert (
            json.loads(
                (
                    ExperimentArchive(made.settings.home).folder
                    / latest(made, "targets").experiment.name
                    / "experiment.json"
                ).read_text()
            )["kind"]
            == "targets"
        )
