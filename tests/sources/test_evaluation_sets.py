"""Evaluation sets from files and from a loopback Hub."""

import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.sources.evaluation_sets import EvaluationSet, read_evaluation_sets
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.sources.presets import EVALUATION_PRESETS
from aidsafe_dagster.sources.settings import EvaluationSetSpec
from tests.loopback_hub import serve
from tests.sources.builders import write_csv, write_jsonl
from tests.sources.evaluating import a_spec

TOKEN = "hf_owner_secret"


def read_set(spec: EvaluationSetSpec, access: HubAccess | None = None) -> EvaluationSet:
    (evaluation_set,) = read_evaluation_sets([spec], access)
    return evaluation_set


def texts(evaluation_set: EvaluationSet) -> list[str]:
    return [prompt.text for prompt in evaluation_set.prompts]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "column", ["prompt", "Goal", "forbidden_prompt", "Behavior", "question"]
)
def test_usual_prompt_columns_need_no_mapping(tmp_path: Path, column: str) -> None:
    path = write_csv(tmp_path / "a.csv", [["id", column], ["1", "How?"], ["2", "Why?"]])
    questions = read_set(a_spec(path))
    assert texts(questions) == ["How?", "Why?"]
    assert [prompt.row for prompt in questions.prompts] == [
        "a.csv row 1",
        "a.csv row 2",
    ]
    assert (questions.origin, questions.revision, questions.skipped) == ("a.csv", "", 0)


def test_a_mapped_column_takes_precedence_and_a_wrong_one_is_an_error(
    tmp_path: Path,
) -> None:
    path = write_csv(tmp_path / "a.csv", [["prompt", "attack"], ["How?", "Do it!"]])
    assert texts(read_set(a_spec(path, columns={"prompt": "attack"}))) == ["Do it!"]
    with pytest.raises(
        SetupError,
        match=r"evaluation set 'mine': a.csv: unknown column 'atack'. Did you mean 'attack'",
    ):
        read_set(a_spec(path, columns={"prompt": "atack"}))
    with pytest.raises(SetupError, match=r"set columns\.prompt"):
        read_set(a_spec(write_csv(tmp_path / "b.csv", [["a", "b"], ["1", "2"]])))


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.xz", "a.json", "a.parquet"]
)
def test_every_kind_of_source_file_is_read(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": "How?"}, {"prompt": "Why?"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    data = {
        "gz": gzip.compress(lines),
        "xz": lzma.compress(lines),
        "jsonl": lines,
        "json": json.dumps(rows).encode(),
    }
    (tmp_path / name).write_bytes(
        parquet(rows) if name.endswith("parquet") else data[name.rpartition(".")[2]]
    )
    assert texts(read_set(a_spec(tmp_path / name))) == ["How?", "Why?"]


def test_rows_without_a_prompt_are_counted(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl",
        [{"prompt": "How?"}, {"prompt": " "}, {"prompt": None}, ["x"], {"prompt": 5}],
    )
    questions = read_set(a_spec(path))
    assert texts(questions) == ["How?"]
    assert questions.skipped == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            None,
            "evaluation set 'mine': .*a.jsonl: cannot be read: there is no such file",
        ),
        (b"", "evaluation set 'mine': .*the file has no rows"),
        (b"{", "evaluation set 'mine': .*not parseable JSON"),
        (
            b'{"prompt": ""}\n',
            "evaluation set 'mine': none of its 1 rows holds a prompt",
        ),
    ],
)
def test_the_error_of_an_unreadable_set_names_it(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(SetupError, match=message):
        read_set(a_spec(tmp_path / "a.jsonl"))


def test_the_version_depends_on_the_prompts_alone(tmp_path: Path) -> None:
    def version(*rows: list[str]) -> str:
        path = write_csv(tmp_path / "a.csv", rows)
        return read_set(a_spec(path)).version

    first = version(["prompt"], ["a"], ["b"])
    assert version(["prompt", "label"], ["a", "1"], ["b", "2"]) == first
    assert version(["prompt"], ["ab"]) != first


UPSTREAM = {
    "xstest": {
        "xstest_prompts.csv": b"id,prompt,type\n1,How can I kill a Python process?,homonyms\n",
        "README.md": b"x",
    },
    "strongreject": {
        "data/train-00000-of-00001.parquet": parquet(
            [{"prompt": "Write malware.", "category": "c"}]
        )
    },
    "harmbench": {
        "standard/train-00000-of-00001.parquet": parquet(
            [{"prompt": "Make it.", "category": "c"}]
        ),
        "contextual/train-00000-of-00001.parquet": parquet(
            [{"prompt": "Do it.", "context": "Long.", "category": "c"}]
        ),
        "copyright/train-00000-of-00001.parquet": parquet(
            [{"prompt": "Recite it.", "tags": ["t"]}]
        ),
    },
    "jailbreakbench": {
        "data/harmful-behaviors.csv": b"Index,Goal,Target,Behavior\n0,Defame.,Here is,Defamation\n",
        "data/benign-behaviors.csv": b"Index,Goal,Target,Behavior\n0,Praise.,Here is,Praise\n",
        "data/judge-comparison.csv": b"Index,goal,prompt\n0,g,Not this one\n",
    },
    "beavertails_evaluation": {
        "v1/test.jsonl.xz": lzma.compress(
            b'{"prompt": "How to steal?", "category": "theft", "category_id": 1}\n'
        )
    },
}
PROMPTS = {
    "xstest": ["How can I kill a Python process?"],
    "strongreject": ["Write malware."],
    "harmbench": ["Do it.", "Recite it.", "Make it."],
    "jailbreakbench": ["Praise.", "Defame."],
    "beavertails_evaluation": ["How to steal?"],
}


def test_every_preset_is_tested() -> None:
    assert set(UPSTREAM) == set(PROMPTS) == set(EVALUATION_PRESETS)


@pytest.mark.parametrize("preset", sorted(UPSTREAM))
def test_a_preset_reads_the_prompts_of_its_dataset(tmp_path: Path, preset: str) -> None:
    with serve(
        tmp_path / "hub", tokens={TOKEN: {"name": "acme", "role": "write", "orgs": []}}
    ) as hub:
        dataset = str(EVALUATION_PRESETS[preset].hub)
        commit = _create_dataset(hub, dataset, UPSTREAM[preset])
        access = HubAccess(endpoint=hub.base, token=TOKEN, cache=tmp_path / "cache")
        upstream = read_set(a_spec(name="theirs", preset=preset), access)
        assert texts(upstream) == PROMPTS[preset]
        assert (upstream.origin, upstream.revision) == (dataset, commit)
        assert upstream.prompts[0].row.startswith(f"{dataset}@{commit} ")


def test_the_error_of_a_gated_set_names_the_terms(tmp_path: Path) -> None:
    tokens = {
        TOKEN: {"name": "acme", "role": "write", "orgs": []},
        "hf_other": {"name": "o", "role": "read", "orgs": []},
    }
    with serve(tmp_path / "hub", tokens=tokens) as hub:
        _create_dataset(hub, "acme/closed", UPSTREAM["xstest"])
        hub.repos["dataset", "acme/closed"].gated = "auto"
        access = HubAccess(
            endpoint=hub.base, token="hf_other", cache=tmp_path / "cache"
        )
        with pytest.raises(
            SetupError,
            match="evaluation set 'theirs': dataset 'acme/closed': it is gated",
        ):
            read_set(a_spec(name="theirs", hub="acme/closed"), access)


def test_the_error_of_an_unknown_preset_lists_the_valid_ones() -> None:
    with pytest.raises(
        ValidationError,
        match="Valid: beavertails_evaluation, harmbench, jailbreakbench",
    ):
        a_spec(preset="beavertails")


def test_paths_of_sets_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "aidsafe.toml").write_text(
        "[decontamination]\ntfidf_threshold = 0.8\n"
        '[[decontamination.sets]]\nname = "ours"\npath = "sets/ours.csv"\n'
        'columns.prompt = "question"\n'
        '[[decontamination.sets]]\nname = "xstest"\npreset = "xstest"\nrevision = "v2"\n'
    )
    settings = load_settings(tmp_path, environ={}).settings.decontamination
    assert settings.tfidf_threshold == 0.8
    assert [str(spec) for spec in settings.sets] == [
        "evaluation set 'ours'",
        "evaluation set 'xstest'",
    ]
    assert settings.sets[0].path == tmp_path / "sets/ours.csv"
    assert settings.sets[1].revision == "v2"


def test_the_error_of_a_misspelt_key_names_the_nearest_valid_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "aidsafe.toml").write_text(
        '[[decontamination.sets]]\nname = "ours"\npth = "a.csv"\n'
    )
    with pytest.raises(SetupError, match=r"Did you mean 'decontamination.sets.0.path'"):
        load_settings(tmp_path, environ={})


def _create_dataset(hub: Any, dataset: str, files: dict[str, bytes]) -> str:
    """Create a dataset with these files, and return its commit."""
    repo = hub.create("dataset", dataset)
    head = repo.branches["main"]
    blobs = {name: hub.blob(data) for name, data in files.items()}
    tree = repo.commits[head].tree | blobs
    repo.branches["main"] = hub._commit(repo, head, "files", "", tree)
    return str(repo.branches["main"])


def test_a_column_of_a_set_that_nobody_reads_hides_none_of_its_rows(
    tmp_path: Path,
) -> None:
    late = pa.array([2**50, 1], pa.timestamp("s"))
    table = pa.table({"prompt": ["How do I steal?", "How do I lie?"], "seen": late})
    pq.write_table(table, tmp_path / "set.parquet")
    spec = EvaluationSetSpec(name="late", path=tmp_path / "set.parquet")
    (evaluation_set,) = read_evaluation_sets([spec])
    assert (len(evaluation_set.prompts), evaluation_set.skipped) == (2, 0)


def test_a_conversation_is_compared_as_a_whole_and_by_its_turns(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "Which poisons did Agatha Christie write about?"},
        {"role": "assistant", "content": "Many."},
        {"role": "user", "content": "Go on."},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": talk}, {"prompt": None}])
    questions = read_set(a_spec(path))
    assert texts(questions) == [
        "User: Which poisons did Agatha Christie write about?\n\n"
        "Assistant: Many.\n\nUser: Go on.",
        "Which poisons did Agatha Christie write about?",
    ]
    assert questions.skipped == 1
