"""`aidsafe export | check-template | publish` after a rehearsal, as a person meets them first."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from aidsafe_dagster.cli.export import check_chat_template, export, publish
from aidsafe_dagster.recipe.records import Stage
from tests.publishing.test_template_check import DROPS, PLAIN
from tests.site import Site, a_site, prompts_file, some_prompts
from tests.site import aidsafe as in_folder

app = typer.Typer()
app.command()(export)
app.command("check-template")(check_chat_template)
app.command()(publish)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A batch that the rehearsal engine made; the current folder is the site's."""
    folder = tmp_path_factory.mktemp("exporting")
    settings = {
        "checks": {"max_failure_share": 0.9},
        "publish": {"licence": "MIT"},
        "splits": {"test": 0.0},
    }
    with (
        a_site(folder, **settings) as site,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("DAGSTER_HOME", str(folder))
        environment.setenv("COLUMNS", "200")
        environment.setenv("HF_TOKEN", "hf_never_used")
        assert site.ingest(prompts_file(folder, some_prompts(3))).success
        assert site.make("mine-0001").error == ""
        yield site


def aidsafe(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def printed(result: Result) -> str:
    return " ".join(result.output.split())


def test_an_export_of_simulated_rows_is_refused_and_names_the_option_that_allows_it(
    rehearsed: Site, tmp_path: Path
) -> None:
    refused = aidsafe("export", "--out", tmp_path)
    assert refused.exit_code == 2
    assert "rehearsal engine simulated: mine-0001" in printed(refused)
    assert "--allow-simulated" in printed(refused)
    assert not list(tmp_path.iterdir())


def test_an_export_prints_its_files_and_rows(rehearsed: Site, tmp_path: Path) -> None:
    result = aidsafe(
        "export",
        "--format",
        "trl-dpo",
        "--out",
        tmp_path,
        "--allow-simulated",
        "--split",
        "train",
    )
    assert result.exit_code == 0, result.output
    (file,) = tmp_path.iterdir()
    assert file.name == "rehearsal-trl-dpo-train.parquet"
    assert (
        pq.read_metadata(file).num_rows
        <= rehearsed.lake.rows(Stage.PREFERENCE_PAIRS, "mine-0001").height
    )
    assert "For TRL, DPOTrainer" in printed(result)
    assert "REHEARSAL" in printed(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "trl_sft"), "Did you mean 'trl-sft'"),
        (
            ("--format", "ms-swift-sft", "--reasoning", "field"),
            "takes reasoning inline alone",
        ),
        (("--split", "dev"), "'dev' is not one of 'train', 'validation', 'test'"),
    ],
)
def test_an_export_that_cannot_be_names_the_valid_choices(
    rehearsed: Site, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = aidsafe("export", "--out", tmp_path, *options)
    assert result.exit_code == 2
    assert message in printed(result)


def test_a_template_that_keeps_the_rows_passes(rehearsed: Site, tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text(PLAIN)
    result = aidsafe("check-template", tmp_path)
    assert result.exit_code == 0, result.output
    assert "Reasoning inline: arrives whole" in printed(result)
    assert "Reasoning field: does not arrive whole" in printed(result)
    assert "Generation markers: none" in printed(result)
    assert "rows of the lake" in printed(result)


def test_a_template_that_drops_the_reasoning_fails(
    rehearsed: Site, tmp_path: Path
) -> None:
    (tmp_path / "chat_template.jinja").write_text(DROPS)
    result = aidsafe("check-template", tmp_path)
    assert result.exit_code == 1
    assert "CoT lost" in printed(result)


def test_a_rehearsal_is_never_published(rehearsed: Site) -> None:
    for options in ((), ("--send", "--repo", "acme/cot", "--allow-simulated")):
        refused = aidsafe("publish", *options)
        assert refused.exit_code == 1
        assert "rehearsal engine simulated: mine-0001" in printed(refused)


def test_a_dry_run_of_a_rehearsal_is_labelled_as_both(rehearsed: Site) -> None:
    result = aidsafe("publish", "--allow-simulated")
    assert result.exit_code == 0, result.output
    assert "Dry run: nothing was sent" in printed(result)
    assert "REHEARSAL" in printed(result)
    (card,) = (rehearsed.settings.home / "published").glob("*/README.md")
    assert "**Rehearsal: every answer in this data was simulated" in card.read_text(
        "utf-8"
    )


def test_an_export_of_a_batch_behind_a_closed_gate_names_the_gate(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, rehearsal={"unparsable": 0.6}) as site:
        assert site.ingest(prompts_file(tmp_path, some_prompts(6))).success
        assert not site.make("mine-0001").success
        assert site.ingest(prompts_file(tmp_path, ["And this one?"], "new")).success
    result = in_folder(tmp_path, "export", "--out", "out/sft", "--allow-simulated")
    assert result.returncode == 2
    lines = " ".join(result.stdout.split())
    assert "no row for 'trl-sft' in train, validation, test" in lines
    assert (
        "mine-0001: fine_tune_splits has not been made yet; closed gate: "
        "seed_cots mine-0001: integrity failed" in lines
    )
    assert "new-0001: fine_tune_splits has not been made yet" in lines
    assert not (tmp_path / "out").exists()


def test_an_export_from_an_empty_lake_says_that_nothing_was_ingested(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path):
        pass
    result = in_folder(tmp_path, "export", "--out", "out")
    assert result.returncode == 2
    assert "nothing has been ingested yet (`aidsafe ingest`)" in result.stdout
    assert not (tmp_path / "out").exists()


def test_an_export_of_pairs_that_nobody_made_says_what_the_batch_holds(
    rehearsed: Site, tmp_path: Path
) -> None:
    result = aidsafe(
        "export",
        "--format",
        "trl-dpo",
        "--out",
        tmp_path / "out",
        "--allow-simulated",
        "--split",
        "test",
    )
    assert result.exit_code == 2
    assert "no row for 'trl-dpo' in test" in printed(result)
    assert "mine-0001: passed its gates and holds" in printed(result)
    assert not (tmp_path / "out").exists()


def test_an_export_of_verdicts_that_nobody_gave_says_what_they_come_from(
    rehearsed: Site, tmp_path: Path
) -> None:
    result = aidsafe(
        "export",
        "--format",
        "guard-policy",
        "--out",
        tmp_path / "out",
        "--allow-simulated",
        "--split",
        "test",
    )
    assert result.exit_code == 2
    lines = " ".join(printed(result).split())
    assert "guard-policy is made of as many violations" in lines
    assert "think tag" not in lines
