"""`aidsafe compare` and `aidsafe versions`, from a change of a policy to the terminal."""

import json
import shutil
from pathlib import Path

import pytest

from aidsafe_dagster.lake.kept_versions import keep_version, versions_of
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.runs.locks import batch_lock
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import PACKAGE
from tests.builders import policies
from tests.comparisons.lakes import BATCH, a_row, fill, other_policies
from tests.site import a_site, aidsafe, prepare, prompts_file, some_prompts


def a_project(folder: Path) -> Lake:
    """Prepare a project whose batch was made again under other policies."""
    prepare(folder)
    lake = Lake(load_settings(folder, {}).settings.lake)
    fill(lake, [a_row("p1"), a_row("p2"), a_row("p3", kind="benign")], under=policies())
    keep(lake)
    long = "A much longer response, which says at length what to do. " * 8
    fill(lake, [a_row("p1", response=long, score=3), a_row("p2", failed="unparsable"),
                a_row("p3", kind="benign", refusal="full")],
         under=other_policies())  # fmt: skip
    return lake


def keep(lake: Lake) -> None:
    changes = ("policies: illegal changed",)
    keep_version(lake, BATCH, Stage.SEED_COTS, changes=changes, currency="", limit=5)


def test_without_names_now_is_compared_with_before(tmp_path: Path) -> None:
    a_project(tmp_path)
    outcome = aidsafe(tmp_path, "compare", COLUMNS="80")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert max(map(len, outcome.stdout.splitlines())) <= 80
    text = " ".join(outcome.stdout.split())
    for words in ("A: before: kept version", "B: now: as it is now", "3 prompts in both",
                  "3 of 3 prompts came out otherwise", "+1 −0 full refusals",
                  "policies: privacy added", "{+Say why, in one sentence.+}",
                  "response faithful to policy", "benign, in full",
                  "refined_cots: unparsable", "Rows side by side: 3 of 3",
                  "A: response", "comparison.html"):  # fmt: skip
        assert words in text, words
    page = (tmp_path / "data" / "reports" / "comparison.html").read_text("utf-8")
    assert "Rows side by side" in page


def test_the_same_as_json_without_a_page(tmp_path: Path) -> None:
    a_project(tmp_path)
    outcome = aidsafe(tmp_path, "compare", "before", "now", "--json", "--rows", "1")
    values = json.loads(outcome.stdout)
    assert (values["prompts"], values["only_a"], values["only_b"]) == (3, 0, 0)
    assert [one["prompt_id"] for one in values["changed"]] == ["p2", "p3", "p1"]
    (row,) = values["rows"]
    assert row["prompt_id"] == "p2"
    assert not (tmp_path / "data" / "reports").exists()
    outcome = aidsafe(tmp_path, "compare", "--json", "--html", "mine.html")
    assert outcome.returncode == 0
    assert (tmp_path / "mine.html").exists()


def test_with_nothing_to_compare_the_choices_are_named(tmp_path: Path) -> None:
    prepare(tmp_path)
    fill(Lake(load_settings(tmp_path, {}).settings.lake), [a_row("p1")])
    outcome = aidsafe(tmp_path, "compare")
    assert outcome.returncode == 2
    assert f"Batches: {BATCH}" in outcome.stdout
    assert "nothing is kept" in outcome.stdout
    assert "No earlier version is kept" in aidsafe(tmp_path, "versions").stdout


def test_versions_are_listed_and_fewer_are_kept_after_a_question(
    tmp_path: Path,
) -> None:
    lake = a_project(tmp_path)
    keep(lake)
    fill(lake, [a_row("p1")], model="large-chat")
    first, second = versions_of(lake, BATCH)
    listed = aidsafe(tmp_path, "versions", COLUMNS="80").stdout
    assert first.recipe in listed
    assert second.recipe in listed
    assert "2 versions" in listed
    assert max(map(len, listed.splitlines())) <= 80
    refused = aidsafe(tmp_path, "versions", "--prune", "1")
    assert (refused.returncode, len(versions_of(lake, BATCH))) == (1, 2)
    settings = load_settings(tmp_path, {}).settings
    with batch_lock(BATCH, settings).hold("run 1234"):
        busy = aidsafe(tmp_path, "versions", "--prune", "1", "--yes")
    assert busy.returncode == 2
    assert "in use" in busy.stdout
    done = aidsafe(tmp_path, "versions", "--prune", "1", "--yes")
    assert done.returncode == 0, done.stdout
    assert versions_of(lake, BATCH) == [second]
    unknown = aidsafe(tmp_path, "versions", "--batch", "mine-0002")
    assert f"Did you mean '{BATCH}'?" in unknown.stdout


@pytest.mark.slow
def test_a_changed_policy_is_seen_from_the_backfill_to_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    shutil.copytree(PACKAGE / "policies", folder / "policies")
    with a_site(folder, policies="policies") as site:
        site.ingest(prompts_file(folder, some_prompts(6)))
        assert aidsafe(folder, "backfill", "--yes").returncode == 0
        assert aidsafe(folder, "compare").returncode == 2
        file = next((folder / "policies").glob("fraud*.toml"))
        text = file.read_text("utf-8").replace("[rules]", '[rules]\n99 = "Be plain."')
        file.write_text(text, "utf-8")
        assert aidsafe(folder, "backfill", "--yes").returncode == 0
        values = json.loads(aidsafe(folder, "compare", "--json").stdout)
    assert values["prompts"] == 6
    assert values["simulated"] == ["A", "B"]
    (difference,) = values["recipes"]
    assert difference["changes"] == ["policies: fraud_and_deception changed"]
    (rule,) = difference["policies"]
    assert (rule["title"], rule["before"], rule["after"]) == (
        "fraud_and_deception.99",
        "",
        "Be plain.",
    )
    made = {one["name"]: one for one in values["outcomes"]}["SFT row"]
    assert made["n"] == 6
