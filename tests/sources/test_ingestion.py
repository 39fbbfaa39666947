from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.ingestion import ingest, next_batch_numbers
from aidsafe_dagster.sources.settings import IngestSettings
from tests.sources.builders import (
    a_prompt,
    a_source,
    ingested,
    reasons,
    texts,
    write_csv,
    write_jsonl,
    write_prompts,
)

PROMPTS = tuple(f"Prompt number {word}" for word in ("one", "two", "three", "four", "five"))


def test_prompts_are_cut_into_batches_in_file_order(tmp_path: Path) -> None:
    ingestion = ingested(a_source(write_prompts(tmp_path / "a.jsonl", *PROMPTS)), batch_size=2)
    sizes = {batch: len(prompts) for batch, prompts in ingestion.batches.items()}
    assert sizes == {"team-0001": 2, "team-0002": 2, "team-0003": 1}
    assert texts(ingestion) == list(PROMPTS)
    assert all(
        prompt.batch == batch for batch, prompts in ingestion.batches.items() for prompt in prompts
    )
    assert ingestion.batches["team-0002"][0].source_row == "a.jsonl row 3"


def test_new_prompts_make_new_batches_and_leave_the_old_ones_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = ingested(a_source(write_prompts(path, *PROMPTS[:3])), batch_size=2)
    known = tuple(prompt for batch in first.batches.values() for prompt in batch)
    second = ingested(a_source(write_prompts(path, *PROMPTS)), known=known, batch_size=2)
    assert list(first.batches) == ["team-0001", "team-0002"]
    assert {batch: len(prompts) for batch, prompts in second.batches.items()} == {"team-0003": 2}
    assert second.counts["team"].dropped == {"duplicate": 3}


def test_ingesting_the_same_sources_again_adds_nothing(tmp_path: Path) -> None:
    spec = a_source(write_prompts(tmp_path / "a.jsonl", *PROMPTS))
    first = ingested(spec)
    again = ingested(spec, known=first.batches["team-0001"])
    assert not again.batches
    assert again.counts["team"].read == 5
    assert ingested(spec) == first


def test_numbering_continues_from_what_exists_even_where_the_caller_forgot(tmp_path: Path) -> None:
    spec = a_source(write_prompts(tmp_path / "a.jsonl", *PROMPTS))
    assert next_batch_numbers(["team-0001", "team-0012", "other-10000", "odd", "-3"]) == {
        "team": 13,
        "other": 10001,
    }
    by_function = ingest([spec], (), IngestSettings(), lambda source: 7)
    by_known = ingest([spec], [a_prompt("Old", batch="team-0041")], IngestSettings(), {"team": 2})
    assert list(by_function.batches) == ["team-0007"]
    assert list(by_known.batches) == ["team-0042"]


def test_the_first_source_wins_and_the_other_says_what_it_repeats(tmp_path: Path) -> None:
    text = "How can I find out which of my old friends still live in this town"
    one = a_source(write_prompts(tmp_path / "one.jsonl", text), name="one")
    two = a_source(write_prompts(tmp_path / "two.jsonl", text.upper(), f"{text} today"), name="two")
    ingestion = ingested(one, two)
    kept = ingestion.batches["one-0001"][0]
    assert list(ingestion.batches) == ["one-0001"]
    assert [(row.reason, row.detail) for row in ingestion.dropped] == [
        ("duplicate", f"duplicate of {kept.prompt_id} (one: one.jsonl row 1)"),
        (
            "near_duplicate",
            f"near duplicate of {kept.prompt_id} (one: one.jsonl row 1), Jaccard 0.93",
        ),
    ]


def test_similar_prompts_of_all_sources_are_in_one_cluster(tmp_path: Path) -> None:
    text = "How can I find out which of my old friends still live in this town"
    one = a_source(write_prompts(tmp_path / "one.jsonl", text), name="one")
    two = a_source(
        write_prompts(tmp_path / "two.jsonl", f"{text} or have moved to the city", "Bread"),
        name="two",
    )
    first, near, other = (
        prompt for prompts in ingested(one, two).batches.values() for prompt in prompts
    )
    assert (near.cluster, other.cluster) == (first.prompt_id, other.prompt_id)
    apart = ingested(one, two, cluster_threshold=0.9)
    assert len({prompt.cluster for prompts in apart.batches.values() for prompt in prompts}) == 3


def test_bad_rows_are_dropped_with_reason_and_place_and_never_stop_the_others(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl(
        path,
        [
            {"prompt": "Good {{ one }}"},
            ["a list"],
            {"prompt": None},
            {"other": "no prompt"},
            {"prompt": 5},
            {"prompt": "lone \ud800"},
            {"prompt": "x" * 2_000_000},
            {},
            {"prompt": "Good, too"},
        ],
    )
    with path.open("ab") as file:
        file.write(b'{"prompt": "\xff"}\n')
    ingestion = ingested(a_source(path))
    assert texts(ingestion) == ["Good {{ one }}", "Good, too"]
    assert reasons(ingestion) == [
        ("a.jsonl row 2", "not_an_object"),
        ("a.jsonl row 3", "no_prompt"),
        ("a.jsonl row 4", "no_prompt"),
        ("a.jsonl row 5", "not_text"),
        ("a.jsonl row 6", "not_text"),
        ("a.jsonl row 7", "too_long"),
        ("a.jsonl row 8", "no_prompt"),
        ("a.jsonl row 10", "not_text"),
    ]
    assert ingestion.counts["team"].kept == 2


def test_a_source_of_bad_rows_alone_makes_no_batch(tmp_path: Path) -> None:
    ingestion = ingested(a_source(write_jsonl(tmp_path / "a.jsonl", [{}, [], None])))
    assert not ingestion.batches
    assert ingestion.counts["team"].dropped == {"no_prompt": 1, "not_an_object": 2}


def test_an_alpagasus_file_needs_no_more_than_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"instruction": "Sum up:", "input": "A tale.", "output": "Short."}]')
    ingestion = ingested(a_source(path, preset="alpagasus", licence=None))
    assert texts(ingestion) == ["Sum up:\n\nA tale."]
    assert ingestion.batches["team-0001"][0].licence == "cc-by-nc-4.0"


def test_a_mistake_in_a_source_names_its_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [["promt"], ["Hello"]])
    with pytest.raises(
        SetupError, match=r"unknown column 'prompt'\. Did you mean 'promt'"
    ) as raised:
        ingested(a_source(path))
    assert str(path) in str(raised.value)


def test_two_sources_cannot_share_a_name(tmp_path: Path) -> None:
    spec = a_source(write_prompts(tmp_path / "a.jsonl", *PROMPTS))
    with pytest.raises(SetupError, match="'team' is used twice"):
        ingested(spec, spec)
