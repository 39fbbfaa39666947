"""A release as a folder: which rows it has, what its card tells, and that `datasets` reads it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.publishing.card import CardContext
from aidsafe_dagster.publishing.dataset import ReleaseSelection
from aidsafe_dagster.publishing.release import Release, make_release
from aidsafe_dagster.publishing.rows import CONFIGS
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import with_thinking
from aidsafe_dagster.recipe.formats import RowKind
from aidsafe_dagster.recipe.records import (
    FailureReason,
    FineTuneRow,
    PreferencePair,
    RefinedCot,
    Stage,
)
from aidsafe_dagster.sources.contamination import Match, Rule
from aidsafe_dagster.sources.evaluation_sets import CheckedSet
from tests.builders import a_deliberated_cot, a_failure, a_refined_thought, policies
from tests.publishing.lakes import a_filled_lake, chosen, fill, publish_settings

READER = """
import json, sys
from datasets import load_dataset
place, cache = sys.argv[1:]
def told(rows):
    return {"rows": rows.num_rows, "columns": rows.column_names, "first": rows[0]}
print(json.dumps({
    config: {split: told(rows) for split, rows in load_dataset(place, config, cache_dir=cache).items()}
    for config in ("sft", "dpo", "deliberations")
}))
"""


def release(
    lake: Lake, folder: Path, ratio: float | None = None, simulated: bool = False, **settings: Any
) -> Release:
    told = CardContext(publish_settings(**settings), policies(), ratio)
    return make_release(lake, chosen(lake), told, folder, allow_simulated=simulated)


def rows(made: Release, config: str) -> list[dict[str, Any]]:
    files = sorted((made.folder / "data" / config).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def read_by_datasets(place: str, cache: Path, **environ: str) -> dict[str, Any]:
    """What `load_dataset` makes of it, by config and split, in a process of its own."""
    own = (
        os.environ
        | {"HF_HOME": str(cache / "home"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        | environ
    )
    command = [sys.executable, "-W", "error", "-c", READER, place, str(cache)]
    done = subprocess.run(
        command, env=own, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_every_row_of_the_lake_is_in_it_with_its_lineage(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    made = release(lake, tmp_path)
    splits = lake.all_rows(Stage.FINE_TUNE_SPLITS)
    assert splits is not None
    configs: tuple[RowKind, ...] = ("sft", "dpo")
    for config in configs:
        expected = {
            row.prompt_id: row for row in from_frame(splits.filter(kind=config), FineTuneRow)
        }
        found = rows(made, config)
        assert {row["prompt_id"] for row in found} == set(expected)
        assert all(list(row) == list(CONFIGS[config]) for row in found)
        for row in found:
            assert row["source_row"] == expected[row["prompt_id"]].source_row
    assert {row["score_rejected"] for row in rows(made, "dpo")} == {1.5}


def test_a_deliberation_has_every_thought_with_author_and_verdict(tmp_path: Path) -> None:
    story = rows(release(a_filled_lake(tmp_path), tmp_path), "deliberations")[0]
    told = [
        (thought["agent"], thought["round"], thought["verdict"])
        for thought in story["deliberated_thoughts"]
    ]
    assert told == [
        ("initializer", 0, "keep"),
        ("initializer", 0, "keep"),
        ("deliberator_1", 1, "redundant"),
    ]
    assert [turn["verdict"] for turn in story["turns"]] == ["revise", "agree"]
    assert "Refiner drops [3], redundant" in story["deliberation_log"]


def test_batches_stay_together_in_the_order_of_their_keys(tmp_path: Path) -> None:
    found = rows(release(a_filled_lake(tmp_path, "b-0001", "a-0002", "a-0001"), tmp_path), "sft")
    by_split = [row["batch"] for row in found if row["prompt_id"] in _train(tmp_path)]
    assert by_split == sorted(by_split)
    assert len(set(by_split)) == 3


def _train(folder: Path) -> set[str]:
    (made,) = (folder / "published").glob("[0-9a-f]*")
    return {
        row["prompt_id"]
        for row in pq.read_table(made / "data/sft/train-00000-of-00001.parquet").to_pylist()
    }


def test_the_same_rows_make_the_same_release_and_a_new_batch_another(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    first, again = release(lake, tmp_path), release(lake, tmp_path)
    assert (first.version, first.files) == (again.version, again.files)
    fill(lake, "demo-0003")
    assert release(lake, tmp_path).version != first.version
    assert first.folder.exists()


def test_a_word_of_the_card_changes_no_version(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    one, other = (
        release(lake, tmp_path / "one"),
        release(lake, tmp_path / "other", pretty_name="Another name"),
    )
    assert one.version == other.version
    assert one.card != other.card


def test_simulated_rows_are_refused_by_number_and_batch(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "real-0001")
    fill(lake, "demo-0001", prompts=3, simulated=True)
    with pytest.raises(
        SetupError, match=r"3 prompts .* rehearsal engine simulated: demo-0001 \(3\)\."
    ):
        release(lake, tmp_path)
    assert not list((tmp_path).glob("published/*"))


def test_a_rehearsed_deliberation_is_refused_although_a_model_refined_it(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    ids = lake.rows(Stage.REFINED_COTS, "demo-0001")["prompt_id"].to_list()
    stories = [
        a_deliberated_cot(prompt_id=ids[0], simulated=True),
        a_deliberated_cot(prompt_id=ids[1]),
    ]
    lake.write(Stage.DELIBERATED_COTS, "demo-0001", to_frame(stories, type(stories[0])))
    with pytest.raises(SetupError, match="1 prompts have rows that the rehearsal engine simulated"):
        release(lake, tmp_path)


def test_a_look_at_simulated_rows_is_labelled(tmp_path: Path) -> None:
    made = release(a_filled_lake(tmp_path, simulated=True), tmp_path, simulated=True)
    assert made.simulated == {"demo-0001": 8, "demo-0002": 8}
    assert "**Rehearsal: every answer in this data was simulated" in made.card
    assert "rehearsal" in yaml.safe_load(made.card.split("---\n")[1])["tags"]


def test_a_licence_that_does_not_cover_a_source_stops_it_before_anything_is_written(
    tmp_path: Path,
) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    fill(lake, "beavertails-0001", source="beavertails", licence="cc-by-nc-4.0")
    with pytest.raises(
        SetupError, match=r"source 'beavertails': its 8 prompts are under cc-by-nc-4\.0"
    ):
        release(lake, tmp_path, licence="cc-by-4.0")
    assert release(lake, tmp_path, licence="cc-by-nc-4.0").licence.hub_id == "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("stage", "record"), [("refined_cots", RefinedCot), ("preference_pairs", PreferencePair)]
)
def test_a_batch_whose_rows_were_made_again_meanwhile_is_left_out(
    tmp_path: Path, stage: str, record: Any
) -> None:
    lake = a_filled_lake(tmp_path)
    first, *others = from_frame(lake.rows(stage, "demo-0001"), record)
    changes = {"thoughts": (a_refined_thought(text="Anew."),), "chosen_cot": "Anew."}
    anew = first.model_copy(
        update={name: value for name, value in changes.items() if name in record.model_fields}
    )
    lake.write(stage, "demo-0001", to_frame([anew, *others], record))
    made = release(lake, tmp_path)
    assert made.selection.left_out == {"demo-0001": f"{stage} was made again after fine_tune_splits"}
    assert {row["batch"] for row in rows(made, "sft")} == {"demo-0002"}
    assert "Batch demo-0001 is not in" in made.card


def test_a_row_whose_text_says_a_think_tag_is_left_out_and_counted(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    fill(lake, "demo-0002", prompts=2, response="Close it with </think> at last.")
    made = release(lake, tmp_path)
    assert {row["batch"] for row in rows(made, "sft")} == {"demo-0001"}
    assert "a think tag in the text itself | 2 |" in made.card


def test_the_general_mix_takes_as_many_benign_rows_as_the_ratio_says(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "harmful-0001", kind="harmful")
    fill(lake, "general-0001", prompts=30, kind="benign")
    found = rows(release(lake, tmp_path, ratio=1.0, configs=("sft", "deliberations")), "sft")
    kinds = [row["prompt_kind"] for row in found]
    assert (kinds.count("harmful"), kinds.count("benign")) == (8, 8)
    assert len(rows(release(lake, tmp_path), "sft")) == 38


def test_without_rows_the_reasons_are_told(tmp_path: Path) -> None:
    wanted = ReleaseSelection((), {"demo-0001": "integrity failed"}, {})
    with pytest.raises(SetupError, match=r"no row to publish \(demo-0001: integrity failed\)"):
        make_release(
            Lake(tmp_path / "lake"), wanted, CardContext(publish_settings(), policies()), tmp_path
        )


def test_the_card_counts_what_the_lake_holds(tmp_path: Path) -> None:
    lost = a_failure(stage="refined_cots", reason=FailureReason.OVER_FILTERED)
    lake = a_filled_lake(tmp_path, "demo-0001", failures=(lost,), kind="benign")
    card = release(lake, tmp_path).card
    assert "| `refined_cots` | over\\_filtered | 1 |" in card
    assert "**These prompts were checked against no evaluation set.**" in card
    assert "| Illegal activity (`illegal`) | 8 | 8 |" in card
    assert "| relevance | 3.00 (3.00 to 3.00) | 4.00 (4.00 to 4.00) | 5.00 (5.00 to 5.00) |" in card
    assert "| benign | 8 |" in card
    assert "## A row, as a person reads it" in card


def test_the_card_tells_which_evaluation_sets_were_looked_for_and_what_was_left_out(
    tmp_path: Path,
) -> None:
    match = str(
        Match(
            set="xstest", row="row 7", rule=Rule.EXACT, score=1.0, text="How do I kill a process?"
        )
    )
    twice = ("sft", "dpo")
    found = [
        a_failure(
            stage="fine_tune_splits", reason=FailureReason.CONTAMINATED, detail=f"{kind}: {match}"
        )
        for kind in twice
    ]
    lake = a_filled_lake(tmp_path, "demo-0001", "demo-0002", failures=tuple(found))
    values = {
        "revision": "",
        "prompts": 450,
        "skipped": 0,
        "content": "c0",
        "version": "v0",
        "batch": "demo-0001",
    }
    checked = CheckedSet(stage="prompts", set="xstest", origin="/secret/place/xs.csv", **values)
    lake.write("evaluation_sets", "demo-0001", to_frame([checked], CheckedSet))
    card = release(lake, tmp_path).card
    assert "| xstest | xs.csv |  | 450 | 1 of 2 | 1 |" in card
    assert "/secret" not in card


def test_a_harmful_row_is_no_example(tmp_path: Path) -> None:
    assert (
        "## A row, as a person reads it"
        not in release(a_filled_lake(tmp_path, kind="harmful"), tmp_path).card
    )


def test_a_prompt_cannot_break_out_of_the_card(tmp_path: Path) -> None:
    nasty = "# Owned\n---\n![x](http://y)\n<b>"
    lake = a_filled_lake(tmp_path, "demo-0001", kind="benign", prompt=nasty, category="|")
    lines = release(lake, tmp_path).card.splitlines()
    assert "> \\# Owned" in lines
    assert not [line for line in lines if line.startswith(("# Owned", "![x]")) or "<b>" in line]


def test_datasets_loads_every_config(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    made = release(lake, tmp_path, reasoning="field")
    found = read_by_datasets(str(made.folder), tmp_path / "cache")
    counts = {
        (config, split): seen["rows"]
        for config, splits in found.items()
        for split, seen in splits.items()
    }
    assert counts == made.rows.counts
    for config, splits in found.items():
        assert all(seen["columns"] == list(CONFIGS[config]) for seen in splits.values())  # type: ignore[index]
    assert found["sft"]["train"]["first"]["messages"][1]["reasoning_content"].startswith(
        "The user wants to know"
    )


def test_the_assistant_turn_is_reasoning_then_response(tmp_path: Path) -> None:
    for row in rows(release(a_filled_lake(tmp_path), tmp_path), "sft"):
        assert row["messages"][1]["content"] == with_thinking(row["thinking"], row["response"])
