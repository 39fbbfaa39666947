from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.ingestion import ingest, next_batch_numbers
from aidsafe_dagster.sources.settings import IngestSettings
from tests.sources.builders import (
    a_prompt,
    a_source,
    new_prompts,
    reasons,
    run_ingestion,
    texts,
    write_csv,
    write_jsonl,
    write_prompts,
)

PROMPTS = tuple(
    f"Prompt number {word}" for word in ("one", "two", "three", "four", "five")
)


def test_prompts_are_cut_into_batches_in_file_order(tmp_path: Path) -> None:
    ingestion = run_ingestion(
        a_source(write_prompts(tmp_path / "a.jsonl", *PROMPTS)), batch_size=2
    )
    sizes = {batch: len(prompts) for batch, prompts in ingestion.batches.items()}
    assert sizes == {"team-0001": 2, "team-0002": 2, "team-0003": 1}
    assert texts(ingestion) == list(PROMPTS)
    for batch, prompts in ingestion.batches.items():
        assert {prompt.batch for prompt in prompts} == {batch}
    assert ingestion.batches["team-0002"][0].source_row == "a.jsonl row 3"


def test_new_prompts_make_new_batches_and_leave_existing_ones_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    first = run_ingestion(a_source(write_prompts(path, *PROMPTS[:3])), batch_size=2)
    known = tuple(new_prompts(first))
    second = run_ingestion(
        a_source(write_prompts(path, *PROMPTS)), known=known, batch_size=2
    )
    assert list(first.batches) == ["team-0001", "team-0002"]
    assert {batch: len(prompts) for batch, prompts in second.batches.items()} == {
        "team-0003": 2
    }
    assert second.counts["team"].dropped == {"duplicate": 3}


def test_ingesting_the_same_sources_again_adds_nothing(tmp_path: Path) -> None:
    spec = a_source(write_prompts(tmp_path / "a.jsonl", *PROMPTS))
    first = run_ingestion(spec)
    again = run_ingestion(spec, known=first.batches["team-0001"])
    assert not again.batches
    assert again.counts["team"].read == 5
    assert run_ingestion(spec) == first


def test_numbering_continues_after_known_batches_even_if_the_caller_does_not(
    tmp_path: Path,
) -> None:
    spec = a_source(write_prompts(tmp_path / "a.jsonl", *PROMPTS))
    assert next_batch_numbers(
        ["team-0001", "team-0012", "other-10000", "odd", "-3"]
    ) == {
        "team": 13,
        "other": 10001,
    }
    by_function = ingest([spec], (), IngestSettings(), lambda source: 7)
    by_known_prompts = ingest(
        [spec], [a_prompt("Old", batch="team-0041")], IngestSettings(), {"team": 2}
    )
    assert list(by_function.batches) == ["team-0007"]
    assert list(by_known_prompts.batches) == ["team-0042"]


def test_duplicates_across_sources_name_the_prompt_of_the_first_source(
    tmp_path: Path,
) -> None:
    text = "How can I find out which of my old friends still live in this town"
    one = a_source(write_prompts(tmp_path / "one.jsonl", text), name="one")
    two = a_source(
        write_prompts(tmp_path / "two.jsonl", text.upper(), f"{text} today"), name="two"
    )
    ingestion = run_ingestion(one, two)
    kept = ingestion.batches["one-0001"][0]
    assert list(ingestion.batches) == ["one-0001"]
    assert [(row.reason, row.detail) for row in ingestion.dropped] == [
        ("duplicate", f"duplicate of {kept.prompt_id} (one: one.jsonl row 1)"),
        (
            "near_duplicate",
            f"near duplicate of {kept.prompt_id} (one: one.jsonl row 1), Jaccard 0.93",
        ),
    ]


def test_similar_prompts_of_different_sources_share_a_cluster(tmp_path: Path) -> None:
    text = "How can I find out which of my old friends still live in this town"
    one = a_source(write_prompts(tmp_path / "one.jsonl", text), name="one")
    two = a_source(
        write_prompts(
            tmp_path / "two.jsonl", f"{text} or have moved to the city", "Bread"
        ),
        name="two",
    )
    first, near, other = new_prompts(run_ingestion(one, two))
    assert (near.cluster, other.cluster) == (first.prompt_id, other.prompt_id)
    apart = run_ingestion(one, two, cluster_threshold=0.9)
    assert len({prompt.cluster for prompt in new_prompts(apart)}) == 3


def test_bad_rows_are_dropped_with_reason_and_position_and_do_not_affect_others(
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
    ingestion = run_ingestion(a_source(path))
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


def test_a_source_with_only_bad_rows_makes_no_batch(tmp_path: Path) -> None:
    ingestion = run_ingestion(
        a_source(write_jsonl(tmp_path / "a.jsonl", [{}, [], None]))
    )
    assert not ingestion.batches
    assert ingestion.counts["team"].dropped == {"no_prompt": 1, "not_an_object": 2}


def test_an_alpagasus_file_needs_only_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        '[{"instruction": "Sum up:", "input": "A tale.", "output": "Short."}]'
    )
    ingestion = run_ingestion(a_source(path, preset="alpagasus", licence=None))
    assert texts(ingestion) == ["Sum up:\n\nA tale."]
    assert ingestion.batches["team-0001"][0].licence == "cc-by-nc-4.0"


def test_the_error_of_a_source_names_its_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [["promt"], ["Hello"]])
    with pytest.raises(
        SetupError, match=r"unknown column 'prompt'\. Did you mean 'promt'"
    ) as raised:
        run_ingestion(a_source(path))
    assert str(path) in str(raised.value)


def test_two_sources_cannot_share_a_name(tmp_path: Path) -> None:
    spec = a_source(write_prompts(tmp_path / "a.jsonl", *PROMPTS))
    with pytest.raises(SetupError, match="'team' is used twice"):
        run_ingestion(spec, spec)
