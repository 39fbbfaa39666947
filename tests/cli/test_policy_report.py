"""`aidsafe policy report` on a server of known quality: what was planted comes out."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.records import Prompt, SeedCot, Stage
from aidsafe_dagster.sources.tables import INGESTED
from tests.builders import a_prompt, a_seed_cot
from tests.publishing.lakes import a_filled_lake
from tests.serving import LENIENT, RULES, a_model_server
from tests.site import Site, a_site, aidsafe, prepare, prompts_file, some_prompts

PROMPTS = 12
PLANTED = ("fraud_and_deception.1", "fraud_and_deception.5")
EVERYWHERE = "respect_and_helpfulness.1"
REFUSING = "physical_harm.1"


def rules_of_the_server() -> dict[str, Any]:
    """Return rules by which agents argue by a rule each on some prompts, and never agree.

    On others, the final chain of thought cites a rule of its own, and the response declines.
    """
    rules = copy.deepcopy(RULES)
    by_name = {rule["name"]: rule for rule in rules["rules"]}
    planted = []
    for agent, cited in enumerate(PLANTED, start=1):
        rule = copy.deepcopy(by_name["deliberator"])
        rule["match"] = f"planted.*# Task: deliberator {agent} of(?!.*# Task: )"
        rule["json"] = {"verdict": "revise", "rules": [EVERYWHERE, cited]}
        del rule["stop"]
        planted.append(rule)
    refiner = copy.deepcopy(by_name["refiner"])
    refiner["match"] = "zeppelin.*# Task: refiner"
    refiner["json"] = {"verdict": "keep", "rules": [EVERYWHERE, REFUSING]}
    judge = copy.deepcopy(by_name["judge"])
    judge["match"] = "# Task: grade.*zeppelin"
    judge["json"] = {"score": 3, "rule": REFUSING, "thought": 1, "refusal": "full"}
    intents = copy.deepcopy(by_name["intent_decomposer"])
    intents["json"] = {"policies": [], "harm": "benign"}
    rules["rules"] = [*planted, refiner, judge, intents, *rules["rules"]]
    return rules


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("known")
    prompts = []
    for number, prompt in enumerate(some_prompts(PROMPTS)):
        mark = (" planted", " zeppelin", "", "")[number % 4]
        prompts.append(prompt + mark)
    with a_model_server(folder, rules_of_the_server()) as server:
        endpoint = {"base_url": server.base_url, "model": "fake-model"}
        settings = {"engine": "endpoint", "endpoint": endpoint, "checks": LENIENT}
        with a_site(folder / "site", **settings) as made:
            assert made.ingest(prompts_file(made.folder, prompts)).success
            assert made.make("mine-0001").success
            yield made


def tables(site: Site) -> dict[str, list[dict[str, Any]]]:
    outcome = aidsafe(site.folder, "policy", "report", "--json")
    assert outcome.returncode == 0, outcome.stderr
    section = json.loads(outcome.stdout)["sections"][0]
    return {table["title"]: table["rows"] for table in section["tables"]}


@pytest.mark.slow
def test_rules_planted_as_contradictory_are_found_and_no_others(site: Site) -> None:
    pairs = tables(site)["Rules against each other"]
    marked = [row for row in pairs if row["marked"]]
    assert [row["rules"] for row in marked] == [" and ".join(PLANTED)]
    assert marked[0]["against each other"] == "3"
    assert len(marked[0]["to_read"]) == 3


@pytest.mark.slow
def test_the_rule_planted_behind_refusals_and_misuse_is_found(site: Site) -> None:
    by_title = tables(site)
    refusals = by_title["Rules behind needless refusals"]
    assert refusals[0]["rule"] == REFUSING
    assert (refusals[0]["declined"], refusals[0]["share"]) == ("3", "100.0 %")
    assert by_title["Rules that are misused"][0]["rule"] == REFUSING
    assert len(by_title["Prompts on which agents ended without agreement"]) >= 3


@pytest.mark.slow
def test_the_page_and_the_terminal_lead_to_transcripts(site: Site) -> None:
    outcome = aidsafe(site.folder, "policy", "report", COLUMNS="80")
    assert max(map(len, outcome.stdout.splitlines())) <= 80
    line = next(
        line
        for line in outcome.stdout.splitlines()
        if line.strip().startswith("to read:")
    )
    short_id = line.split()[2]
    shown = aidsafe(site.folder, "show", short_id)
    assert shown.returncode == 0, shown.stdout
    page = (site.settings.reports / "policy_report.html").read_text()
    assert "http://127.0.0.1:3100/prompt/" in page
    assert " and ".join(PLANTED) in page


def test_a_batch_or_a_source_narrows_the_report(tmp_path: Path) -> None:
    prepare(tmp_path)
    lake = a_filled_lake(tmp_path / "data", "demo-0001", "other-0001")
    for batch in ("demo-0001", "other-0001"):
        prompts = [a_prompt(prompt_id=f"{batch}-{n}", batch=batch) for n in range(2)]
        seeds = [a_seed_cot(prompt_id=f"{batch}-{n}", batch=batch) for n in range(2)]
        for table in (INGESTED, Stage.PROMPTS):
            lake.store(table, batch, prompts, Prompt)
        lake.store(Stage.SEED_COTS, batch, seeds, SeedCot)
    datasets = {}
    for options in ((), ("--batch", "demo-0001"), ("--source", "other")):
        outcome = aidsafe(tmp_path, "policy", "report", "--json", *options)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        facts = json.loads(outcome.stdout)["facts"]
        datasets[options] = facts.get("Only"), facts["Dataset"]
    assert list(datasets.values()) == [
        (None, "4 prompts in 2 batches"),
        ("demo-0001", "2 prompts in 1 batch"),
        ("other-0001", "2 prompts in 1 batch"),
    ]
    unknown = aidsafe(tmp_path, "policy", "report", "--batch", "demo-0002")
    assert (unknown.returncode, "demo-0001" in unknown.stdout) == (2, True)


def test_without_rows_there_is_no_report(tmp_path: Path) -> None:
    prepare(tmp_path)
    outcome = aidsafe(tmp_path, "policy", "report")
    assert outcome.returncode == 2
    assert "aidsafe backfill" in outcome.stdout
