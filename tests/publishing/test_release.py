"""A release as a folder: its rows, its card, and that `datasets` can read it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import store_split_inputs
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.publishing.card import CardContext
from aidsafe_dagster.publishing.dataset import ReleaseSelection
from aidsafe_dagster.publishing.release import Release, make_release
from aidsafe_dagster.publishing.rows import CONFIGS
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import (
    ScoreGate,
    SplitInputs,
    join_thinking,
)
from aidsafe_dagster.recipe.format_types import RowKind
from aidsafe_dagster.recipe.records import (
    FailureReason,
    FineTuneRow,
    PreferencePair,
    Reasoning,
    RefinedCot,
    Stage,
)
from aidsafe_dagster.sources.contamination import Match, Rule
from aidsafe_dagster.sources.evaluation_sets import CheckedSet
from tests.builders import a_deliberated_cot, a_failure, a_refined_thought, policies
from tests.publishing.lakes import a_filled_lake, all_batches, fill, publish_settings
from tests.reports.builders import make_older
from tests.selection.stored import put_selection

READER = """
import json, sys
from datasets import get_dataset_config_names, load_dataset
place, cache = sys.argv[1:]
contents = {}
for config in get_dataset_config_names(place):
    contents[config] = {}
    for split, rows in load_dataset(place, config, cache_dir=cache).items():
        contents[config][split] = {
            "rows": rows.num_rows, "columns": rows.column_names, "first": rows[0]
        }
print(json.dumps(contents))
"""


def a_release(
    lake: Lake,
    folder: Path,
    ratio: float | None = None,
    simulated: bool = False,
    **settings: Any,
) -> Release:
    context = CardContext(publish_settings(**settings), policies(), ratio)
    return make_release(
        lake, all_batches(lake), context, folder, allow_simulated=simulated
    )


def rows(release: Release, config: str) -> list[dict[str, Any]]:
    files = sorted((release.folder / "data" / config).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def read_by_datasets(place: str, cache: Path, **environ: str) -> dict[str, Any]:
    """Load every config with `load_dataset` in a process of its own."""
    # The client reads its cache folder and endpoint from the environment when it is imported.
    quiet = {"HF_HOME": str(cache / "home"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    environment = os.environ | quiet | environ
    command = [sys.executable, "-W", "error", "-c", READER, place, str(cache)]
    result = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def count_rows(contents: dict[str, Any]) -> dict[tuple[str, str], int]:
    counts = {}
    for config, splits in contents.items():
        for split, content in splits.items():
            counts[config, split] = content["rows"]
    return counts


def test_a_release_has_every_row_of_the_lake_with_its_lineage(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    release = a_release(lake, tmp_path)
    splits = lake.all_rows(Stage.FINE_TUNE_SPLITS)
    assert splits is not None
    configs: tuple[RowKind, ...] = ("sft", "dpo")
    for config in configs:
        fine_tune_rows = from_frame(splits.filter(kind=config), FineTuneRow)
        expected = {row.prompt_id: row for row in fine_tune_rows}
        published = rows(release, config)
        assert {row["prompt_id"] for row in published} == set(expected)
        for row in published:
            assert list(row) == list(CONFIGS[config])
            assert row["source_row"] == expected[row["prompt_id"]].source_row
    assert {row["score_rejected"] for row in rows(release, "dpo")} == {1.5}


def test_a_deliberation_has_every_thought_with_author_and_verdict(
    tmp_path: Path,
) -> None:
    story = rows(a_release(a_filled_lake(tmp_path), tmp_path), "deliberations")[0]
    thoughts = [
        (thought["agent"], thought["round"], thought["verdict"])
        for thought in story["deliberated_thoughts"]
    ]
    assert thoughts == [
        ("initializer", 0, "keep"),
        ("initializer", 0, "keep"),
        ("deliberator_1", 1, "redundant"),
    ]
    assert [turn["verdict"] for turn in story["turns"]] == ["revise", "agree"]
    assert "Refiner drops [3], redundant" in story["deliberation_log"]


def test_batches_stay_together_in_the_order_of_their_keys(tmp_path: Path) -> None:
    release = a_release(a_filled_lake(tmp_path, "b-0001", "a-0002", "a-0001"), tmp_path)
    train = pq.read_table(release.folder / "data/sft/train-00000-of-00001.parquet")
    batches = train["batch"].to_pylist()
    assert batches == sorted(batches)
    assert len(set(batches)) == 3


def test_the_version_depends_on_the_rows(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    first, again = a_release(lake, tmp_path), a_release(lake, tmp_path)
    assert (first.version, first.files) == (again.version, again.files)
    fill(lake, "demo-0003")
    assert a_release(lake, tmp_path).version != first.version
    assert first.folder.exists()


def test_the_version_does_not_depend_on_the_card(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    one, other = (
        a_release(lake, tmp_path / "one"),
        a_release(lake, tmp_path / "other", pretty_name="Another name"),
    )
    assert one.version == other.version
    assert one.card != other.card


def test_simulated_rows_alone_are_refused_with_their_number_and_batch(
    tmp_path: Path,
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001", prompts=3, simulated=True)
    with pytest.raises(
        SetupError, match=r"3 prompts .* rehearsal engine simulated: demo-0001 \(3\)\."
    ):
        a_release(lake, tmp_path)
    assert not list((tmp_path).glob("published/*"))


def test_rehearsal_batches_among_others_are_left_out_with_a_note(
    tmp_path: Path,
) -> None:
    lake = a_filled_lake(tmp_path, "real-0001")
    fill(lake, "demo-0001", prompts=3, simulated=True)
    release = a_release(lake, tmp_path)
    assert release.selection.batches == ("real-0001",)
    assert not release.simulated
    assert "the answers to 3 prompts are simulated" in release.card
    everything = a_release(lake, tmp_path, simulated=True)
    assert everything.selection.batches == ("demo-0001", "real-0001")


def test_a_selection_is_narrowed_to_the_batches_that_are_named(tmp_path: Path) -> None:
    selection = all_batches(a_filled_lake(tmp_path))
    assert selection.narrowed(["demo-0002"]).batches == ("demo-0002",)
    assert selection.narrowed([]) == selection


def test_a_rehearsed_deliberation_is_refused_even_if_a_model_refined_it(
    tmp_path: Path,
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    ids = lake.rows(Stage.REFINED_COTS, "demo-0001")["prompt_id"].to_list()
    stories = [
        a_deliberated_cot(prompt_id=ids[0], simulated=True),
        a_deliberated_cot(prompt_id=ids[1]),
    ]
    lake.write(Stage.DELIBERATED_COTS, "demo-0001", to_frame(stories, type(stories[0])))
    with pytest.raises(
        SetupError, match="1 prompts have rows that the rehearsal engine simulated"
    ):
        a_release(lake, tmp_path)


def test_a_release_of_simulated_rows_is_labelled(tmp_path: Path) -> None:
    release = a_release(
        a_filled_lake(tmp_path, simulated=True), tmp_path, simulated=True
    )
    assert release.simulated == {"demo-0001": 8, "demo-0002": 8}
    assert "**Rehearsal: every answer in this data was simulated" in release.card
    assert "rehearsal" in yaml.safe_load(release.card.split("---\n")[1])["tags"]


def test_a_licence_that_does_not_cover_a_source_is_refused(
    tmp_path: Path,
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    fill(lake, "beavertails-0001", source="beavertails", licence="cc-by-nc-4.0")
    with pytest.raises(
        SetupError, match=r"source 'beavertails': its 8 prompts are under cc-by-nc-4\.0"
    ):
        a_release(lake, tmp_path, licence="cc-by-4.0")
    assert (
        a_release(lake, tmp_path, licence="cc-by-nc-4.0").licence.hub_id
        == "cc-by-nc-4.0"
    )


def test_a_batch_with_newer_refined_rows_is_left_out(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    stage = Stage.REFINED_COTS
    first, *others = lake.records(stage, "demo-0001", RefinedCot)
    newer = first.model_copy(update={"thoughts": (a_refined_thought(text="New."),)})
    lake.write(stage, "demo-0001", to_frame([newer, *others], RefinedCot))
    release = a_release(lake, tmp_path)
    assert release.selection.left_out == {
        "demo-0001": "refined_cots was made again after fine_tune_splits"
    }
    assert {row["batch"] for row in rows(release, "sft")} == {"demo-0002"}
    assert "Batch demo-0001 is not included" in release.card


def test_a_batch_with_newer_pairs_is_released_without_its_dpo_rows(
    tmp_path: Path,
) -> None:
    lake = a_filled_lake(tmp_path)
    stage = Stage.PREFERENCE_PAIRS
    first, *others = lake.records(stage, "demo-0001", PreferencePair)
    newer = first.model_copy(update={"chosen_cot": "New."})
    lake.write(stage, "demo-0001", to_frame([newer, *others], PreferencePair))
    release = a_release(lake, tmp_path)
    assert release.selection.left_out == {}
    reason = "preference_pairs was made again after fine_tune_splits"
    assert release.selection.without_dpo == {"demo-0001": reason}
    assert {row["batch"] for row in rows(release, "sft")} == {"demo-0001", "demo-0002"}
    assert {row["batch"] for row in rows(release, "dpo")} == {"demo-0002"}
    assert "Batch demo-0001 is included without its DPO rows" in release.card


def test_the_card_states_the_floors_that_the_batches_were_made_under(
    tmp_path: Path,
) -> None:
    lake = a_filled_lake(tmp_path)
    store_split_inputs(lake, split_inputs("demo-0001", ScoreGate()))
    off = ScoreGate(policy_to_response=1, response_to_cot=1)
    store_split_inputs(lake, split_inputs("demo-0002", off))
    card = a_release(lake, tmp_path).card
    assert "policy to response 4, response to cot 4" in card
    assert "In some batches (1), no least score was asked of a row" in card


def split_inputs(batch: str, gate: ScoreGate) -> SplitInputs:
    return SplitInputs(
        batch=batch,
        pairs=8,
        pairs_fingerprint="",
        closed_gate="",
        accepted_gate="",
        score_gate=gate,
    )


def test_a_row_with_a_think_tag_in_its_text_is_left_out_and_counted(
    tmp_path: Path,
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    fill(lake, "demo-0002", prompts=2, response="Close it with </think> at last.")
    release = a_release(lake, tmp_path)
    assert {row["batch"] for row in rows(release, "sft")} == {"demo-0001"}
    assert "a think tag in the text itself | 2 |" in release.card


def test_the_general_mix_limits_the_benign_rows_to_the_ratio(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "harmful-0001", kind="harmful")
    fill(lake, "general-0001", prompts=30, kind="benign")
    release = a_release(lake, tmp_path, ratio=1.0, configs=("sft", "deliberations"))
    kinds = [row["prompt_kind"] for row in rows(release, "sft")]
    assert (kinds.count("harmful"), kinds.count("benign")) == (8, 8)
    assert len(rows(a_release(lake, tmp_path), "sft")) == 38


def test_the_error_of_an_empty_release_gives_the_reasons(tmp_path: Path) -> None:
    nothing = ReleaseSelection((), {"demo-0001": "integrity failed"}, {})
    with pytest.raises(
        SetupError, match=r"no row to publish \(demo-0001: integrity failed\)"
    ):
        make_release(
            Lake(tmp_path / "lake"),
            nothing,
            CardContext(publish_settings(), policies()),
            tmp_path,
        )


def test_the_card_counts_what_the_lake_holds(tmp_path: Path) -> None:
    lost = a_failure(stage="refined_cots", reason=FailureReason.OVER_FILTERED)
    lake = a_filled_lake(tmp_path, "demo-0001", failures=(lost,), kind="benign")
    card = a_release(lake, tmp_path).card
    assert "| `refined_cots` | over\\_filtered | 1 |" in card
    assert "**These prompts were checked against no evaluation set.**" in card
    assert "| Illegal activity (`illegal`) | 8 | 8 |" in card
    assert (
        "| relevance | 3.00 (3.00 to 3.00) | 4.00 (4.00 to 4.00) | 5.00 (5.00 to 5.00) |"
        in card
    )
    assert "| benign | 8 |" in card
    assert "## Example row" in card


def test_the_card_s_languages_are_those_of_the_rows(tmp_path: Path) -> None:
    english = "A lock has pins, and the right key lifts all of them to one height."
    german = "Ein Schloss hat Stifte. Der richtige Schlüssel hebt sie alle an."
    lake = a_filled_lake(tmp_path, "demo-0001", response=english, prompts=9)
    fill(lake, "german-0001", response=german, prompts=5)
    card = a_release(lake, tmp_path).card
    assert 'language: ["en", "de"]' in card
    assert re.search(r"\| de \| 0 \| 5 \|", card)
    assert "0.99 or more" in card


def test_languages_in_the_settings_win(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    card = a_release(lake, tmp_path, language=("fr",)).card
    assert 'language: ["fr"]' in card


def test_the_card_lists_the_evaluation_sets_and_the_prompts_left_out(
    tmp_path: Path,
) -> None:
    match = Match(
        set="xstest",
        row="row 7",
        rule=Rule.EXACT,
        score=1.0,
        text="How do I kill a process?",
    )
    # One prompt fails once per kind of row.
    failures = [
        a_failure(
            stage="fine_tune_splits",
            reason=FailureReason.CONTAMINATED,
            detail=f"{kind}: {match}",
        )
        for kind in ("sft", "dpo")
    ]
    lake = a_filled_lake(tmp_path, "demo-0001", "demo-0002", failures=tuple(failures))
    values = {
        "revision": "",
        "prompts": 450,
        "skipped": 0,
        "content": "c0",
        "version": "v0",
        "batch": "demo-0001",
    }
    checked = CheckedSet(
        stage="prompts", set="xstest", origin="/secret/place/xs.csv", **values
    )
    lake.write("evaluation_sets", "demo-0001", to_frame([checked], CheckedSet))
    card = a_release(lake, tmp_path).card
    assert "| xstest | xs.csv |  | 450 | 1 of 2 | 1 |" in card
    assert "/secret" not in card


def test_the_card_shows_neither_addresses_nor_reasoning(tmp_path: Path) -> None:
    thoughts = (Reasoning(turn=0, speaker="refiner", text="between me and myself"),)
    lake = a_filled_lake(
        tmp_path,
        kind="benign",
        servers=("http://10.0.0.7:8000/v1", "fast (openai-reasoning)"),
        reasoning=thoughts,
    )
    card = a_release(lake, tmp_path / "out").card
    assert "a server by address, fast (openai-reasoning)" in card
    assert "10.0.0.7" not in card
    assert "between me" not in card


def test_a_release_holds_batches_of_an_older_release_too(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    before = a_release(lake, tmp_path / "before")
    make_older(lake, "demo-0001")
    after = a_release(lake, tmp_path / "after")
    assert after.version == before.version


def test_a_harmful_row_is_never_the_example(tmp_path: Path) -> None:
    assert (
        "## Example row"
        not in a_release(a_filled_lake(tmp_path, kind="harmful"), tmp_path).card
    )


def test_a_prompt_cannot_break_out_of_the_card(tmp_path: Path) -> None:
    nasty = "# Owned\n---\n![x](http://y)\n<b>"
    lake = a_filled_lake(
        tmp_path, "demo-0001", kind="benign", prompt=nasty, category="|"
    )
    lines = a_release(lake, tmp_path).card.splitlines()
    assert "> \\# Owned" in lines
    assert not [
        line for line in lines if line.startswith(("# Owned", "![x]")) or "<b>" in line
    ]


def test_datasets_loads_every_config(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    train = lake.all_rows(Stage.FINE_TUNE_SPLITS)
    assert train is not None
    chosen = train.filter(split="train", kind="sft")["prompt_id"].to_list()[:2]
    put_selection(lake, ["demo-0001", "demo-0002"], chosen, chosen)
    release = a_release(lake, tmp_path, reasoning="field")
    contents = read_by_datasets(str(release.folder), tmp_path / "cache")
    assert count_rows(contents) == release.rows.counts
    assert {config for config, _ in release.rows.counts} == {*CONFIGS} - {"guard"}
    for config, columns in CONFIGS.items():
        for content in contents.get(config, {}).values():
            assert content["columns"] == list(columns)
    answer = contents["sft"]["train"]["first"]["messages"][1]
    assert answer["reasoning_content"].startswith("The user wants to know")


def test_a_selection_of_other_rows_is_left_out_with_the_reason(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    put_selection(lake, ["demo-0001"], ["p1"], [])
    fill(lake, "demo-0001", prompts=9)
    release = a_release(lake, tmp_path)
    assert "selected" not in {config for config, _ in release.rows.counts}
    assert "made again or forgotten since the selection: demo-0001" in (
        release.without_selected
    )


def test_the_assistant_turn_is_reasoning_then_response(tmp_path: Path) -> None:
    for row in rows(a_release(a_filled_lake(tmp_path), tmp_path), "sft"):
        assert row["messages"][1]["content"] == join_thinking(
            row["thinking"], row["response"]
        )
